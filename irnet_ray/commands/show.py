"""Draw a finished run: what each step of the method made of an image."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np

from irnet_ray import tables
from irnet_ray.commands.defaults import SHOW_IMAGES
from irnet_ray.errors import UserError, reason
from irnet_ray.masks import decode_attention, decode_mask
from irnet_ray.runs.folder import Folder
from irnet_ray.runs.run import FinishedRun
from irnet_ray.runs.shards import Shards


def show(
    out: str | Path, images: list[str] | None = None, limit: int = SHOW_IMAGES, to: str | Path | None = None
) -> Path:
    """Draw image, attention, displacement field, boundary map and instances side by side, one row per image.

    Args:
        out: a run directory with a finished run.
        images: ids of images; None for `limit` images, evenly chosen from the run.
        limit: how many images to draw if no ids are given.
        to: the PNG file to write; None for `OUT/show.png`.

    Raises:
        UserError: no finished run, an id that the run has no label for, or a limit below 1.
    """
    from irnet_ray.report.panels import sheet

    run = FinishedRun.open(out)
    chosen = _choose(run.shards("labels"), images or [], limit)
    if to is None and not run.folder.is_local:
        raise UserError(f"{out} is in an object store: name a local PNG file by --to.")
    target = Path(to) if to is not None else Path(str(out)) / "show.png"
    pictures = _draw(run, chosen)
    try:
        sheet(pictures).save(target)
    except (OSError, ValueError) as error:
        raise UserError(f"Cannot write {target}: {reason(error)}.") from error
    return target


def _choose(labels: Shards, images: list[str], limit: int) -> list[str]:
    if limit < 1:
        raise UserError(f"--limit must be at least 1, got {limit}.")
    labelled = _column(labels.rows)
    if images:
        missing = sorted(set(images) - set(labelled))
        if missing:
            failed = set(_column(labels.errors))
            why = "it is in the errors table" if missing[0] in failed else "the run has no such image"
            raise UserError(f"No label for {missing[0]!r}: {why}.")
        return images
    if not labelled:
        raise UserError("The run has no labels to show: its errors table says why.")
    ranked = sorted(labelled)
    places = np.linspace(0, len(ranked) - 1, min(limit, len(ranked))).astype(int)
    return [ranked[place] for place in places]


def _column(folder: Folder) -> list[str]:
    return [i for name in folder.files() for i in folder.read_table(name, ["image_id"])["image_id"].to_pylist()]


def _draw(run: FinishedRun, image_ids: list[str]) -> list[Any]:
    import torch

    from irnet_ray.algorithms.attention import upsample
    from irnet_ray.networks.backbones import find_backbone
    from irnet_ray.report.names import named
    from irnet_ray.report.panels import panel
    from irnet_ray.stages.images import load_image, resize_map
    from irnet_ray.stages.labels import LabelsNetwork

    config, labels, seeds = run.config, run.shards("labels"), run.shards("seeds")
    network = LabelsNetwork(config, find_backbone(config.backbone), run.stage("irnet"), gpu=False)
    pictures, names = [], run.version.names
    for image_id in image_ids:
        label, seed = _row(labels, image_id), _row(seeds, image_id)
        image = load_image(label["uri"], config.max_side, config.window)
        size = image.shape[:2]
        ((boundary, field),) = network.relations([image])
        instances = []
        for instance in label["instances"]:
            mask = resize_map(decode_mask(instance, (label["height"], label["width"])), size)
            instances.append((mask, named(instance["class_name"], names), instance["score"]))
        cams = upsample(torch.from_numpy(decode_attention(seed)), size).numpy()
        pictures.append(panel(image, cams, field.numpy(), boundary.numpy(), instances, named(label["tags"], names)))
    return pictures


def _row(shards: Shards, image_id: str) -> dict[str, Any]:
    part = shards.part(tables.shard_of(image_id, shards.count))
    return dict(shards.rows.read_table(part, ids=[image_id]).to_pylist()[0])
