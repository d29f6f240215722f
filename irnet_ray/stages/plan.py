"""The four stages of labeling in order: their folders by fingerprint, what is done, and how each is run.

A stage's fingerprint covers the code's version, its own knobs and everything upstream. Changing any of them
starts a new folder beside the old one.
"""

from __future__ import annotations

import hashlib
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path

import pyarrow as pa
import pyarrow.compute as pc

import irnet_ray
from irnet_ray import tables
from irnet_ray.config import Config
from irnet_ray.errors import UserError
from irnet_ray.run import Folder, Shards, fingerprint

MAPS = ("seeds", "labels")
TRAININGS = ("classifier", "irnet")
ORDER = ("classifier", "seeds", "irnet", "labels")


@dataclass(frozen=True)
class Plan:
    """A run's images and config, and from them where every stage's result belongs."""

    out: Folder
    config: Config
    table: pa.Table  # of tables.IMAGES, sorted by image_id
    shard_count: int

    @cached_property
    def names(self) -> dict[str, str]:
        """Folder name of each stage, `seeds-0123456789ab`."""
        config, version = self.config, irnet_ray.__version__
        shared = [version, config.backbone, self._weights(), config.seed, config.max_side]
        content = _digest(self.table, ["image_id", "tags", "content"])
        images = fingerprint(_digest(self.table, ["image_id", "tags", "content", "uri"]), self.shard_count)
        classifier = fingerprint("classifier", shared, config.classifier.model_dump(), content)
        seeds = fingerprint("seeds", classifier, config.seeds.model_dump(), self.shard_count)
        irnet = fingerprint("irnet", seeds, config.irnet.model_dump())
        labels = fingerprint("labels", irnet, config.labels.model_dump(), images)
        prints = {
            "images": images,
            "classifier": classifier,
            "seeds": seeds,
            "irnet": irnet,
            "labels": labels,
        }
        return {stage: f"{stage}-{value}" for stage, value in prints.items()}

    @property
    def version(self) -> str:
        """Fingerprint of the labels: of all that made them."""
        return self.names["labels"].removeprefix("labels-")

    def folder(self, stage: str) -> Folder:
        """Folder of a stage's result."""
        return self.out.folder("stages", self.names[stage])

    def shards(self, stage: str) -> Shards:
        """Sharded result of the images table or of a map stage."""
        return Shards(self.folder(stage), self.shard_count)

    @cached_property
    def vocabulary(self) -> list[str]:
        """All tags, sorted; a class id is an index into it."""
        return tables.vocabulary(self.table)

    @cached_property
    def usable(self) -> int:
        """Images whose header could be read."""
        return int(pc.sum(pc.is_valid(self.table["width"])).as_py() or 0)

    @cached_property
    def ids_by_shard(self) -> dict[int, list[str]]:
        """Sorted image ids of each shard that has any."""
        ids: dict[int, list[str]] = {}
        for image_id, shard in zip(self.table["image_id"].to_pylist(), self.table["shard"].to_pylist(), strict=True):
            ids.setdefault(shard, []).append(image_id)
        return ids

    def is_done(self, stage: str) -> bool:
        """Whether a stage's result is complete."""
        if stage in TRAININGS:
            return self.folder(stage).exists("weights.safetensors")
        return len(self.shards(stage).sealed()) == self.shard_count

    def state(self, stage: str) -> str:
        """What is done of a stage, in a few words."""
        if self.is_done(stage):
            return "done"
        if stage in TRAININGS:
            progress = self.folder(stage).read_json("progress.json")
            return f"interrupted at iteration {progress['iteration']}" if progress else "to do"
        shards = self.shards(stage)
        left = sum(
            len(shards.missing(shard, ids)) for shard, ids in self.ids_by_shard.items() if shard not in shards.sealed()
        )
        return f"{len(self.table) - left} of {len(self.table)} images done"

    def write_images(self) -> None:
        """Write the images table, unless it is there."""
        shards = self.shards("images")
        done = shards.sealed()
        for shard in set(range(self.shard_count)) - done:
            rows = self.table.filter(pc.equal(self.table["shard"], shard))
            shards.rows.write_table(shards.part(shard), rows)

    def _weights(self) -> str:
        if self.config.weights is None:
            return "imagenet"
        if not Path(self.config.weights).is_file():
            raise UserError(f"No weights file at {self.config.weights}.")
        return hashlib.blake2b(Path(self.config.weights).read_bytes(), digest_size=16).hexdigest()


def _digest(table: pa.Table, columns: list[str]) -> str:
    digest = hashlib.blake2b(digest_size=16)
    for batch in table.select(columns).to_batches(max_chunksize=10_000):
        for row in zip(*(column.to_pylist() for column in batch.columns), strict=True):
            digest.update(repr(row).encode("utf-8", "surrogateescape"))
    return digest.hexdigest()
