"""Kill labeling many times, repeat the command until it is done, and compare the labels with those of a normal run.

    python -m benchmarks.chaos --kills 50 --seed 7

A small real pipeline, `irnet-ray label` on generated scenes and a broken photo, first runs without interruption. Then
it runs in new output folders until all kills are done and the last run has ended. Each kill is a SIGKILL at a random
moment of a stage:

    driver    the command itself, and its own Ray if it has one
    actor     a process that holds a network
    task      a process that loads, finishes, writes or seals
    trainer   a training worker
    node      all processes of the second node of a local cluster; a new node replaces it

Stages and kinds get equal shares. The command joins the local cluster if a node is to be killed before the driver, and
starts its own Ray otherwise. So one run mixes both. The stage `start` lasts until Ray has started, and `publish` begins
after the last label.

An image is lost if its label (or error) of the normal run is missing, doubled if it has more than one row, and
differing if any byte of its row differs. Exit code 1 if there is such an image, or a run that does not end.
"Recomputed" is the share of images, over the map stages, that were loaded more often than in the normal run.

Ray takes about 3 GB. A busy machine makes it slow, not wrong. --keep DIR keeps the runs and their logs. Linux only.
"""

from __future__ import annotations

import argparse
import os
import random
import signal
import subprocess
import sys
import tempfile
import time
from collections import Counter
from collections.abc import Iterable
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
from PIL import Image

from benchmarks.chaos_kills import MARK, Nodes, Opens, Process, kill, kill_all, marked, workers
from benchmarks.chaos_rows import compare, read_rows
from irnet_ray.runs.run import WEIGHTS
from irnet_ray.scenes.generate import generate

TRAININGS, MAPS = ("classifier", "irnet"), ("prototypes", "seeds", "labels")
STAGES = ("start", "classifier", "prototypes", "seeds", "irnet", "labels", "publish")
TARGETS = {
    "driver": STAGES,
    "actor": MAPS,
    "task": MAPS,
    "trainer": TRAININGS,
    "node": STAGES[1:-1],
}
SCENES, SIZE, BROKEN, SHARDS, WORKERS = 11, (64, 80), "broken.jpg", 2, 2
# Little work, but every stage has several units or epochs, so that a kill can come between them.
CONFIG = """
backbone: lite0
unit_size: 2
classifier: {epochs: 3, min_iterations: 12, batch_size: 2, crop: 64, resize: [64, 80], rate: 0.02}
seeds: {scales: [1.0], prototypes: 4, prototype_images: 2}
irnet: {epochs: 3, min_iterations: 6, batch_size: 2, crop: 64, radius: 4}
"""
COMMAND = (sys.executable, "-c", "from irnet_ray.cli import main; main()")
PER_RUN = 10  # kills
# Kills of workers in one stage of a run. After four deaths of its process, an image is rightly given up.
PER_STAGE = 3
POLL = 0.1  # seconds
PATIENCE = 900.0  # seconds without a kill or a finished stage, after which the command counts as hanging
FAILURES = 5  # failed starts in a row, without a kill, after which a run is given up


@dataclass
class Kill:
    """One kill. It comes when a victim has been there for `fraction` of the time that it is there in the normal run."""

    kind: str
    stage: str
    fraction: float
    run: int = 0  # the run in which it was done
    seen: float | None = None  # when a victim was first there

    @property
    def place(self) -> int:
        return STAGES.index(self.stage)


def deal(count: int, seed: int) -> list[Kill]:
    """A number of kills, in equal shares for the kinds, and for the stages of each kind."""
    draw, decks = random.Random(seed), {kind: list[str]() for kind in TARGETS}
    kills = []
    for number in range(count):
        kind = list(TARGETS)[number % len(TARGETS)]
        decks[kind] = decks[kind] or draw.sample(TARGETS[kind], len(TARGETS[kind]))
        kills.append(Kill(kind, decks[kind].pop(), draw.random()))
    draw.shuffle(kills)
    return kills


