"""Labels kept up to date with a folder that changes."""

from __future__ import annotations

from typing import Annotated

import typer

from irnet_ray.cli.root import Accept, Settings, app
from irnet_ray.errors import UserError


@app.command()
def relabel(
    out: Annotated[str, typer.Argument(help="The run directory of a finished `label`.")],
    data: Annotated[
        str | None, typer.Option(help="The images and their tags. Default: where the last version's came from.")
    ] = None,
    retrain: Annotated[bool, typer.Option("--retrain", help="Learn everything anew, as label would.")] = False,
    retrain_share: Annotated[
        float,
        typer.Option(help="Learn anew when more than this share of the images is new since the networks were trained."),
    ] = 0.2,
    keep: Annotated[
        int | None, typer.Option(help="Afterwards remove all but so many of the newest versions. Default: none goes.")
    ] = None,
    dry_run: Annotated[bool, typer.Option("--dry-run", help="Only print what would be computed.")] = False,
    accept: Accept = None,
    settings: Settings = None,
    workers: Annotated[int | None, typer.Option(help="Training workers and network actors; default: all.")] = None,
    address: Annotated[
        str | None, typer.Option(help="Ray cluster to join. Default: RAY_ADDRESS, else a local Ray.")
    ] = None,
) -> None:
    """Bring labels up to date with their folder: only new, changed and retagged images are computed.

    With the run's own config, and the networks that are there; tags that these do not know make everything learnt
    anew. Run the same command again to go on after an interruption.
    """
    from irnet_ray.commands.relabel import relabel as run

    result = run(
        out,
        data,
        retrain=retrain,
        retrain_share=retrain_share,
        keep=keep,
        dry_run=dry_run,
        accept=accept or (),
        settings=settings or (),
        workers=workers,
        address=address,
    )
    if result.labels is not None:
        print(
            f"\n{result.images} images = {result.labels} labels + {result.errors} errors; {result.instances} instances"
        )
        print(f"labels  {result.out}/labels/*.parquet")
        print(f"drift   {result.out}/drift.json")
    if result.pruned is not None:
        print(result.pruned.text(dry_run=False))
    if result.labels == 0:
        raise UserError("Not one image could be labeled: the errors table says why.")
