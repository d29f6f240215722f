"""The paper's comparisons for a finished run: train AffinityNet and compute the simpler methods' labels, once."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

from rich.console import Console

from irnet_ray.config.load import Config
from irnet_ray.runs.folder import Folder
from irnet_ray.runs.lock import hold
from irnet_ray.runs.run import WEIGHTS, FinishedRun
from irnet_ray.runs.shards import Shards, fingerprint
from irnet_ray.stages.graph import revised

Row = dict[str, Any]

REVISION = 1  # of AffinityNet and the comparisons: raise it when their answer changes; 1 is the answer of 0.5.4


def ablation_rows(
    out: str | Path,
    image_ids: Iterable[str],
    *,
    address: str | None = None,
    workers: int | None = None,
    console: Console | None = None,
) -> Iterator[Row]:
    """Rows of `tables.ABLATION` for some images of a finished run. Work that an earlier call finished is not repeated.

    Trains AffinityNet on the run's seeds and computes all rows before it returns. Images that failed, or are not in the
    run, have no row.

    Args:
        out: the run directory.
        image_ids: the images to compare, in any order.
        address: a Ray cluster; None for `RAY_ADDRESS`, else a local Ray for this call.
        workers: training workers and network actors; None for all GPUs, or for a network actor per core without one.
        console: where a line per stage goes.

    Raises:
        UserError: no finished run, or more workers than the devices allow.
    """
    run = FinishedRun.open(out)
    ablation = _Ablation(run, frozenset(image_ids))
    if ablation.ids_by_shard and not ablation.is_done:
        from irnet_ray.engine.session import session

        with hold(run.folder), session(address) as devices:
            devices.check(workers)
            _run(ablation, devices, workers, console or Console())
    return ablation.rows()


@dataclass(frozen=True)
class _Ablation:
    """A finished run, which of its images to compare, and where the results belong."""

    run: FinishedRun
    wanted: frozenset[str]

    @property
    def config(self) -> Config:
        return self.run.config

    @property
    def shard_count(self) -> int:
        return self.run.version.shard_count

    @cached_property
    def ids_by_shard(self) -> dict[int, list[str]]:
        """Sorted ids of the wanted images that the run has, for each shard that has any."""
        images = self.run.shards("images")
        found: dict[int, list[str]] = {}
        for shard in range(self.shard_count):
            table = images.rows.read_table(images.part(shard), columns=["image_id"])
            ids = sorted(self.wanted.intersection(table["image_id"].to_pylist()))
            if ids:
                found[shard] = ids
        return found

    @cached_property
    def affinitynet(self) -> Folder:
        irnet = self.config.irnet.model_dump(include={"batch_size", "crop", "rescale", "radius", "power"})
        knobs = [self.config.affinitynet.model_dump(), irnet, self.config.seed]
        name = fingerprint("affinitynet", revised(REVISION), self.run.version.stages["seeds"], knobs)
        return self.run.folder.folder("stages", f"affinitynet-{name}")

    @cached_property
    def result(self) -> Shards:
        ids = [image_id for shard in sorted(self.ids_by_shard) for image_id in self.ids_by_shard[shard]]
        name = fingerprint("ablation", self.run.version.id, self.affinitynet.name.rpartition("-")[2], ids)
        return Shards(self.run.folder.folder("stages", f"ablation-{name}"), self.shard_count)

    @property
    def is_trained(self) -> bool:
        return self.affinitynet.exists(WEIGHTS)

    @property
    def is_done(self) -> bool:
        return len(self.result.sealed()) == self.shard_count

    def rows(self) -> Iterator[Row]:
        for name in self.result.rows.files():
            yield from self.result.rows.read_table(name).to_pylist()


def _run(ablation: _Ablation, devices: Any, workers: int | None, console: Console) -> None:
    """Run what is left of the two stages, and print a line for each."""
    stages: list[tuple[str, Folder, Callable[[_Ablation, Any, int | None], str]]] = [
        ("ablation", ablation.result.folder, _map)
    ]
    if not ablation.is_trained:
        stages.insert(0, ("affinitynet", ablation.affinitynet, _train))
    for name, folder, work in stages:
        start = time.monotonic()
        summary = work(ablation, devices, workers)
        seconds = round(time.monotonic() - start)
        folder.write_json("done.json", {"seconds": seconds, "summary": summary})
        console.print(f"{name}: {summary}, {seconds // 60}:{seconds % 60:02d} min", highlight=False, soft_wrap=True)


def _train(ablation: _Ablation, devices: Any, workers: int | None) -> str:
    from irnet_ray.engine.training import run_training
    from irnet_ray.stages import affinitynet

    images, seeds = ablation.run.shards("images"), ablation.run.shards("seeds")
    usable = seeds.counts()[0]
    training = affinitynet.stage(ablation.config, images, seeds, ablation.run.stage("classifier"), usable)
    terms = run_training(training, ablation.affinitynet, devices, workers)
    shown = ", ".join(f"{name} {value:.3f}" for name, value in terms.items())
    return f"{training.schedule.iterations} iterations, {shown}"


def _map(ablation: _Ablation, devices: Any, workers: int | None) -> str:
    from irnet_ray.engine.mapping import run_map
    from irnet_ray.stages import ablation as comparisons

    config, images, seeds = ablation.config, ablation.run.shards("images"), ablation.run.shards("seeds")
    classifier, irnet = ablation.run.stage("classifier"), ablation.run.stage("irnet")
    vocabulary = ablation.run.vocabulary
    mapping = comparisons.stage(config, images, seeds, vocabulary, classifier, irnet, ablation.affinitynet)
    folder, ids, shards = ablation.result.folder, ablation.ids_by_shard, ablation.shard_count
    done = run_map(mapping, folder, ids, shards, config.unit_size, devices, workers, config.image_seconds)
    return f"{done.computed} images computed, {done.rows} rows, {done.errors} errors"
