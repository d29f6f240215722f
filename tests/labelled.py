"""A finished run whose labels are the truth of generated scenes, for tests of training on labels. No Ray."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.compute as pc

from irnet_ray import tables
from irnet_ray.config.load import load_config
from irnet_ray.evaluation.truth import load_truth
from irnet_ray.inputs.folder import read_folder
from irnet_ray.runs.folder import Folder
from irnet_ray.runs.run import publish
from irnet_ray.runs.shards import Shards
from irnet_ray.runs.version import Version
from irnet_ray.scenes.generate import generate
from irnet_ray.stages.truth_labels import truth_row

SHARDS = 2
STUDENT = {"epochs": 2, "min_iterations": 8, "batch_size": 2, "warmup": 0}
KNOBS: dict[str, Any] = {
    "backbone": "lite0",
    "unit_size": 2,
    "mask_rcnn": {**STUDENT, "sides": [96], "max_side": 160},
    "deeplab": {**STUDENT, "crop": 96, "rescale": [0.75, 1.25], "scales": [1.0]},
}


def labelled_scenes(place: Path, count: int = 8, size: tuple[int, int] = (96, 128), **knobs: Any) -> Path:
    """Generate scenes in `place/scenes`, and a run with their truth in `place/out`. Returns the run directory."""
    data, out = generate(place / "scenes", count, size), place / "out"
    images, truth = read_folder(data, SHARDS), load_truth(data / "truth.json").images
    folder = Folder(str(out))
    stages = {"images": "images-0123456789ab", "labels": "labels-0123456789ab"}
    tables_of = {stage: Shards(folder.folder("stages", name), SHARDS) for stage, name in stages.items()}
    for shard in range(SHARDS):
        part = images.filter(pc.equal(images["shard"], shard))
        rows = [truth_row(row["image_id"], row["uri"], truth[row["image_id"]], "truth") for row in part.to_pylist()]
        name = tables_of["labels"].part(shard)
        tables_of["images"].rows.write_table(name, part)
        tables_of["labels"].rows.write_table(name, pa.Table.from_pylist(rows, tables.LABELS))
        tables_of["labels"].errors.write_table(name, tables.ERRORS.empty_table())
    publish(
        folder,
        Version(
            {
                "version": "0123456789ab",
                "stages": stages,
                "shards": SHARDS,
                "vocabulary": tables.vocabulary(images),
                "images": count,
                "labels": count,
                "errors": 0,
                "config": load_config(None, {**KNOBS, **knobs}).model_dump(mode="json"),
            }
        ),
    )
    return out
