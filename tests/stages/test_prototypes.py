"""Prototypes of a tag from its images, and rows that fit their table."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pyarrow as pa
import pytest
import torch
from safetensors.torch import load, save

from irnet_ray import tables
from irnet_ray.commands.plan import Plan
from irnet_ray.engine.mapping import MapStage
from irnet_ray.runs.folder import Folder
from irnet_ray.stages import prototypes
from irnet_ray.stages.prototypes import prototypes_of


@pytest.fixture
def stage(plan: Plan, classifier: Folder) -> MapStage:
    return prototypes.stage(plan.config, plan.shards("tags"), plan.vocabulary, classifier)


def test_the_images_of_a_tag_give_a_row_of_prototypes(plan: Plan, stage: MapStage) -> None:
    row = plan.tags.to_pylist()[0]
    made = stage.finish(row, stage.network(False)(row, stage.load(row)))
    assert pa.Table.from_pylist([made], tables.PROTOTYPES).to_pylist()[0]["image_id"] == row["image_id"]
    found = prototypes_of(made)
    assert found.centers.shape[1] == 1280 and 2 <= len(found.centers) <= plan.config.seeds.prototypes
    torch.testing.assert_close(found.centers.norm(dim=1), torch.ones(len(found.centers)), atol=1e-3, rtol=0)
    assert float(found.attention.max()) == 1 and float(found.attention.min()) >= 0


def test_a_broken_image_is_left_out(plan: Plan, stage: MapStage, tmp_path: Path) -> None:
    row: dict[str, Any] = max(plan.tags.to_pylist(), key=lambda row: len(row["uris"]))
    broken = tmp_path / "broken.png"
    broken.write_bytes(b"no image")
    assert len(stage.load({**row, "uris": [str(broken), *row["uris"]]})) == len(row["uris"])
    with pytest.raises(ValueError, match="None of the images of the tag"):
        stage.load({**row, "uris": [str(broken)]})


def test_broken_weights_raise_an_error(plan: Plan, stage: MapStage, classifier: Folder) -> None:
    state = load(classifier.read("weights.safetensors"))
    name = next(name for name in state if name.startswith("backbone.") and state[name].ndim == 4)
    classifier.write("weights.safetensors", save({**state, name: state[name] * torch.nan}))
    row = plan.tags.to_pylist()[0]
    with pytest.raises(FloatingPointError, match="The classifier's output is not finite"):
        stage.network(False)(row, stage.load(row))
