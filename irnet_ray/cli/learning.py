"""Train students on labels, and predict with them."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from irnet_ray.cli.root import Address, ConfigFile, Settings, Shards, app
from irnet_ray.commands.defaults import SHARDS
from irnet_ray.errors import UserError
from irnet_ray.networks.backbones import BACKBONES
from irnet_ray.stages.student_kinds import KINDS


@app.command()
def train(
    student: Annotated[str, typer.Argument(help=f"What to train: {', '.join(KINDS)}.")],
    labels: Annotated[str, typer.Argument(help="Run directory of finished labels, or its folder labels.")],
    epochs: Annotated[int | None, typer.Option(help="Minimum passes over the images.")] = None,
    iterations: Annotated[int | None, typer.Option(help="Minimum steps; small data sets are repeated.")] = None,
    batch_size: Annotated[int | None, typer.Option(help="Images per step, over all workers.")] = None,
    backbone: Annotated[
        str | None,
        typer.Option(help=f"{', '.join(BACKBONES)}, or a network of torchvision or timm. Default: the run's."),
    ] = None,
    weights: Annotated[Path | None, typer.Option(help="ImageNet weights of the backbone.")] = None,
    network: Annotated[
        str | None, typer.Option(help="For deeplab: v2, or a segmentation network of torchvision.")
    ] = None,
    min_score: Annotated[float | None, typer.Option(help="Leave out instances with a lower score.")] = None,
    min_quality: Annotated[float | None, typer.Option(help="Leave out instances of a lower quality.")] = None,
    background: Annotated[str | None, typer.Option(help="keep or skip images without instances.")] = None,
    hold_out: Annotated[
        Path | None, typer.Option(help="COCO JSON file whose images are not trained on, to evaluate the student.")
    ] = None,
    config: ConfigFile = None,
    settings: Settings = None,
    workers: Annotated[int | None, typer.Option(help="Training workers.")] = None,
    address: Address = None,
) -> None:
    """Train Mask R-CNN or DeepLab on labels; the model is OUT/models/STUDENT.

    Run the same command again to continue after an interruption.
    """
    from irnet_ray.commands.train import train as run

    knobs = {
        "epochs": epochs,
        "min_iterations": iterations,
        "batch_size": batch_size,
        "backbone": backbone,
        "weights": str(weights) if weights else None,
        "network": network,
        "min_score": min_score,
        "min_quality": min_quality,
        "background": background,
    }
    result = run(
        student,
        labels,
        config=config,
        knobs=knobs,
        settings=settings or (),
        hold_out=hold_out,
        workers=workers,
        address=address,
    )
    losses = ", ".join(f"{name.replace('_', ' ')} {value:.3f}" for name, value in result.losses.items())
    print(f"\n{result.images} images, {result.iterations} iterations: {losses}")
    print(f"model   {result.model}")
    print(f"curves  {result.model}/tensorboard")
    print(f"next    irnet-ray predict {result.model} --data DIR --out DIR")


@app.command()
def predict(
    model: Annotated[str, typer.Argument(help="Folder of a trained student, such as OUT/models/mask-rcnn.")],
    data: Annotated[str, typer.Option(help="Folder of images; tags are not needed.")],
    out: Annotated[str, typer.Option(help="The run directory for the predictions.")],
    shards: Shards = SHARDS,
    limit: Annotated[int | None, typer.Option(help="Predict only N images, drawn evenly.")] = None,
    workers: Annotated[int | None, typer.Option(help="Network actors.")] = None,
    address: Address = None,
) -> None:
    """Predict masks for every image of a folder, in the same tables as labels.

    Run the same command again to continue after an interruption; finished work is not repeated.
    """
    from irnet_ray.commands.predict import predict as run
    from irnet_ray.runs.run import published

    result = run(model, data, out, shards=shards, limit=limit, workers=workers, address=address)
    print(f"\n{result.images} images = {result.predictions} predictions + {result.errors} errors")
    print(f"labels  {published(result.out, result.version)}/*.parquet")
    if result.errors:
        print(f"errors  {published(result.out, result.version, 'errors')}/*.parquet")
    print(f"next    irnet-ray evaluate {result.out} --truth T.json")
    if not result.predictions:
        raise UserError("No image could be predicted: the errors table says why.")
