"""The map mechanism: every image is processed once, whatever happens to the others."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from irnet_ray.engine import mapping
from irnet_ray.engine.mapping import MapResult, unit_of
from irnet_ray.engine.progress import Reading
from irnet_ray.engine.session import Devices
from tests.engine import toy_mapping
from tests.engine.mapped import UPSTREAM_ERROR, Ran

COUNT = 2
# Silenced by the session; but pytest puts the filters back after the test that opened it.
pytestmark = pytest.mark.filterwarnings("ignore::ray.util.annotations.RayDeprecationWarning")
# In the order of their units: the deadly ones stand among good ones, which wait for the same processes.
KINDS = {
    3: "kill-network",
    6: "raise-load",
    9: "kill-network",
    12: "raise-network",
    15: "kill-load",
    18: "odd-network",
    20: "kill-network",
    21: "raise-finish",
    22: "upstream-failed",
}
IDS = [f"{number:02d}-{KINDS.get(number, 'good')}" for number in range(26)]
GOOD = [image_id for image_id in IDS if image_id.endswith("good")]
BAD = [image_id for image_id in IDS if image_id not in GOOD]
DEADLY = [image_id for image_id in BAD if "kill" in image_id]


@pytest.fixture(scope="module")
def ran(tmp_path_factory: pytest.TempPathFactory, devices: Devices) -> Ran:
    """The toy stage after its one run, in which a unit of two images had been committed before."""
    begun = Ran(tmp_path_factory.mktemp("mapping"), devices, IDS, COUNT)
    begun.commit_early(GOOD[0])
    begun.first = begun.run()
    return begun


def test_many_actors_get_larger_units() -> None:
    assert [unit_of(actors) for actors in (1, 2, 4, 8, 16, 1000)] == [32, 32, 32, 64, 128, 128]


def test_rows_and_errors_are_the_images(ran: Ran) -> None:
    assert ran.first == MapResult(len(GOOD), len(BAD), len(GOOD) + len(BAD) - len(ran.early))
    assert sorted(ran.table("rows")) == GOOD
    assert sorted(ran.table("errors")) == sorted(BAD)
    assert ran.result.sealed() == {0, 1}
    for shard, ids in ran.ids.items():
        part = ran.result.part(shard)
        held = [ran.result.rows.read_table(part), ran.result.errors.read_table(part)]
        assert sorted(i for table in held for i in table["image_id"].to_pylist()) == ids


def test_rows_went_through_every_step_with_their_sources_joined(ran: Ran) -> None:
    for image_id, row in ran.table("rows").items():
        if image_id not in ran.early:
            assert row["trail"] == f"loaded {image_id}, seen, finished"
            assert row["upstream"] == len(image_id)


def test_images_went_through_the_network_in_batches(ran: Ran) -> None:
    assert set((ran.log / "batches").read_text().split()) == {"2"}  # a last single image needs no batch


def test_what_was_committed_before_is_not_computed_again(ran: Ran) -> None:
    assert len(ran.early) == 2
    for image_id in ran.early:
        assert ran.table("rows")[image_id]["trail"] == "done before"
        assert ran.calls("load", image_id) == 0


@pytest.mark.parametrize("image_id", DEADLY)
def test_an_image_that_kills_its_process_costs_that_image(ran: Ran, image_id: str) -> None:
    error = ran.table("errors")[image_id]
    assert (error["kind"], error["stage"], error["uri"]) == ("worker-died", "toy", f"/{image_id}")
    assert "Every process that worked on this image died" in error["message"]
    # In its unit, unless another image ended that before, and alone; Ray tries each of them once or twice.
    assert 1 <= ran.calls(image_id.rpartition("-")[2], image_id) <= 4


@pytest.mark.parametrize(
    ("image_id", "kind", "message"),
    [
        ("06-raise-load", "ValueError", "load of 06-raise-load"),
        ("12-raise-network", "ValueError", "network of 12-raise-network"),
        ("21-raise-finish", "ValueError", "finish of 21-raise-finish"),
        ("18-odd-network", "odd", "network"),
    ],
)
def test_an_image_whose_step_raises_costs_that_image(ran: Ran, image_id: str, kind: str, message: str) -> None:
    expected = {"image_id": image_id, "uri": f"/{image_id}", "stage": "toy", "kind": kind, "message": message}
    assert ran.table("errors")[image_id] == expected


def test_an_image_that_failed_before_passes_through_with_its_first_error(ran: Ran) -> None:
    expected = {"image_id": "22-upstream-failed", "uri": "/22-upstream-failed", **UPSTREAM_ERROR}
    assert ran.table("errors")["22-upstream-failed"] == expected
    assert ran.calls("load", "22-upstream-failed") == 0


def test_a_finished_stage_computes_nothing_again(ran: Ran) -> None:
    def files() -> dict[str, tuple[int, int]]:
        found = [path for path in Path(ran.result.folder.local_path).rglob("*") if path.is_file()]
        return {str(path): (path.stat().st_ino, path.stat().st_mtime_ns) for path in found}

    before, built = files(), (ran.log / "networks").read_text()
    assert ran.run() == MapResult(len(GOOD), len(BAD), 0)
    assert files() == before and (ran.log / "networks").read_text() == built


def test_after_a_crash_before_sealing_only_the_sealing_is_repeated(ran: Ran, tmp_path: Path) -> None:
    again = ran.afresh(tmp_path)
    for shard, ids in ran.ids.items():
        for image_id in ids:
            row = ran.table("rows").get(image_id)
            bad = {"image_id": image_id, "uri": f"/{image_id}", "error": UPSTREAM_ERROR}
            again.result.commit(shard, toy_mapping.SCHEMA, [row or bad])
    assert again.run() == MapResult(len(GOOD), len(BAD), 0)
    for shard in range(COUNT):
        one, other = (r.result.rows.read_table(r.result.part(shard)) for r in (ran, again))
        assert one == other


def test_a_network_that_cannot_be_built_stops_the_stage_in_one_sentence(ran: Ran, tmp_path: Path) -> None:
    again = ran.afresh(tmp_path)
    again.log = tmp_path / "absent"  # where building writes first
    with pytest.raises(RuntimeError, match=r"^toy: stopped: .*No such file or directory") as caught:
        again.run()
    assert "\n" not in str(caught.value)
    assert again.result.sealed() == set()


def test_the_display_says_that_processes_start_then_that_the_first_unit_runs(
    tmp_path: Path, devices: Devices, monkeypatch: pytest.MonkeyPatch
) -> None:
    run = Ran(tmp_path, devices, [f"{number:02d}-{'good' if number else 'wait-network'}" for number in range(6)], 1)
    run.stage_unit = "tags"
    seen: list[Reading] = []
    units: list[str] = []

    @contextmanager
    def display(stage: str, unit: str, read: Callable[[], Reading]) -> Iterator[None]:
        units.append(unit)
        seen.append(read())  # before any process can have started
        done = threading.Event()

        def watch() -> None:
            while not done.is_set():
                seen.append(read())
                if seen[-1].note.startswith("computing"):
                    (run.log / "go").touch()  # only now may the first unit end
                time.sleep(0.02)

        thread = threading.Thread(target=watch)
        thread.start()
        yield
        done.set()
        thread.join()
        seen.append(read())

    monkeypatch.setattr(mapping, "display", display)
    assert run.run() == MapResult(6, 0, 6)
    states = [reading for number, reading in enumerate(seen) if not number or reading != seen[number - 1]]
    assert states[:2] == [Reading(0, 6, "starting 1 process"), Reading(0, 6, "computing the first 4 tags")]
    assert states[-1] == Reading(6, 6, "") and all(not reading.note for reading in states[2:])
    assert units == ["tags"]
    assert "started.json" not in run.result.folder.files()


def test_a_stage_that_loses_a_row_says_what_it_counts(ran: Ran, tmp_path: Path) -> None:
    again = ran.afresh(tmp_path)
    again.run()
    part = again.result.part(0)
    again.result.rows.write_table(part, again.result.rows.read_table(part).slice(1))
    again.stage_unit = "tags"
    with pytest.raises(RuntimeError, match=f"errors are not {len(IDS)} tags"):
        again.run()


def test_the_stage_s_profile_holds_the_seconds_of_every_step(ran: Ran) -> None:
    found = ran.result.folder.read_json("profile.json")
    assert set(found["step_seconds"]) == {"load", "network", "finish", "write"}
    assert all(seconds > 0 for seconds in found["step_seconds"].values())
    assert found["images"] == ran.first.computed and found["actors"] == 1 and found["seconds"] > 0
    assert found["idle_seconds"] < found["seconds"]
