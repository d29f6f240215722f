"""Readers of a damaged run give the right result, or refuse with one sentence that names the file."""

from __future__ import annotations

import json
import random
import shutil
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from rich.console import Console

from irnet_ray import tables
from irnet_ray.commands.evaluate import evaluate
from irnet_ray.commands.export import export
from irnet_ray.commands.train import student_config
from irnet_ray.masks import encode_cam
from irnet_ray.runs.folder import Folder
from irnet_ray.runs.run import FinishedRun
from irnet_ray.runs.shards import Shards
from irnet_ray.stages.student_kinds import KINDS
from tests.fuzzing.sentences import DAMAGES, FUZZ, flipped_page, outcome, truncated, write
from tests.labelled import labelled_scenes

IMAGES = 6
FEW = settings(FUZZ, max_examples=12)  # each example reads a whole run with all readers
QUIET = Console(quiet=True)
VALUES = (
    st.none() | st.booleans() | st.integers(-1, 3) | st.text(max_size=5) | st.lists(st.text(max_size=3), max_size=2)
)
OTHERS = VALUES | st.dictionaries(st.sampled_from(["images", "labels", "seeds"]), VALUES, max_size=3)


@dataclass(frozen=True)
class Whole:
    """An undamaged run, a place for damaged copies, and the results of its readers."""

    out: Path
    copy: Path
    truth: Path
    files: list[Path]  # relative to `out`
    read: dict[str, Any] = field(repr=False)


def readers(out: Path, truth: Path, scratch: Path) -> dict[str, Any]:
    """The result of each reader of a finished run. None for a sentence."""
    shutil.rmtree(scratch, ignore_errors=True)
    coco, voc = scratch / "coco", scratch / "voc"
    exported = outcome(lambda: export(out, "coco", coco, console=QUIET))
    given = {
        "finished": outcome(lambda: FinishedRun.open(out).vocabulary),
        "coco": exported and json.loads((coco / "instances.json").read_bytes()),
        "voc": outcome(lambda: export(out, "voc", voc, console=QUIET).annotations),
        "evaluate": outcome(lambda: evaluate(out, truth, console=QUIET).to_json()),
    }
    outcome(lambda: student_config(FinishedRun.open(out), KINDS["deeplab"]))
    return given


@pytest.fixture(scope="module")
def whole(tmp_path_factory: pytest.TempPathFactory) -> Whole:
    place = tmp_path_factory.mktemp("run")
    out = labelled_scenes(place, IMAGES, (64, 96))
    version = json.loads((out / "current.json").read_bytes())
    version["stages"]["seeds"] = "seeds-0123456789ab"
    (out / "current.json").write_text(json.dumps(version))
    labels, seeds = (
        Shards(Folder(str(out)).folder("stages", version["stages"][name]), version["shards"])
        for name in ("labels", "seeds")
    )
    number = {name: place for place, name in enumerate(version["vocabulary"])}
    for name in labels.rows.files():
        rows = [
            {
                "image_id": row["image_id"],
                "class_ids": [number[tag] for tag in row["tags"]],
                **encode_cam(np.full((len(row["tags"]), 16, 24), 0.5)),
                "attention": None,
                "confident_map": row["semantic"],
            }
            for row in labels.rows.read_table(name).to_pylist()
        ]
        seeds.rows.write_table(name, tables.SEEDS.empty_table().from_pylist(rows, tables.SEEDS))
    truth = place / "scenes" / "truth.json"
    read = readers(out, truth, place / "first")
    assert all(value is not None for value in read.values())
    files = sorted(path.relative_to(out) for path in out.rglob("*") if path.is_file() and not _linked(path, out))
    return Whole(out, place / "copy", truth, files, read)


def _linked(path: Path, out: Path) -> bool:
    return any(parent.is_symlink() for parent in path.relative_to(out).parents if parent != Path(".")) or any(
        (out / parent).is_symlink() for parent in path.relative_to(out).parents
    )


def fresh(whole: Whole) -> Path:
    shutil.rmtree(whole.copy, ignore_errors=True)
    shutil.copytree(whole.out, whole.copy / "out", symlinks=True)
    return whole.copy / "out"


@FEW
@given(data=st.data(), rng=st.randoms(use_true_random=False))
def test_a_damaged_table_changes_no_result(whole: Whole, data: st.DataObject, rng: random.Random) -> None:
    out = fresh(whole)
    file = data.draw(st.sampled_from(whole.files))
    before = (out / file).read_bytes()
    table = file.suffix == ".parquet"
    write(out / file, data.draw(st.sampled_from((flipped_page, truncated) if table else DAMAGES))(before, rng))
    found = readers(out, whole.truth, whole.copy / "exports")
    # Only in JSON may a change go unnoticed: people may edit it, and a number may become another number.
    if table:
        differing = {name for name, value in found.items() if value is not None and value != whole.read[name]}
        assert not differing, file


@FEW
@given(content=st.data())
def test_any_current_version(whole: Whole, content: st.DataObject) -> None:
    out = fresh(whole)
    version = json.loads((out / "current.json").read_bytes())
    for name in content.draw(st.lists(st.sampled_from(sorted(version)), min_size=1, max_size=2)):
        if content.draw(st.booleans()):
            version.pop(name, None)
        else:
            version[name] = content.draw(OTHERS)
    (out / "current.json").write_text(json.dumps(content.draw(OTHERS) if content.draw(st.booleans()) else version))
    readers(out, whole.truth, whole.copy / "exports")


@FUZZ
@given(data=st.binary(max_size=60))
def test_any_bytes_for_the_current_version(whole: Whole, data: bytes) -> None:
    out = fresh(whole)
    write(out / "current.json", data)
    assert outcome(lambda: FinishedRun.open(out)) is None


@FUZZ
@given(data=st.binary(max_size=60), name=st.text("abc", min_size=1, max_size=3))
def test_any_bytes_for_a_unit(whole: Whole, data: bytes, name: str) -> None:
    shards = Shards(Folder(str(whole.copy / "units")), 2)
    shutil.rmtree(whole.copy / "units", ignore_errors=True)
    write(Path(shards.units(0).local_path) / f"{name}.parquet", data)
    assert outcome(lambda: shards.missing(0, ["a"])) is None
