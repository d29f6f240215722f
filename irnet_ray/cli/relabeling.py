"""Keep labels up to date with a folder that changes."""

from __future__ import annotations

from typing import Annotated

import typer

from irnet_ray.cli.root import Accept, Address, Classes, Images, Separator, Settings, Synonyms, Workers, app
from irnet_ray.commands.defaults import RETRAIN_SHARE
from irnet_ray.errors import UserError


@app.command()
def relabel(
    out: Annotated[str, typer.Argument(help="The run directory of a finished `label`.")],
    data: Annotated[
        str | None, typer.Option(help="The images and their tags. Default: the place of the last version's images.")
    ] = None,
    retrain: Annotated[bool, typer.Option("--retrain", help="Train all networks again, as label would.")] = False,
    retrain_share: Annotated[
        float,
        typer.Option(help="Train all networks again if more than this share of the images is new to them."),
    ] = RETRAIN_SHARE,
    keep: Annotated[
        int | None, typer.Option(help="Afterwards keep only this many of the newest versions. Default: keep all.")
    ] = None,
    dry_run: Annotated[bool, typer.Option("--dry-run", help="Only print what would be computed.")] = False,
    images: Images = None,
    separator: Separator = None,
    classes: Classes = None,
    synonyms: Synonyms = None,
    accept: Accept = None,
    settings: Settings = None,
    workers: Workers = None,
    address: Address = None,
) -> None:
    """Bring labels up to date with their folder: compute only new, changed and retagged images.

    This uses the run's own config and networks. If there are tags that the networks do not know, all networks are
    trained again. Run the same command again to continue after an interruption.
    """
    from irnet_ray.commands.relabel import relabel as run

    result = run(
        out,
        data,
        retrain=retrain,
        retrain_share=retrain_share,
        keep=keep,
        dry_run=dry_run,
        images=images,
        separator=separator,
        classes=classes,
        synonyms=synonyms,
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
        raise UserError("No image could be labeled: the errors table says why.")
