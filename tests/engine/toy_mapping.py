"""A map stage whose steps fail as an image's id says: `03-kill-load`, `05-raise-network`; all else goes well."""

from __future__ import annotations

import os
import signal
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Any

import pyarrow as pa

from irnet_ray.engine.mapping import MapStage, Row
from irnet_ray.run import Shards

SCHEMA = pa.schema(
    [
        pa.field("image_id", pa.string(), nullable=False),
        pa.field("trail", pa.string(), nullable=False),
        pa.field("upstream", pa.int64(), nullable=False),
    ]
)


class OddError(Exception):
    kind = "odd"


def perhaps_fail(log: Path, step: str, row: Row) -> None:
    image_id = row["image_id"]
    with (log / f"{step}-{image_id}").open("a") as file:
        file.write(f"{os.getpid()}\n")
    if image_id.endswith(f"kill-{step}"):
        os.kill(os.getpid(), signal.SIGKILL)
    if image_id.endswith(f"raise-{step}"):
        raise ValueError(f"{step} of\n  {image_id}")
    if image_id.endswith(f"odd-{step}"):
        raise OddError(step)


def load(log: Path, row: Row) -> str:
    perhaps_fail(log, "load", row)
    return f"loaded {row['image_id']}"


def network(log: Path, gpu: bool) -> Callable[[Row, Any], Any]:
    def step(row: Row, value: Any) -> Any:
        perhaps_fail(log, "network", row)
        return f"{value}, seen"

    with (log / "networks").open("a") as file:
        file.write(f"{gpu}\n")
    return step


def finish(log: Path, row: Row, value: Any) -> Row:
    perhaps_fail(log, "finish", row)
    return {"image_id": row["image_id"], "trail": f"{value}, finished", "upstream": row["number"]}


def stage(log: Path, images: Shards, upstream: Shards) -> MapStage:
    return MapStage("toy", SCHEMA, (images, upstream), partial(load, log), partial(network, log), partial(finish, log))
