"""Faults during the whole command: broken weights, and clocks that jump."""

from __future__ import annotations

import json
import os
import random
import shutil
import subprocess
import sys
from pathlib import Path

import pyarrow.parquet as pq
import pytest
import torch
from safetensors.torch import load_file, save_file

from tests.end_to_end.conftest import BROKEN, IMAGES, Run
from tests.engine.processes import Marked

pytestmark = pytest.mark.slow  # whole runs

JUMPS = """
import os, time
real, born, moved = time.time, time.monotonic(), []

def jumping():
    # A second after its start, a process jumps to the past or to the future, or stays.
    days = (os.getpid() % 3 - 1) * 400
    if time.monotonic() - born < 1 or not days:
        return real()
    if not moved:
        moved.append(True)
        open(os.path.join(os.path.dirname(__file__), "moved-%d" % os.getpid()), "w").close()
    return real() + days * 86400

time.time = jumping
"""


def copy_stages(run: Run, out: Path, *stages: str) -> None:
    """Copy finished stages of the run to `out`."""
    names = json.loads((run.out / "current.json").read_text())["stages"]
    for stage in stages:
        shutil.copytree(run.out / "stages" / names[stage], out / "stages" / names[stage])


def same_labels(run: Run, out: Path) -> None:
    """Check that every part of labels and errors equals that of the run without interruption, byte for byte."""
    for kind in ("labels", "errors"):
        parts = sorted(path.name for path in (run.out / kind).iterdir())
        assert parts and parts == sorted(path.name for path in (out / kind).iterdir())
        for part in parts:
            assert (out / kind / part).read_bytes() == (run.out / kind / part).read_bytes(), part


def test_broken_weights_of_the_classifier_end_in_errors_and_one_sentence(run: Run, tmp_path: Path) -> None:
    out = tmp_path / "out"
    copy_stages(run, out, "images", "tags", "classifier")
    (weights,) = out.glob("stages/classifier-*/weights.safetensors")
    state = load_file(weights)
    save_file({name: t * torch.nan if t.is_floating_point() else t for name, t in state.items()}, weights)

    done = subprocess.run([sys.executable, *run.command(out)], capture_output=True, text=True)
    assert done.returncode == 2, done.stdout + done.stderr
    assert done.stderr == f"irnet-ray: None of the {IMAGES} images could be used: see {out}/stages.\n"
    (seeds,) = out.glob("stages/seeds-*")
    errors = {row["image_id"]: row for part in (seeds / "errors").iterdir() for row in pq.read_table(part).to_pylist()}
    assert len(errors) == IMAGES and errors.pop(BROKEN)["kind"] == "unreadable"
    assert {(row["kind"], row["stage"]) for row in errors.values()} == {("FloatingPointError", "seeds")}
    (prototypes,) = out.glob("stages/prototypes-*")
    assert sum(pq.read_metadata(part).num_rows for part in (prototypes / "rows").iterdir()) == 0
    assert not list(out.glob("stages/labels-*")) and not (out / "current.json").exists()


def test_clocks_that_jump_change_no_label(run: Run, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Clocks of processes and times of files are all wrong, and one run is killed."""
    site, out = tmp_path / "site", tmp_path / "out"
    site.mkdir()
    (site / "sitecustomize.py").write_text(JUMPS)
    copy_stages(run, out, "images", "tags", "classifier", "prototypes", "seeds", "irnet")
    monkeypatch.setenv("PYTHONPATH", str(site))
    with Marked(*run.command(out), log=tmp_path / "first.log") as labeling:
        labeling.wait_for(lambda: list(out.glob("stages/labels-*/units/*/[!.]*.parquet")))
        labeling.kill()
    years = random.Random(0)
    for path in out.rglob("*"):
        if path.is_file():
            when = years.uniform(0, 4e9)  # 1970 to 2096
            os.utime(path, (when, when))
    with Marked(*run.command(out), log=tmp_path / "second.log") as labeling:
        printed = labeling.finish()
    assert f"{IMAGES} images = {IMAGES - 1} labels + 1 errors" in printed
    assert len(list(site.glob("moved-*"))) >= 2
    same_labels(run, out)
