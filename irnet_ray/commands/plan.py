"""The stages of labeling in order: their folders by fingerprint, what is done, and how each is run.

A stage's fingerprint covers the code's version, its own knobs and everything upstream. Changing any of them
starts a new folder beside the old one.

A plan with a `Base` trains nothing: its networks and prototypes are those of an earlier version, whatever images they
were learnt from. Only the tables of images, seeds and labels then depend on today's images.
"""

from __future__ import annotations

import hashlib
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.compute as pc

from irnet_ray import tables
from irnet_ray._version import __version__
from irnet_ray.config.load import Config
from irnet_ray.errors import UserError
from irnet_ray.runs.folder import Folder
from irnet_ray.runs.shards import Shards, fingerprint

TRAININGS = ("classifier", "irnet")
ORDER = ("classifier", "prototypes", "seeds", "irnet", "labels")


@dataclass(frozen=True)
class Base:
    """The version whose networks a plan uses again: the one that trained them, or saw them trained."""

    version: str  # its fingerprint
    code: str  # version of irnet-ray that made it
    stages: dict[str, str]  # its stage folders
    vocabulary: list[str]  # tags that its classifier knows

    @staticmethod
    def of(version: dict[str, Any]) -> Base:
        """The base of a published version, from the content of its `current.json`: its own, or itself."""
        known = version.get("base") or {key: version[key] for key in ("version", "stages")}
        # One published before this was recorded counts as of other code, so that nothing is mixed.
        code = known.get("code") or version.get("code") or "unknown"
        return Base(known["version"], code, known["stages"], version["vocabulary"])

    def to_json(self) -> dict[str, Any]:
        """For a version's record, which holds the vocabulary itself."""
        return {"version": self.version, "code": self.code, "stages": self.stages}


