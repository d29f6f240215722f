"""The map mechanism's second pass: one image per process, watched by the driver.

When a process with a single image ends, that image is the cause, and the driver sees why: the image exceeded its time
limit, Ray ended the process because memory ran out, or the process died. An image is given up after two deaths, because
the first may come from a lost machine.
"""

from __future__ import annotations

import time
from collections import deque
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Any

import ray
from ray.exceptions import OutOfMemoryError, RayActorError, RayError, RayTaskError

from irnet_ray.engine import failures
from irnet_ray.engine.session import Devices, raised
from irnet_ray.engine.steps import Commit, Finish, Load, MapStage, Network
from irnet_ray.runs.shards import Shards
from irnet_ray.tables import Row

START, *TIMED, COMMIT = STEPS = ("start", "load", "network", "finish", "commit")
DEATHS = 2  # processes that an image may take down before it is given up
STARTS = 3  # processes in a row that may die before they get an image


def run_isolated(
    stage: MapStage,
    result: Shards,
    left: dict[int, list[str]],
    devices: Devices,
    workers: int | None,
    seconds: float,
) -> Iterator[Row]:
    """Run the images that are left, given by shard; yields what `Commit` returned for each, errors included.

    Raises:
        RuntimeError: no network can be built, or the stage's own tables cannot be read.
        UserError: a file of the run is damaged, or a result cannot be written.
    """
    images = [_Image(shard, image_id) for shard, ids in sorted(left.items()) for image_id in ids]
    if not images:
        return
    actors, gpu = min(len(images), devices.network_workers(workers)), devices.gpus > 0
    claims = {"num_gpus": devices.gpu_share(actors), "num_cpus": 0} if gpu else {"num_cpus": 1}
    process = _Process.options(**claims)  # type: ignore[attr-defined]
    second = _SecondPass(stage, result, images, process, gpu, seconds)
    try:
        yield from second.run(actors)
    except RayError as error:
        raise raised(stage.name, error) from error
    finally:
        second.end()


@ray.remote(max_restarts=0)
class _Process:
    """All steps of a stage in one process."""

    def __init__(self, stage: MapStage, result: Shards, gpu: bool) -> None:
        self.steps: dict[str, Callable[[Row], Row]] = {
            "load": Load.of(stage, None),
            "network": Network(stage, gpu, None),
            "finish": Finish.of(stage, None),
            COMMIT: Commit(result, stage.schema),
        }

    def run(self, step: str, unit: Row) -> tuple[Row, Row | None]:
        """What a step returns for a unit; a second time, as an object of its own, if the driver reads it."""
        made = unit if step == START else self.steps[step](unit)
        return made, made if step == COMMIT else None


@dataclass
class _Image:
    shard: int
    image_id: str
    deaths: int = 0


@dataclass
class _Running:
    """A step of an image in a process. `made` goes to the next step; `ends` is its deadline on the monotonic clock."""

    image: _Image
    process: Any
    step: str
    made: Any
    ends: float | None


class _SecondPass:
    """Which images wait, which steps run, which processes are free."""

    def __init__(
        self, stage: MapStage, result: Shards, images: list[_Image], process: Any, gpu: bool, seconds: float
    ) -> None:
        self.stage, self.result, self.process, self.gpu, self.seconds = stage, result, process, gpu, seconds
        self.waiting, self.free, self.failed_starts = deque(images), list[Any](), 0
        self.running: dict[Any, _Running] = {}  # by the object that is ready when the step is done

    def run(self, actors: int) -> Iterator[Row]:
        """Run all images, `actors` at a time."""
        while self.waiting or self.running:
            while self.waiting and len(self.running) < actors:
                self._begin(self.waiting.popleft())
            ends = [step.ends for step in self.running.values() if step.ends is not None]
            patience = max(0.0, min(ends) - time.monotonic()) if ends else None
            ready, _ = ray.wait(list(self.running), timeout=patience)
            for done in ready:
                yield from self._ended(done, self.running.pop(done))
            now = time.monotonic()
            for done in [done for done, step in self.running.items() if step.ends is not None and step.ends <= now]:
                step = self.running.pop(done)
                ray.kill(step.process)
                yield self._failed(step.image, failures.timed_out(step.step, self.seconds))

    def end(self) -> None:
        """End all processes."""
        for process in [*self.free, *(step.process for step in self.running.values())]:
            ray.kill(process)

    def _begin(self, image: _Image) -> None:
        unit = {"shard": image.shard, "ids": [image.image_id]}
        if self.free:
            self._submit(image, self.free.pop(), TIMED[0], unit)
        else:
            self._submit(image, self.process.remote(self.stage, self.result, self.gpu), START, unit)

    def _submit(self, image: _Image, process: Any, step: str, unit: Any) -> None:
        made, done = process.run.options(num_returns=2).remote(step, unit)
        ends = time.monotonic() + self.seconds if step in TIMED else None
        self.running[done] = _Running(image, process, step, made, ends)

    def _ended(self, done: Any, step: _Running) -> Iterator[Row]:
        """Submit the next step, or handle the failure of this one."""
        try:
            committed = ray.get(done)
        except OutOfMemoryError:
            yield from self._died(step, failures.killed_for_memory())
        except RayActorError as error:
            if error.actor_init_failed:
                raise
            yield from self._died(step, failures.died())
        except RayTaskError as error:
            # What a step raises for an image is in the image's row, so this error is the stage's. Only a MemoryError is
            # the image's: it did not fit as a whole.
            if not isinstance(error.cause, MemoryError):
                raise
            self.free.append(step.process)
            yield self._failed(step.image, failures.failure(error.cause))
        else:
            self.failed_starts = 0
            if step.step == COMMIT:
                self.free.append(step.process)
                yield committed
            else:
                self._submit(step.image, step.process, STEPS[STEPS.index(step.step) + 1], step.made)

    def _died(self, step: _Running, why: tuple[str, str]) -> Iterator[Row]:
        ray.kill(step.process)  # a process that is only unreachable would go on
        if step.step == START:
            self.failed_starts += 1
            if self.failed_starts == STARTS:
                raise RuntimeError(f"{self.stage.name}: stopped: {STARTS} processes in a row died at their start.")
        else:
            step.image.deaths += 1
        if step.image.deaths < DEATHS:
            self.waiting.append(step.image)
        else:
            yield self._failed(step.image, why)

    def _failed(self, image: _Image, why: tuple[str, str]) -> Row:
        """Commit an image with its error."""
        source, (kind, message) = self.stage.sources[0], why
        part = source.part(image.shard)
        (row,) = source.rows.read_table(part, columns=["image_id", "uri"], ids=[image.image_id]).to_pylist()
        row["error"] = {"stage": self.stage.name, "kind": kind, "message": message}
        self.result.commit(image.shard, self.stage.schema, [row])
        return {"done": 1, "failed": 1, "refused": "", "spent": {}}
