"""Look after run directories: list versions, move back to one, remove old ones, show progress."""

from __future__ import annotations

import json
from typing import Annotated

import typer

from irnet_ray.cli.root import app

RunDirectory = Annotated[str, typer.Argument(help="The run directory.")]


@app.command()
def versions(
    out: RunDirectory,
    as_json: Annotated[bool, typer.Option("--json", help="Print everything as JSON.")] = False,
) -> None:
    """List the versions of a run directory, oldest first; the current one has a star.

    "only its" is the size of the stages that only this version uses, which `prune` would free.
    """
    from irnet_ray.runs.versions import listed, table

    rows = listed(out)
    print(json.dumps([row.to_json() for row in rows], indent=2) if as_json else table(rows))


@app.command()
def rollback(
    out: RunDirectory,
    version: Annotated[
        str | None, typer.Argument(help="Id, or the start of it. Default: the version before the current one.")
    ] = None,
) -> None:
    """Make an earlier version the current one: OUT/labels, errors, images and report.json move back to it.

    This computes and removes nothing. `irnet-ray label` with the newer config moves forward again.
    """
    from irnet_ray.runs.versions import rollback as move

    before, record = move(out, version)
    was = "current.json was lost" if before is None else f"was {before}"
    was = "as before; finished an interrupted rollback to it" if before == record.id else was
    print(f"current {record.id}, published {record.published}, {record.version.labels} labels ({was})")


@app.command()
def prune(
    out: RunDirectory,
    keep: Annotated[int, typer.Option(help="How many of the newest versions to keep; the current one always stays.")],
    unfinished: Annotated[
        bool,
        typer.Option("--unfinished", help="Also remove interrupted runs, and comparisons of evaluate."),
    ] = False,
    dry_run: Annotated[bool, typer.Option("--dry-run", help="Only print what would be removed.")] = False,
) -> None:
    """Remove old versions, and the stages that only they need. Trained students always stay."""
    from irnet_ray.runs.versions import prune as remove

    print(remove(out, keep, unfinished=unfinished, dry_run=dry_run).text(dry_run))


@app.command()
def status(
    out: RunDirectory,
    as_json: Annotated[bool, typer.Option("--json", help="Print everything as JSON.")] = False,
) -> None:
    """Show what is done, running and failed, how fast it runs, and when the running stage will end.

    This only reads files, so it works from any machine that sees them, also while a run is in progress.
    """
    from irnet_ray.commands.status import status as ask
    from irnet_ray.commands.status import text

    found = ask(out)
    print(json.dumps(found, indent=2) if as_json else text(found))
