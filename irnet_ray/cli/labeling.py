"""Make labels, evaluate them, calibrate their thresholds, draw and export them."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Annotated

import typer

from irnet_ray.algorithms.seed_methods import METHODS
from irnet_ray.cli.root import (
    Accept,
    Address,
    Classes,
    ConfigFile,
    Images,
    Out,
    Separator,
    Settings,
    Shards,
    Synonyms,
    Workers,
    app,
)
from irnet_ray.commands.defaults import MIN_QUALITY, MIN_SCORE, OUT, SHARDS, SHOW_IMAGES
from irnet_ray.errors import UserError, reason
from irnet_ray.exports.formats import FORMATS
from irnet_ray.networks.backbones import BACKBONES
from irnet_ray.stages.student_kinds import KINDS


@app.command()
def label(
    data: Annotated[
        str | None,
        typer.Option(help="Images with tags: a folder with tags.csv (image,tags), or see docs/inputs.md."),
    ] = None,
    out: Out = OUT,
    shards: Shards = SHARDS,
    backbone: Annotated[
        str | None, typer.Option(help=" or ".join(f"{each.name} ({each.says})" for each in BACKBONES.values()) + ".")
    ] = None,
    weights: Annotated[
        Path | None, typer.Option(help="ImageNet weights of the backbone, .pth or .safetensors.")
    ] = None,
    config: ConfigFile = None,
    settings: Settings = None,
    seeds: Annotated[str | None, typer.Option(help=f"How to make seeds: {', '.join(METHODS)}.")] = None,
    classifier: Annotated[
        str | None, typer.Option(help="pretrained: use ImageNet's classifier, train none; tags must be its classes.")
    ] = None,
    preset: Annotated[str | None, typer.Option(help="paper: the published pipeline.")] = None,
    window: Annotated[
        tuple[float, float] | None,
        typer.Option(
            metavar="LOW HIGH",
            help="Of images of more than 8 bits: the values shown black and white. Default: each one's range.",
        ),
    ] = None,
    workers: Workers = None,
    limit: Annotated[int | None, typer.Option(help="Label only N images, drawn evenly.")] = None,
    images: Images = None,
    separator: Separator = None,
    classes: Classes = None,
    synonyms: Synonyms = None,
    accept: Accept = None,
    then: Annotated[
        str, typer.Option(help=f"Students to train on the labels afterwards, separated by commas: {', '.join(KINDS)}.")
    ] = "",
    address: Address = None,
) -> None:
    """Label every image: train the classifier and IRNet, then write instance masks to OUT/labels.

    Run the same command again to continue after an interruption; finished work is not repeated.
    """
    from irnet_ray.commands.evaluate import evaluate as judge
    from irnet_ray.commands.label import label as run
    from irnet_ray.report.lines import report_lines
    from irnet_ray.runs.run import published
    from irnet_ray.storage.locations import join

    result = run(
        data,
        out,
        shards=shards,
        backbone=backbone,
        weights=str(weights) if weights else None,
        config=config,
        settings=settings or (),
        seeds=seeds,
        classifier=classifier,
        preset=preset,
        window=window,
        workers=workers,
        limit=limit,
        images=images,
        separator=separator,
        classes=classes,
        synonyms=synonyms,
        accept=accept or (),
        then=[kind.strip() for kind in then.split(",") if kind.strip()],
        address=address,
    )
    print(f"\n{result.images} images = {result.labels} labels + {result.errors} errors; {result.instances} instances")
    print(f"labels  {published(result.out, result.version)}/*.parquet")
    if result.errors:
        print(f"errors  {published(result.out, result.version, 'errors')}/*.parquet")
    print(f"report  {join(result.out, 'report.json')}")
    print(f"look    irnet-ray show {result.out}")
    for model in result.models:
        print(f"model   {model}")
    print("", *report_lines(result.report), sep="\n")
    if result.truth:
        print(f"\nagainst the scenes' truth, {result.truth}:")
        print(judge(out, result.truth).table())
    if not result.labels:
        raise UserError("No image could be labeled: the errors table says why.")


@app.command()
def evaluate(
    out: Annotated[str, typer.Argument(help="The run directory, of labels or of predictions.")],
    truth: Annotated[Path, typer.Option(help="COCO JSON file of instances; images are matched by file name.")],
    ablation: Annotated[
        bool,
        typer.Option("--ablation", help="For labels: compare with simpler methods (paper 6.2); trains AffinityNet."),
    ] = False,
    upper_bound: Annotated[
        bool,
        typer.Option("--upper-bound", help="For predictions: train the same student on truth, in 3 folds (paper 6.3)."),
    ] = False,
    synonyms: Synonyms = None,
    json_file: Annotated[Path | None, typer.Option("--json", help="Also write the figures to this file.")] = None,
    workers: Annotated[
        int | None, typer.Option(help="For --ablation and --upper-bound: training workers and network actors.")
    ] = None,
    address: Annotated[
        str | None, typer.Option(help="For --ablation and --upper-bound: Ray cluster to join, as for label.")
    ] = None,
) -> None:
    """Print AP at mask IoU 0.5 and 0.7, mIoU, precision and recall of labels or predictions.

    Labels are compared with the raw CAMs, and with --ablation also with the methods in between.

    Every mean comes with its 95 % interval over images, and so does the gain of the labels.
    """
    from irnet_ray.commands.evaluate import evaluate as judge

    evaluation = judge(out, truth, ablation, upper_bound, synonyms=synonyms, address=address, workers=workers)
    if json_file is not None:
        try:
            json_file.write_text(json.dumps(evaluation.to_json(), indent=2) + "\n")
        except OSError as error:
            raise UserError(f"Cannot write {json_file}: {reason(error)}.") from error
    print(evaluation.table())


@app.command()
def calibrate(
    out: Annotated[str, typer.Argument(help="The run directory.")],
    truth: Annotated[Path, typer.Option(help="COCO JSON file of instances in 20 to 50 images of the run.")],
    to: Annotated[Path | None, typer.Option(help="YAML file to write. Default: OUT/calibrated.yaml.")] = None,
    synonyms: Synonyms = None,
) -> None:
    """Choose the thresholds of seeds and labels on a few annotated images, and estimate the gain on other images."""
    from irnet_ray.commands.calibrate import calibrate as choose

    found = choose(out, truth, to, synonyms=synonyms)
    print(f"{found.table()}\n\nconfig  {found.config}")
    print(f"next    {found.command}" if found.changed else "No threshold gains anything: the config is the run's own.")


@app.command()
def show(
    out: Annotated[str, typer.Argument(help="The run directory.")],
    image: Annotated[list[str] | None, typer.Option(help="Id of an image; may be repeated.")] = None,
    limit: Annotated[int, typer.Option(help="How many images to draw, evenly chosen from the run.")] = SHOW_IMAGES,
    to: Annotated[Path | None, typer.Option(help="PNG file to write. Default: OUT/show.png.")] = None,
) -> None:
    """Draw image, attention, displacement field, boundary map and instances side by side."""
    from irnet_ray.commands.show import show as draw

    print(draw(out, image or [], limit, to))


@app.command()
def export(
    labels: Annotated[str, typer.Argument(help="The run directory, or its labels folder.")],
    format: Annotated[str, typer.Option(help="; ".join(f"{name}: {one.says}" for name, one in FORMATS.items()) + ".")],
    out: Annotated[Path, typer.Option(help="A new folder.")],
    min_quality: Annotated[float, typer.Option(help="Leave out instances of a lower quality, 0 to 1.")] = MIN_QUALITY,
    min_score: Annotated[float, typer.Option(help="Leave out instances of a lower score, 0 to 1.")] = MIN_SCORE,
    split: Annotated[str | None, typer.Option(help="Shares of the images: train=0.8,val=0.1,test=0.1.")] = None,
) -> None:
    """Write the labels in another format, for training elsewhere.

    Formats with links to the images set a tenth of the images aside for validation, unless --split names other shares.
    """
    from irnet_ray.commands.export import export as write

    print(write(labels, format, out, min_quality=min_quality, min_score=min_score, split=split).summary())


@app.command()
def config(
    backbone: Annotated[str | None, typer.Option(help="Print the defaults for this backbone.")] = None,
    file: Annotated[Path | None, typer.Option("--config", help="Print the values that this file results in.")] = None,
    preset: Annotated[str | None, typer.Option(help="Print the values of this preset.")] = None,
) -> None:
    """Print every knob with its value, unit, source and meaning."""
    from irnet_ray.config.load import describe, load_config
    from irnet_ray.text import table

    head = ("key", "value", "unit", "source", "meaning")
    knobs = describe(load_config(file, {"backbone": backbone}, preset=preset))
    print(*table([head, *knobs], left=range(len(head))), sep="\n")
