"""The work of the engine's benchmark. It does not import torch, so that imports count on neither side."""

from __future__ import annotations

import time
from collections.abc import Callable
from typing import Any

import numpy as np
import pyarrow as pa

from irnet_ray.runs.folder import Folder
from irnet_ray.runs.shards import Shards
from irnet_ray.stages.images import load_image

SIZE = (96, 128)
SHARDS = 4
SCHEMA = pa.schema([pa.field("image_id", pa.string(), nullable=False), pa.field("mean", pa.float64(), nullable=False)])


def load(each: dict[str, Any]) -> np.ndarray:
    return load_image(each["uri"], 1280)


def network(repeats: int, gpu: bool) -> Callable[[dict[str, Any], np.ndarray], float]:
    """Stands in for a network: the same work on one core for every image, `repeats` times."""

    def step(each: dict[str, Any], image: np.ndarray) -> float:
        value = image.astype(np.float32) / 255
        for _ in range(repeats):
            value = np.sqrt(value * value + 1e-3)
        return float(value.mean())

    return step


def repeats_for(seconds: float) -> int:
    """How often this machine does the work in a number of seconds, on an image of the benchmark's size."""
    image, count = np.zeros((*SIZE, 3), np.uint8), 200
    step = network(count, False)
    step({}, image)
    start = time.process_time()
    step({}, image)
    return max(1, round(seconds * count / (time.process_time() - start)))


def finish(each: dict[str, Any], value: float) -> dict[str, Any]:
    return {"image_id": each["image_id"], "mean": value}


def loop_unit(given: tuple[str, str, int, list[str], int]) -> None:
    """A plain loop over one unit: read its rows, do the three steps, commit."""
    images, out, shard, ids, repeats = given
    source, result, step = Shards(Folder(images), SHARDS), Shards(Folder(out), SHARDS), network(repeats, False)
    found = source.rows.read_table(source.part(shard), ids=ids).to_pylist()
    rows = [{"uri": each["uri"], "error": None, **finish(each, step(each, load(each)))} for each in found]
    result.commit(shard, SCHEMA, rows)
