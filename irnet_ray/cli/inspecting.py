"""A look at the data before anything is computed."""

from __future__ import annotations

import json
from typing import Annotated

import typer

from irnet_ray.cli.root import Classes, Images, Separator, Synonyms, app


@app.command()
def inspect(
    data: Annotated[str, typer.Argument(help="Images with tags: a folder with tags.csv, or see docs/inputs.md.")],
    as_json: Annotated[bool, typer.Option("--json", help="Print all that was found, as JSON.")] = False,
    images: Images = None,
    separator: Separator = None,
    classes: Classes = None,
    synonyms: Synonyms = None,
    limit: Annotated[int | None, typer.Option(help="Look at only N images, drawn evenly.")] = None,
) -> None:
    """Say what is read from a place, what is left out, and what looks wrong with it; computes nothing.

    Where a line begins with "stop", `label` would stop.
    """
    from irnet_ray.commands.inspect import inspect as look

    found = look(data, limit=limit, images=images, separator=separator, classes=classes, synonyms=synonyms)
    print(json.dumps(found.to_json(), indent=2) if as_json else "\n".join(found.lines()))