def take(left: list[Kill]) -> list[Kill]:
    """Take the kills of the next run, in the order of its stages."""
    taken: list[Kill] = []
    for candidate in list(left):
        beside = sum(other.stage == candidate.stage and other.kind != "driver" for other in taken)
        if len(taken) < PER_RUN and (candidate.kind == "driver" or beside < PER_STAGE):
            left.remove(candidate)
            taken.append(candidate)
    return sorted(taken, key=lambda chosen: chosen.place)


def wants_cluster(pending: list[Kill]) -> bool:
    """Whether a node is to be killed before the command itself."""
    kinds = [chosen.kind for chosen in pending]
    return "node" in kinds[: kinds.index("driver") if "driver" in kinds else None]


@dataclass
class Run:
    """One output folder and its history."""

    number: int
    out: Path
    done: list[Kill] = field(default_factory=list)
    starts: int = 0
    failures: int = 0  # starts that failed without a kill
    in_a_row: int = 0  # the last ones of these
    opens: dict[str, Counter[str]] = field(default_factory=lambda: {stage: Counter() for stage in STAGES})
    ended: bool = False

    @property
    def log(self) -> Path:
        return self.out.with_name(f"{self.out.name}-start-{self.starts}.log")

    def stage(self) -> str:
        """The stage that the command is in, from its files; `start` until Ray has started."""
        if "devices:" not in self.log.read_text():
            return "start"
        return next((stage for stage in STAGES[1:-1] if not self.is_done(stage)), "publish")

    def is_done(self, stage: str) -> bool:
        for folder in self.out.glob(f"stages/{stage}-*"):
            if stage in TRAININGS:
                return (folder / WEIGHTS).exists()
            return len(list(folder.glob("rows/part-*"))) == SHARDS
        return False


