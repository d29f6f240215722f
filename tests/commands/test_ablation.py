"""The ablation: what is checked before Ray starts. tests/end_to_end runs whole ones."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pyarrow as pa
import pytest

from irnet_ray import tables
from irnet_ray.commands.ablation import ablation_rows
from irnet_ray.config.load import Config
from irnet_ray.errors import UserError
from irnet_ray.runs.folder import Folder
from irnet_ray.runs.run import FinishedRun
from irnet_ray.runs.shards import Shards
from tests.no_ray import StartedError

SHARDS = 2


@pytest.fixture
def finished(tmp_path: Path, no_ray: None) -> Callable[..., Folder]:
    """A function that makes the folder of a finished run of two images."""

    def make(**knobs: Any) -> Folder:
        out = Folder(str(tmp_path / "out"))
        stages = {name: f"{name}-01" for name in ("images", "classifier", "seeds", "irnet", "labels")}
        config = Config.model_validate({"backbone": "lite0", **knobs}).model_dump(mode="json")
        known = {"version": "01", "stages": stages, "shards": SHARDS, "vocabulary": ["dog"], "config": config}
        out.write_json("current.json", known)
        images = Shards(out.folder("stages", "images-01"), SHARDS)
        for shard in range(SHARDS):
            row = {"image_id": f"{shard}.png", "uri": "", "tags": ["dog"], "shard": shard}
            images.rows.write_table(images.part(shard), pa.Table.from_pylist([row], tables.IMAGES))
        return out

    return make


def test_a_run_that_never_finished_is_refused(tmp_path: Path) -> None:
    with pytest.raises(UserError, match=f"No finished run in {tmp_path}"):
        ablation_rows(tmp_path, ["0.png"])


def test_images_of_another_run_need_no_ray(finished: Callable[..., Folder]) -> None:
    assert list(ablation_rows(finished().location, ["unknown.png"])) == []
    with pytest.raises(StartedError):
        ablation_rows(finished().location, ["unknown.png", "1.png"])


def folder_of(out: Folder, ids: list[str]) -> tuple[str, str]:
    """Names of the two result folders."""
    from irnet_ray.commands.ablation import _Ablation

    ablation = _Ablation(FinishedRun.open(out.location), frozenset(ids))
    return ablation.affinitynet.location, ablation.result.folder.location


def test_results_are_named_by_everything_that_makes_them(finished: Callable[..., Folder]) -> None:
    network, rows = folder_of(finished(), ["0.png", "1.png"])
    assert folder_of(finished(), ["1.png", "unknown.png", "0.png"]) == (network, rows)
    assert folder_of(finished(), ["1.png"])[0] == network and folder_of(finished(), ["1.png"])[1] != rows
    for knobs in ({"affinitynet": {"rate": 0.5}}, {"irnet": {"crop": 64}}, {"seed": 1}):
        other = folder_of(finished(**knobs), ["0.png", "1.png"])
        assert other[0] != network and other[1] != rows
    # AffinityNet does not use the rate of IRNet.
    assert folder_of(finished(irnet={"rate": 0.5}), ["0.png", "1.png"])[0] == network