@dataclass(frozen=True)
class Plan:
    """A run's images and config, and from them where every stage's result belongs."""

    out: Folder
    config: Config
    table: pa.Table  # of tables.IMAGES, sorted by image_id
    shard_count: int
    base: Base | None = None  # None: everything is learnt from the images of `table`

    @cached_property
    def names(self) -> dict[str, str]:
        """Folder name of each stage, `seeds-0123456789ab`."""
        return self._own_names() if self.base is None else self._names_after(self.base)

    def _names_after(self, base: Base) -> dict[str, str]:
        images = f"images-{self._images()}"
        if self.made_by == base.version and images == base.stages["images"]:
            return base.stages  # the very images that it was made from
        content = _digest(self.table, ["image_id", "tags", "content"])
        return {
            **base.stages,
            "images": images,
            "seeds": f"seeds-{fingerprint('seeds', self.made_by, content)}",
            "labels": f"labels-{fingerprint('labels', self.made_by, images)}",
            "trained_images": base.stages["images"],  # named, so that it is kept with the networks
        }

    def _own_names(self) -> dict[str, str]:
        config, version = self.config, __version__
        shared = [version, config.backbone, self._weights(), config.seed, config.max_side]
        content = _digest(self.table, ["image_id", "tags", "content"])
        images = self._images()
        classifier = fingerprint("classifier", shared, config.classifier.model_dump(), content)
        knobs = config.seeds
        tags = fingerprint("tags", images, knobs.prototype_images)
        prototypes = fingerprint("prototypes", classifier, knobs.prototypes, knobs.prototype_images, self.shard_count)
        seeds = fingerprint("seeds", classifier, config.seeds.model_dump(), self.shard_count)
        irnet = fingerprint("irnet", seeds, config.irnet.model_dump())
        labels = fingerprint("labels", irnet, config.labels.model_dump(), images)
        prints = {
            "images": images,
            "classifier": classifier,
            "tags": tags,
            "prototypes": prototypes,
            "seeds": seeds,
            "irnet": irnet,
            "labels": labels,
        }
        return {stage: f"{stage}-{value}" for stage, value in prints.items()}

    def _images(self) -> str:
        return fingerprint(_digest(self.table, ["image_id", "tags", "content", "uri"]), self.shard_count)

    @property
    def version(self) -> str:
        """Fingerprint of the labels: of all that made them."""
        return self.names["labels"].removeprefix("labels-")

    @cached_property
    def made_by(self) -> str:
        """Fingerprint of the weights, config and code that make a row of labels, which the row carries.

        It is the version that the networks were trained for, and another where other code uses them.
        """
        if self.base is None:
            return self.version
        code = __version__
        return self.base.version if code == self.base.code else fingerprint("made-by", self.base.version, code)

    @property
    def order(self) -> tuple[str, ...]:
        """The stages that this config needs, in order."""
        return tuple(stage for stage in ORDER if stage != "prototypes" or self.config.seeds.method == stage)

    def folder(self, stage: str) -> Folder:
        """Folder of a stage's result."""
        return self.out.folder("stages", self.names[stage])

    def shards(self, stage: str) -> Shards:
        """Sharded result of the images table or of a map stage."""
        return Shards(self.folder(stage), self.shard_count)

    @cached_property
    def vocabulary(self) -> list[str]:
        """All tags that the classifier knows, sorted; a class id is an index into it."""
        return tables.vocabulary(self.table) if self.base is None else self.base.vocabulary

    @cached_property
    def usable(self) -> int:
        """Images whose header could be read."""
        return int(pc.sum(pc.is_valid(self.table["width"])).as_py() or 0)

    def check_usable(self, where: str) -> None:
        """Raises UserError where no image of `where` has a header that could be read."""
        if not self.usable:
            raise UserError(
                f"None of the {len(self.table)} image files in {where} has a readable header: try to open one of them, "
                "and mend them or name another folder."
            )

    @cached_property
    def ids_by_shard(self) -> dict[int, list[str]]:
        """Sorted image ids of each shard that has any."""
        return self._by_shard(self.table["image_id"].to_pylist())

    @cached_property
    def tags(self) -> pa.Table:
        """Rows of `tables.TAGS`: the images that each tag's prototypes are found in."""
        return _tag_table(self.table, self.config.seeds.prototype_images)

    @cached_property
    def tags_by_shard(self) -> dict[int, list[str]]:
        """Sorted tags of each shard that has any: tags are sharded as images are."""
        return self._by_shard(self.tags["image_id"].to_pylist())

    def _by_shard(self, ids: list[str]) -> dict[int, list[str]]:
        shards: dict[int, list[str]] = {}
        for name in sorted(ids):
            shards.setdefault(tables.shard_of(name, self.shard_count), []).append(name)
        return shards

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
        by_shard, what = (self.tags_by_shard, "tags") if stage == "prototypes" else (self.ids_by_shard, "images")
        shards, total = self.shards(stage), sum(map(len, by_shard.values()))
        sealed = shards.sealed()
        unsealed = [(shard, ids) for shard, ids in by_shard.items() if shard not in sealed]
        with ThreadPoolExecutor(16) as threads:
            left = sum(map(len, threads.map(lambda one: shards.missing(*one), unsealed)))
        return f"{total - left} of {total} {what} done"

    def write_inputs(self) -> None:
        """Write the images table, and that of the tags where they have prototypes, unless they are there."""
        self._write("images", self.table, self.ids_by_shard)
        if "prototypes" in self.order and self.base is None:
            self._write("tags", self.tags, self.tags_by_shard)

    def _write(self, name: str, table: pa.Table, by_shard: dict[int, list[str]]) -> None:
        shards = self.shards(name)
        row_of = {image_id: row for row, image_id in enumerate(table["image_id"].to_pylist())}

        def write(shard: int) -> None:
            rows = pa.array([row_of[image_id] for image_id in by_shard.get(shard, [])], pa.int64())
            shards.rows.write_table(shards.part(shard), table.take(rows))

        # Thousands of small files wait for the disk, or for the store, and not for the processor.
        with ThreadPoolExecutor(16) as threads:
            list(threads.map(write, sorted(set(range(self.shard_count)) - shards.sealed(errors=False))))

    def _weights(self) -> str:
        if self.config.weights is None:
            return "imagenet"
        if not Path(self.config.weights).is_file():
            raise UserError(f"No weights file at {self.config.weights}.")
        return hashlib.blake2b(Path(self.config.weights).read_bytes(), digest_size=16).hexdigest()


def _tag_table(images: pa.Table, most: int) -> pa.Table:
    """Rows of `tables.TAGS`: each tag with at most so many of its images, in order of a number from their ids."""
    images_of: dict[str, list[tuple[float, str]]] = {}
    usable = images.filter(pc.is_valid(images["width"]))
    columns = (usable[name].to_pylist() for name in ("image_id", "uri", "tags"))
    for image_id, uri, names in zip(*columns, strict=True):
        for name in names:
            images_of.setdefault(name, []).append((tables.fraction(image_id, "prototypes"), uri))
    rows = []
    for name, known in sorted(images_of.items()):
        uris = [uri for _, uri in sorted(known)[:most]]
        rows.append({"image_id": name, "uri": uris[0], "uris": uris})
    return pa.Table.from_pylist(rows, tables.TAGS)


def _digest(table: pa.Table, columns: list[str]) -> str:
    digest = hashlib.blake2b(digest_size=16)
    for batch in table.select(columns).to_batches(max_chunksize=10_000):
        for row in zip(*(column.to_pylist() for column in batch.columns), strict=True):
            digest.update(repr(row).encode("utf-8", "surrogateescape"))
    return digest.hexdigest()
