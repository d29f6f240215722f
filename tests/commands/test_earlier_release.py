"""A run directory that 0.5.4 made is read, shown, exported, rolled back and relabeled by today's code.

`tests/data/run-0.5.4` holds four scenes and a broken photo, labeled by 0.5.4 with lite0 and short trainings, twice: the
second version has another `labels.background`. The weights, 30 MB of noise after so short a training, are left out;
where a test needs some, it writes random ones.
"""

from __future__ import annotations

import io
import json
import shutil
from dataclasses import replace
from pathlib import Path

import numpy as np
import pyarrow as pa
import pytest
import torch
from PIL import Image
from rich.console import Console
from safetensors.torch import save

import irnet_ray
from irnet_ray.commands.plan import Plan
from irnet_ray.commands.relabel import plan_relabel
from irnet_ray.commands.status import status
from irnet_ray.inputs.folder import read_folder
from irnet_ray.networks.backbones import BACKBONES
from irnet_ray.networks.batch_norm import fold_batch_norm
from irnet_ray.networks.classifier import Classifier
from irnet_ray.networks.irnet import IRNet
from irnet_ray.runs.run import FinishedRun
from irnet_ray.runs.shards import Shards
from irnet_ray.runs.versions import listed, rollback
from irnet_ray.stages.graph import STAGES
from tests.nights import night

MADE = Path(__file__).parents[1] / "data" / "run-0.5.4"
FIRST, SECOND = "93d8f601f3b9", "ca441b5c0973"
QUIET = Console(file=io.StringIO())


@pytest.fixture
def out(tmp_path: Path) -> Path:
    """A copy of the run, with random weights in place of the missing ones."""
    out = tmp_path / "out"
    shutil.copytree(MADE / "out", out, symlinks=True)
    run, lite0 = FinishedRun.open(out), BACKBONES["lite0"]
    torch.manual_seed(0)
    classifier = Classifier(lite0, len(run.vocabulary))
    irnet = IRNet(lite0, run.config.irnet.contrast)
    fold_batch_norm(irnet.backbone.eval())
    for stage, network in (("classifier", classifier), ("irnet", irnet)):
        tensors = {name: tensor.contiguous() for name, tensor in network.state_dict().items()}
        run.stage(stage).write("weights.safetensors", save(tensors))
    return out


def test_its_labels_and_errors_are_read(out: Path) -> None:
    run = FinishedRun.open(out)
    assert run.version.id == SECOND and run.version.code == "0.5.4"
    assert (run.version.images, run.version.labels, run.version.errors) == (5, 4, 1)
    assert run.shards("labels").counts() == (4, 1) and run.config.labels.background == 0.35
    found = irnet_ray.evaluate(out, MADE / "data" / "truth.json")
    assert found.images == 4


def test_status_and_versions_list_it(out: Path) -> None:
    told = status(out)
    assert [stage["stage"] for stage in told["stages"]] == list(STAGES)
    assert {stage["state"] for stage in told["stages"]} == {"done"}
    assert told["finished"]["version"] == SECOND and told["versions"] == 2
    assert [row.record.id for row in listed(out)] == [FIRST, SECOND]


def test_it_is_exported(out: Path, tmp_path: Path) -> None:
    made = irnet_ray.export(out, "coco", tmp_path / "coco", console=QUIET)
    assert made.images == 4 and len(json.loads(made.path.read_text())["images"]) == 4


def test_it_is_rolled_back_and_forward(out: Path) -> None:
    assert rollback(out)[1].id == FIRST
    assert FinishedRun.open(out).config.labels.background == 0.25
    assert rollback(out, SECOND)[1].id == SECOND


def test_its_pictures_are_drawn(out: Path, tmp_path: Path) -> None:
    moved_to(MADE / "data", out)
    shown = irnet_ray.show(out, limit=2, to=tmp_path / "show.png")
    with Image.open(shown) as picture:
        assert np.asarray(picture).std() > 10


def test_its_fingerprints_are_todays(out: Path) -> None:
    run = FinishedRun.open(out)
    images = run.shards("images")
    table = table_of(images)
    plan = Plan(run.folder, run.config, table, images.count)
    assert plan.names == run.version.stages  # so `irnet-ray label` computes nothing again
    assert all(plan.is_done(stage) for stage in plan.order) and plan.made_by == run.version.made_by


def test_relabel_reuses_its_rows(out: Path) -> None:
    result, computed, printed = night(out, data=MADE / "data")
    assert result.changes == {"same": 0, "moved": 5, "retagged": 0, "changed": 0, "new": 0, "removed": 0}
    assert result.previous == SECOND and not result.retrained
    # What failed is tried again, and nothing else; the stand-in for the networks reads no pixels, so it succeeds.
    assert computed == {"seeds": ["broken.jpg"], "labels": ["broken.jpg"]}
    assert (result.labels, result.errors) == (5, 0)
    assert "4 are reused" in printed
    assert FinishedRun.open(out).version.made_by == SECOND  # every row was made by 0.5.4, or as 0.5.4 would


def test_a_raised_revision_reuses_no_row_of_it(out: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    raised = {name: replace(stage, revision=2) if name == "labels" else stage for name, stage in STAGES.items()}
    monkeypatch.setattr("irnet_ray.commands.plan.STAGES", raised)
    run = FinishedRun.open(out)
    todo = plan_relabel(run.folder, MADE / "data", False, 0.2)
    assert todo.reused is not None and set(todo.reused.results) == {"seeds"}  # the seeds did not change
    assert (todo.computed("seeds"), todo.computed("labels")) == (1, 5)
    assert "no row of labels is reused" in "\n".join(todo.lines())


def table_of(images: Shards) -> pa.Table:
    """The images table, sorted by id as a plan holds it."""
    return pa.concat_tables([images.rows.read_table(name) for name in images.rows.files()]).sort_by("image_id")


def moved_to(data: Path, out: Path) -> None:
    """Let the labels' rows name today's place of the images: the folder that 0.5.4 read is gone."""
    run = FinishedRun.open(out)
    place = {row["image_id"]: row["uri"] for row in read_folder(data, 2).to_pylist()}
    for name in run.shards("labels").rows.files():
        folder = run.shards("labels").rows
        table = folder.read_table(name)
        uris = [place[image_id] for image_id in table["image_id"].to_pylist()]
        column = table.schema.get_field_index("uri")
        folder.write_table(name, table.set_column(column, table.schema.field(column), [uris]))
