"""The command itself, with which the verbs register, and the options that several of them share."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from irnet_ray._version import __version__

app = typer.Typer(
    help="Instance masks from image-level tags: IRNet on Ray.",
    no_args_is_help=True,
    add_completion=False,
    pretty_exceptions_enable=False,
)

Settings = Annotated[
    list[str] | None,
    typer.Option("--set", metavar="KEY=VALUE", help="A knob, such as labels.background=0.3; may be repeated."),
]
ConfigFile = Annotated[Path | None, typer.Option(help="YAML or JSON file of knobs; see `irnet-ray config`.")]
Accept = Annotated[
    list[str] | None,
    typer.Option("--accept", metavar="NAME", help="Ignore this suspicion of `irnet-ray inspect`; may be repeated."),
]
Images = Annotated[str | None, typer.Option(help="The folder of the images, if they are not beside their tags.")]
Separator = Annotated[
    str | None, typer.Option(help="What separates tags in a cell, such as ','; none: each cell is one tag.")
]
Classes = Annotated[
    Path | None, typer.Option(help="File with the names of all classes, in the order of their numbers.")
]
Synonyms = Annotated[Path | None, typer.Option(help="File with other spellings of classes: spelling,class.")]
Out = Annotated[str, typer.Option(help="The run directory: a folder, or s3://bucket/run.")]
Shards = Annotated[int, typer.Option(help="Parquet files per table.")]
Workers = Annotated[
    int | None, typer.Option(help="Training workers and network actors. Default: all GPUs, else all cores.")
]
Address = Annotated[str | None, typer.Option(help="Ray cluster to join. Default: RAY_ADDRESS, else a local Ray.")]


@app.callback(invoke_without_command=True)
def root(
    version: Annotated[bool, typer.Option("--version", help="Print the version and exit.")] = False,
) -> None:
    """Instance masks from image-level tags: IRNet on Ray."""
    if version:
        print(f"irnet-ray {__version__}")
        raise typer.Exit