class Chaos:
    """All runs, one after another, in one folder."""

    def __init__(self, place: Path, kills: int, seed: int) -> None:
        self.place, self.total, self.draw = place, kills, random.Random(seed + 1)
        self.left, self.runs = deal(kills, seed), list[Run]()
        self.mark = f"{os.getpid()}-{time.time_ns()}"
        self.begun = time.monotonic()
        # Seconds that a kind of victim is there in a stage of the normal run.
        self.spans: dict[tuple[str, str], float] = {}
        self.nodes: Nodes | None = None
        self.data, self.config = place / "data", place / "config.yaml"
        place.mkdir(parents=True, exist_ok=True)
        generate(self.data, SCENES, SIZE)
        noise = np.random.default_rng(0).integers(0, 256, (*SIZE, 3), np.uint8)
        Image.fromarray(noise).save(self.data / "images" / BROKEN, quality=90)
        whole = (self.data / "images" / BROKEN).read_bytes()
        (self.data / "images" / BROKEN).write_bytes(whole[: len(whole) // 2])
        with (self.data / "tags.csv").open("a") as tags:
            tags.write(f"{BROKEN},checkered-box\n")
        self.config.write_text(CONFIG)
        self.opens = Opens(self.data / "images")

    def say(self, text: str) -> None:
        seconds = round(time.monotonic() - self.begun)
        print(f"{seconds // 60:3d}:{seconds % 60:02d}  {text}", flush=True)

    def run(self, kills: list[Kill]) -> Run:
        """Repeat the command until the run ends. Kills that found no victim go back to `left`."""
        run = Run(len(self.runs), self.place / f"run-{len(self.runs)}")
        self.runs.append(run)
        pending = list(kills)
        while not run.ended and run.in_a_row < FAILURES:
            mark, driver = self.start(run, pending)
            try:
                code = self.watch(run, mark, driver, pending)
            finally:
                driver.kill()
                driver.wait()
            if code == 0:
                run.ended = True
            elif code is not None:
                run.failures, run.in_a_row = run.failures + 1, run.in_a_row + 1
                said = run.log.read_text().strip().splitlines()
                self.say(f"run {run.number}: the command failed with exit code {code}: {said[-1] if said else ''}")
        self.left += pending
        return run

    def start(self, run: Run, pending: list[Kill]) -> tuple[str, subprocess.Popen[bytes]]:
        """Start the command. Returns the mark of its victims, and its process."""
        run.starts += 1
        own = f"{self.mark}-run-{run.number}-{run.starts}."
        # Always two cores, and one thread per worker: sums over other numbers of threads round differently.
        environment = {
            **{name: value for name, value in os.environ.items() if name != "RAY_ADDRESS"},
            MARK: own,
            "OMP_NUM_THREADS": "1",
            "CUDA_VISIBLE_DEVICES": "",
            "RAY_OVERRIDE_RESOURCES": f'{{"CPU": {WORKERS}}}',
        }
        arguments = ["--data", self.data, "--out", run.out, "--config", self.config]
        arguments += ["--shards", SHARDS, "--workers", WORKERS]
        cluster = wants_cluster(pending)
        if cluster:
            self.nodes = self.nodes or Nodes(self.mark)
            arguments += ["--address", self.nodes.address]
        with run.log.open("wb") as log:
            driver = subprocess.Popen(
                [*COMMAND, "label", *map(str, arguments)], env=environment, stdout=log, stderr=subprocess.STDOUT
            )
        self.say(f"run {run.number}: start {run.starts}, {'local cluster' if cluster else 'its own Ray'}")
        return (self.nodes.mark if cluster and self.nodes else own), driver

    def watch(self, run: Run, mark: str, driver: subprocess.Popen[bytes], pending: list[Kill]) -> int | None:
        """Watch a command until it ends, and do its kills. Returns its exit code, or None if it was killed."""
        stage, changed = "", time.monotonic()
        for chosen in pending:
            chosen.seen = None
        begun: dict[str, float] = {}
        while driver.poll() is None:
            before, stage, now = stage, run.stage(), time.monotonic()
            run.opens[stage] += self.opens.read()
            if stage != before:
                changed, begun = now, {"driver": now}
            while pending and (pending[0].place < STAGES.index(stage) or not self.reachable(pending[0], mark)):
                # Too late for this one. Try an earlier moment in a later run.
                pending[0].fraction, pending[0].seen = pending[0].fraction / 2, None
                self.left.append(pending.pop(0))
            processes = [Process(driver.pid, 0, "the command"), *marked(mark)]
            for kind in TARGETS if run.number == 0 else ():
                if stage in TARGETS[kind] and self.victims(kind, processes):
                    self.spans[kind, stage] = now - begun.setdefault(kind, now)
            if pending and pending[0].stage == stage and self.strike(run, pending[0], processes, mark):
                changed, run.in_a_row = time.monotonic(), 0
                if pending.pop(0).kind == "driver":
                    return None
            if time.monotonic() - changed > PATIENCE:
                self.say(f"run {run.number}: no progress for {PATIENCE:.0f} s in {stage}")
                return -1
            time.sleep(POLL)
        run.opens[stage or "start"] += self.opens.read()
        return driver.returncode

    def reachable(self, chosen: Kill, mark: str) -> bool:
        """Whether the command can have such a victim: a command with its own Ray has no second node."""
        return chosen.kind != "node" or (self.nodes is not None and mark == self.nodes.mark)

    def victims(self, kind: str, processes: list[Process]) -> list[Process]:
        return processes[:1] if kind in ("driver", "node") else workers(processes[1:], kind)

    def strike(self, run: Run, chosen: Kill, processes: list[Process], mark: str) -> bool:
        """Kill a victim if there is one and the moment has come. Returns whether it did."""
        victims = self.victims(chosen.kind, processes)
        if not victims:
            return False
        now = time.monotonic()
        chosen.seen = chosen.seen or now
        if now - chosen.seen < chosen.fraction * self.spans.get((chosen.kind, chosen.stage), 0.0):
            return False
        if chosen.kind == "node":
            assert self.nodes is not None
            what = f"{self.nodes.lose()} processes"
        else:
            victim = self.draw.choice(victims)
            if not kill(victim.pid, self.mark):
                return False
            what = victim.title
        chosen.run = run.number
        run.done.append(chosen)
        number = sum(len(other.done) for other in self.runs)
        moment = f"{chosen.kind} in {chosen.stage}, {now - chosen.seen:.1f} s in"
        self.say(f"kill {number} of {self.total}: {moment}: {what}")
        return True

    def close(self) -> None:
        kill_all(self.mark)


def table(kills: Iterable[Kill]) -> list[str]:
    """Counts of kills by kind and stage, as lines."""
    counts = Counter((chosen.kind, chosen.stage) for chosen in kills)
    lines = ["kills".ljust(9) + "".join(name.rjust(12) for name in (*STAGES, "all"))]
    for kind in TARGETS:
        cells = [str(counts[kind, stage]) if stage in TARGETS[kind] else "-" for stage in STAGES]
        cells.append(str(sum(counts[kind, stage] for stage in STAGES)))
        lines.append(kind.ljust(9) + "".join(cell.rjust(12) for cell in cells))
    by_stage = [sum(counts[kind, stage] for kind in TARGETS) for stage in STAGES]
    return [*lines, "all".ljust(9) + "".join(str(count).rjust(12) for count in (*by_stage, sum(by_stage)))]


def again(base: Run, runs: list[Run]) -> tuple[int, int]:
    """Over the map stages of all runs: images that were loaded more often than in the normal run, and all images."""
    needed = [(stage, name) for stage in MAPS for name in base.opens[stage]]
    more = sum(run.opens[stage][name] > base.opens[stage][name] for run in runs for stage, name in needed)
    return more, len(needed) * len(runs)


def chaos(place: Path, kills: int, seed: int) -> bool:
    """Do all kills and print the result. Returns whether every run ended, with the labels of the normal run."""
    all_of = Chaos(place, kills, seed)
    try:
        base = all_of.run([])
        if not base.ended:
            all_of.say("the normal run failed: there is nothing to compare with")
            return False
        expected = read_rows(base.out)
        all_of.say(f"normal run: {len(expected)} images")
        harm, survived, runs = [], 0, []
        while all_of.left:
            run = all_of.run(take(all_of.left))
            runs.append(run)
            difference = compare(expected, read_rows(run.out))
            harm.append(difference)
            survived += 0 if difference or not run.ended else len(run.done)
            ended = "ended" if run.ended else "GIVEN UP"
            all_of.say(f"run {run.number}: {ended} after {run.starts} starts, {len(run.done)} kills: {difference}")
            for what in ("lost", "doubled", "differing"):
                if ids := getattr(difference, what):
                    all_of.say(f"run {run.number}: {what}: {', '.join(ids)}")
            if not run.ended:
                break
    finally:
        all_of.close()
    done = [chosen for run in runs for chosen in run.done]
    more, needed = again(base, runs)
    print("", *table(done), "", sep="\n")
    print(f"kills survived      {survived} of {len(done)}")
    print(f"images lost         {sum(len(one.lost) for one in harm)} of {len(expected) * len(runs)}")
    print(f"images doubled      {sum(len(one.doubled) for one in harm)}")
    print(f"differing labels    {sum(len(one.differing) for one in harm)}")
    print(f"recomputed          {100 * more / max(1, needed):.1f} % ({more} of {needed} images of map stages)")
    print(f"runs                {len(runs)}, of {sum(run.starts for run in runs)} starts", end="")
    print(f", {sum(run.failures for run in runs)} of which failed without a kill")
    return not any(harm) and all(run.ended for run in runs)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--kills", type=int, default=50, help="number of kills")
    parser.add_argument("--seed", type=int, default=0, help="seed for the choice of kills and moments")
    parser.add_argument("--keep", type=Path, metavar="DIR", help="new folder in which runs and logs are kept")
    options = parser.parse_args()
    if options.kills < 1:
        parser.error("--kills must be at least 1")
    if options.keep and options.keep.exists() and any(options.keep.iterdir()):
        parser.error(f"--keep {options.keep} is not empty")
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(143))  # so that no process is left over then either
    # Sockets need a short path. A folder of its own keeps Ray's files apart from those of other programs.
    with tempfile.TemporaryDirectory(prefix="chaos-", dir="/tmp", ignore_cleanup_errors=True) as own:
        os.environ["RAY_TMPDIR"] = f"{own}/ray"
        place = options.keep or Path(own) / "runs"
        good = chaos(place.resolve(), options.kills, options.seed)
    sys.exit(0 if good else 1)


if __name__ == "__main__":
    main()
