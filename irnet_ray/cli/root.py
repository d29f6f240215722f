"""The command itself, which the verbs register with, and what several of them take."""

from __future__ import annotations

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
Accept = Annotated[
    list[str] | None,
    typer.Option(
        "--accept", metavar="NAME", help="Go on in spite of this suspicion; see `irnet-ray inspect`. May be repeated."
    ),
]
Out = Annotated[str, typer.Option(help="The run directory: a folder, or s3://bucket/run.")]


@app.callback(invoke_without_command=True)
def root(
    version: Annotated[bool, typer.Option("--version", help="Print the version and exit.")] = False,
) -> None:
    """Instance masks from image-level tags: IRNet on Ray."""
    if version:
        print(f"irnet-ray {__version__}")
        raise typer.Exit
