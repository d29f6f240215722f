"""The wheel holds the whole package, and labels scenes from a new environment outside the checkout."""

from __future__ import annotations

import subprocess
import sys
import zipfile
from pathlib import Path

import pyarrow.parquet as pq
import pytest

from irnet_ray import __version__, tables
from tests.engine.processes import Marked

ROOT = Path(__file__).parents[2]
SCENES = 160
# As little work as possible: the test is about files and imports.
SETTINGS = (
    "backbone=lite0",
    "max_side=64",
    "classifier.epochs=1",
    "classifier.min_iterations=2",
    "classifier.batch_size=32",
    "classifier.crop=64",
    "classifier.resize=[64, 64]",
    "seeds.method=cam",
    "seeds.scales=[1.0]",
    "irnet.epochs=1",
    "irnet.min_iterations=2",
    "irnet.batch_size=32",
    "irnet.crop=64",
    "irnet.mean_images=4",
)
# Runs a program in another folder: what lies in the checkout is not found there.
ELSEWHERE = "import os, sys; os.chdir(sys.argv[1]); os.execv(sys.argv[2], sys.argv[2:])"


def run(*command: str | Path) -> str:
    done = subprocess.run([str(word) for word in command], capture_output=True, text=True)
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stdout


@pytest.fixture(scope="module")
def wheel(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The wheel of the checkout."""
    place = tmp_path_factory.mktemp("wheel")
    run(sys.executable, "-m", "pip", "wheel", "--quiet", "--no-deps", "--wheel-dir", place, ROOT)
    (built,) = place.glob("*.whl")
    return built


@pytest.mark.slow  # builds in a new environment, which pip downloads
def test_the_wheel_holds_the_package_and_nothing_else(wheel: Path) -> None:
    with zipfile.ZipFile(wheel) as archive:
        names = {name for name in archive.namelist() if not name.startswith(f"irnet_ray-{__version__}.dist-info/")}
        assert f"irnet_ray-{__version__}.dist-info/licenses/LICENSE" in archive.namelist()
    package = (path for path in (ROOT / "irnet_ray").rglob("*") if path.is_file() and "__pycache__" not in path.parts)
    assert names == {path.relative_to(ROOT).as_posix() for path in package}


@pytest.mark.slow  # installs all dependencies, and labels scenes
def test_it_labels_scenes_from_a_new_environment(wheel: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("PYTHONPATH", raising=False)
    monkeypatch.delenv("VIRTUAL_ENV", raising=False)
    run(sys.executable, "-m", "venv", tmp_path / "venv")
    binaries = tmp_path / "venv" / "bin"
    run(binaries / "python", "-m", "pip", "install", "--quiet", "-c", ROOT / "constraints.txt", f"{wheel}[lite]")
    empty = tmp_path / "empty"
    empty.mkdir()
    settings = [word for setting in SETTINGS for word in ("--set", setting)]
    command = (binaries / "irnet-ray", "label", "--out", tmp_path / "out", "--shards", "2", *settings)
    with Marked("-c", ELSEWHERE, empty, *command, log=tmp_path / "log") as labeling:
        printed = labeling.finish()
    assert f"{SCENES} images = {SCENES} labels + 0 errors" in printed
    labels = pq.read_table(tmp_path / "out" / "labels")
    assert labels.num_rows == SCENES and labels.column_names == tables.LABELS.names
    assert not list(empty.iterdir())
