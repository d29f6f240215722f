"""Run directories: what they hold, which version is current, what may go."""

from __future__ import annotations

import json
from typing import Annotated

import typer

from irnet_ray.cli.root import app

RunDirectory = Annotated[str, typer.Argument(help="The run directory.")]


@app.command()
def versions(
    out: RunDirectory,
    as_json: Annotated[bool, typer.Option("--json", help="Print all that is known, as JSON.")] = False,
) -> None:
    """List the versions of a run directory, oldest first; the current one has a star.

    "only its" is the size of the stages that no other version uses: what `prune` would free.
    """
    from irnet_ray.runs.versions import listed, table

    rows = listed(out)
    print(json.dumps([row.to_json() for row in rows], indent=2) if as_json else table(rows))


@app.command()
def rollback(
    out: RunDirectory,
    version: Annotated[
        str | None, typer.Argument(help="Id, or its beginning. Default: the one before the current one.")
    ] = None,
) -> None:
    """Make an earlier version the current one: OUT/labels, errors, images and report.json are its own again.

    Nothing is computed and nothing removed; `irnet-ray label` with the newer config moves forward again.
    """
    from irnet_ray.runs.versions import rollback as move

    before, record = move(out, version)
    was = f"was {before}" if before != record.id else "as before: links and report follow it now"
    print(f"current {record.id}, published {record.published}, {record.version.labels} labels ({was})")


@app.command()
def prune(
    out: RunDirectory,
    keep: Annotated[int, typer.Option(help="How many of the newest versions stay; the current one does anyway.")],
    unfinished: Annotated[
        bool,
        typer.Option("--unfinished", help="Also what no version needs: interrupted runs, comparisons of evaluate."),
    ] = False,
    dry_run: Annotated[bool, typer.Option("--dry-run", help="Only print what would go.")] = False,
) -> None:
    """Remove old versions, and the stages that nothing else needs. Trained students always stay."""
    from irnet_ray.runs.versions import prune as remove

    print(remove(out, keep, unfinished=unfinished, dry_run=dry_run).text(dry_run))


@app.command()
def status(
    out: RunDirectory,
    as_json: Annotated[bool, typer.Option("--json", help="Print all that is known, as JSON.")] = False,
) -> None:
    """Say what is done, running and failed, how fast, and when the running stage ends.

    Reads files alone, so it may be asked from any machine that sees them, also while a run goes on.
    """
    from irnet_ray.commands.status import status as ask
    from irnet_ray.commands.status import text

    found = ask(out)
    print(json.dumps(found, indent=2) if as_json else text(found))
