"""Kill -9, then the same command again: nothing is lost or doubled, and only missing units are computed."""

from __future__ import annotations

import json
import shutil
from pathlib import Path

import pyarrow.parquet as pq
import pytest

from tests.end_to_end.conftest import IMAGES, SHARDS, Run
from tests.engine.processes import Marked


def interrupt(run: Run, out: Path, stage: Path, log: Path) -> tuple[str, set[str]]:
    """Label into `out` until `stage` has committed a unit, then kill. Returns the output and the committed images."""
    with Marked(*run.command(out), log=log) as labeling:
        labeling.wait_for(lambda: any(stage.glob("units/*/[!.]*.parquet")))
        labeling.kill()
    units = sorted(stage.glob("units/*/[!.]*.parquet"))
    ids = [image_id for unit in units for image_id in pq.read_table(unit)["image_id"].to_pylist()]
    assert len(ids) == len(set(ids))
    return log.read_text(), set(ids)


@pytest.mark.slow  # tests/benchmarks/test_chaos.py kills the same command ten times in the default tests
def test_a_run_killed_in_seeds_and_in_labels_ends_as_if_it_had_not(run: Run, tmp_path: Path) -> None:
    names = json.loads((run.out / "current.json").read_text())["stages"]
    out = tmp_path / "out"
    # Both trainings are done already, so labeling is killed.
    for stage in ("images", "classifier", "irnet"):
        shutil.copytree(run.out / "stages" / names[stage], out / "stages" / names[stage])
    seeds, labels = (out / "stages" / names[stage] for stage in ("seeds", "labels"))

    _, seeded = interrupt(run, out, seeds, tmp_path / "first.log")
    assert 0 < len(seeded) < IMAGES
    assert not (out / "current.json").exists() and not (out / "labels").exists()

    printed, labelled = interrupt(run, out, labels, tmp_path / "second.log")
    assert f"seeds: {len(seeded)} of {IMAGES} images done" in printed
    assert f"seeds: {IMAGES - len(seeded)} images computed, {IMAGES - 1} rows, 1 errors" in printed
    assert 0 < len(labelled) < IMAGES

    with Marked(*run.command(out), log=tmp_path / "third.log") as labeling:
        printed = labeling.finish()
    assert f"seeds: done, irnet: done, labels: {len(labelled)} of {IMAGES} images done" in printed
    assert "seeds: 0 images" not in printed and "images computed" in printed
    assert f"labels: {IMAGES - len(labelled)} images computed, {IMAGES - 1} rows, 1 errors" in printed
    assert f"{IMAGES} images = {IMAGES - 1} labels + 1 errors" in printed

    for stage in ("seeds", "labels"):
        for kind in ("rows", "errors"):
            for shard in range(SHARDS):
                part = Path("stages", names[stage], kind, f"part-{shard:05d}-of-{SHARDS:05d}.parquet")
                assert pq.read_table(out / part).equals(pq.read_table(run.out / part)), part
                assert (out / part).read_bytes() == (run.out / part).read_bytes(), part
        assert not list((out / "stages" / names[stage]).rglob("units/*/*"))
