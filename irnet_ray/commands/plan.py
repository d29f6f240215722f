"""The plan of a run: where the result of each stage belongs, and what is done already.

A plan with a base trains nothing: it uses the networks and prototypes of an earlier version, whatever images these
were trained on. Then only the tables of images, seeds and labels depend on today's images.
"""

from __future__ import annotations

import hashlib
from collections.abc import Mapping
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.compute as pc
from pydantic import ValidationError

from irnet_ray import tables
from irnet_ray.config.load import Config, recorded_config
from irnet_ray.errors import UserError
from irnet_ray.inputs.depths import Depths, look
from irnet_ray.inputs.images_table import depths
from irnet_ray.networks.imagenet import names_of
from irnet_ray.runs.folder import Folder
from irnet_ray.runs.run import WEIGHTS
from irnet_ray.runs.shards import Shards, fingerprint
from irnet_ray.runs.version import ORIGIN, Version
from irnet_ray.stages.graph import FEW_CLASSES, STAGES, Stage, fingerprints, knobs_of, wanted


@dataclass(frozen=True)
class Plan:
    """A run's images and config, and from these the folder of each stage's result."""

    out: Folder
    config: Config
    table: pa.Table  # of tables.IMAGES, sorted by image_id
    shard_count: int
    base: Version | None = None  # the version whose networks to use; None: train them on the images of `table`
    classes: tuple[str, ...] = ()  # all classes in the order of their numbers; none: the tags of `table`, sorted

    @cached_property
    def names(self) -> dict[str, str]:
        """Folder name of each stage, `seeds-0123456789ab`."""
        return self._own_names() if self.base is None else self._names_after(self.base)

    def _names_after(self, base: Version) -> dict[str, str]:
        images = f"images-{self._images()}"
        if self.made_by == base.id and images == base.stages["images"]:
            return base.stages  # the base was made from the same images
        return {
            **base.stages,
            "images": images,
            "seeds": f"seeds-{fingerprint('seeds', self.maker('seeds'), self._content())}",
            "labels": f"labels-{fingerprint('labels', self.maker('labels'), images)}",
            "trained_images": base.stages["images"],  # listed here, so that `prune` keeps it with the networks
        }

    def _own_names(self) -> dict[str, str]:
        images = self._images()
        data = {"content": self._content(), "images": images, "shards": self.shard_count}
        if len(self.vocabulary) < FEW_CLASSES:
            data["few_classes"] = f"mean over {FEW_CLASSES} classes"
        if self.classes:
            data["classes"] = list(self.classes)
        prints = {
            "images": images,
            "tags": fingerprint("tags", images, self.config.seeds.prototype_images),
            **fingerprints(self._effective, self._weights(), data),
        }
        return {stage: f"{stage}-{value}" for stage, value in prints.items()}

    @property
    def _effective(self) -> Config:
        """The config without a window that no image needs: it changes no result then."""
        return self.config if depths(self.table) else self.config.model_copy(update={"window": None})

    def _content(self) -> str:
        return _digest(self.table, ["image_id", "tags", "content", *self._unknown()])

    def _images(self) -> str:
        columns = ["image_id", "tags", "content", "uri", *self._unknown()]
        return fingerprint(_digest(self.table, columns), self.shard_count)

    def _unknown(self) -> list[str]:
        """The column of unknown tags, if there are any: without them a fingerprint is that of releases before it."""
        name = "tags_unknown"
        is_used = name in self.table.column_names and self.table[name].null_count < len(self.table)
        return [name] if is_used else []

    @cached_property
    def class_names(self) -> dict[str, str]:
        """Names that people read in place of tags that are WordNet ids; the tables keep the ids."""
        return names_of(self.vocabulary)

    @property
    def version(self) -> str:
        """Fingerprint of the labels: of everything that makes them."""
        return self.names["labels"].removeprefix("labels-")

    @cached_property
    def made_by(self) -> str:
        """The `fingerprint` column of the labels: of the weights, config and code that make a row."""
        return self.maker("labels")

    def maker(self, stage: str) -> str:
        """Fingerprint of the weights, config and code that make a row of a stage.

        It is the id of the version that trained the networks, unless the stages that use them have changed since.
        """
        if self.base is None:
            return self.version
        return maker(self.base, {name: known.revision for name, known in STAGES.items()}, self.config, stage)

    @property
    def order(self) -> tuple[Stage, ...]:
        """The stages that this config needs, in order."""
        return wanted(self.config)

    def stage(self, name: str) -> Folder:
        """Folder of a stage's result. Raises UserError if the version that it is based on has no such stage."""
        if name not in self.names and self.base is not None:
            raise UserError(
                f"The record of version {self.base.id} in {self.out.location} names no stage {name}: run "
                "`irnet-ray label` again, which computes what is missing."
            )
        return self.out.folder("stages", self.names[name])

    def shards(self, stage: str) -> Shards:
        """Sharded result of a table of inputs or of a map stage."""
        return Shards(self.stage(stage), self.shard_count)

    @cached_property
    def vocabulary(self) -> list[str]:
        """All tags that the classifier knows; a class id is an index into this list."""
        if self.base is not None:
            return self.base.vocabulary
        return list(self.classes) or tables.vocabulary(self.table)

    @cached_property
    def depths(self) -> Depths:
        """What is known of images that have more than 8 bits. Computed once: it decodes a few of them."""
        return look(self.table, self.config.window)

    @cached_property
    def usable(self) -> int:
        """How many images have a readable header."""
        return int(pc.sum(pc.is_valid(self.table["width"])).as_py() or 0)

    def check_usable(self, where: str) -> None:
        """Raise UserError if no image in `where` has a readable header."""
        if not self.usable:
            raise UserError(
                f"None of the {len(self.table)} image files in {where} has a readable header: try to open one of them, "
                "and repair them or name another folder."
            )

    def check_learnable(self, where: str) -> None:
        """Raise UserError if no image of `where` has a tag."""
        if not tables.vocabulary(self.table):
            raise UserError(f"No image in {where} has a tag: add tags to those that show what you want masks of.")

    def samples(self, table: str) -> int:
        """How many rows of a table a training can use. Raises UserError if there are none."""
        count = self.usable if table == "images" else self.shards(table).counts()[0]
        if not count:
            raise UserError(f"None of the {len(self.table)} images could be used: see {self.out.location}/stages.")
        return count

    @cached_property
    def ids_by_shard(self) -> dict[int, list[str]]:
        """Sorted image ids of each shard that has any."""
        return self._by_shard(self.table["image_id"].to_pylist())

    @cached_property
    def tags(self) -> pa.Table:
        """Rows of `tables.TAGS`: for each tag, the images in which its prototypes are searched."""
        return _tag_table(self.table, self.config.seeds.prototype_images)

    @cached_property
    def tags_by_shard(self) -> dict[int, list[str]]:
        """Sorted tags of each shard that has any: tags are sharded by name as images are by id."""
        return self._by_shard(self.tags["image_id"].to_pylist())

    def keys_by_shard(self, stage: Stage) -> dict[int, list[str]]:
        """Sorted keys, image ids or tags, of the rows that a map stage goes over, for each shard that has any."""
        return self.tags_by_shard if stage.rows == "tags" else self.ids_by_shard

    def _by_shard(self, ids: list[str]) -> dict[int, list[str]]:
        shards: dict[int, list[str]] = {}
        for name in sorted(ids):
            shards.setdefault(tables.shard_of(name, self.shard_count), []).append(name)
        return shards

    def is_done(self, stage: Stage) -> bool:
        """Whether a stage's result is complete."""
        if stage.kind == "train":
            return self.stage(stage.name).exists(WEIGHTS)
        return len(self.shards(stage.name).sealed()) == self.shard_count

    def state(self, stage: Stage) -> str:
        """The progress of a stage, in a few words."""
        if self.is_done(stage):
            return "done"
        if stage.kind == "train":
            iteration = self.stage(stage.name).read_object("progress.json").get("iteration")
            return "to do" if iteration is None else f"interrupted at iteration {iteration}"
        by_shard, shards = self.keys_by_shard(stage), self.shards(stage.name)
        total = sum(map(len, by_shard.values()))
        sealed = shards.sealed()
        unsealed = [(shard, ids) for shard, ids in by_shard.items() if shard not in sealed]
        with ThreadPoolExecutor(16) as threads:
            left = sum(map(len, threads.map(lambda one: shards.missing(*one), unsealed)))
        return f"{total - left} of {total} {stage.unit} done"

    def write_inputs(self) -> None:
        """Write the images table, and the tags table if a stage needs it, unless they exist."""
        self._write("images", self.table, self.ids_by_shard)
        if self.base is None and any(stage.rows == "tags" for stage in self.order):
            self._write("tags", self.tags, self.tags_by_shard)

    def _write(self, name: str, table: pa.Table, by_shard: dict[int, list[str]]) -> None:
        shards = self.shards(name)
        row_of = {image_id: row for row, image_id in enumerate(table["image_id"].to_pylist())}

        def write(shard: int) -> None:
            rows = pa.array([row_of[image_id] for image_id in by_shard.get(shard, [])], pa.int64())
            shards.rows.write_table(shards.part(shard), table.take(rows))

        # Writing thousands of small files is bound by the disk or the store, not by the processor.
        with ThreadPoolExecutor(16) as threads:
            list(threads.map(write, sorted(set(range(self.shard_count)) - shards.sealed(errors=False))))

    def _weights(self) -> str:
        if self.config.weights is None:
            return "imagenet"
        if not Path(self.config.weights).is_file():
            raise UserError(f"No weights file at {self.config.weights}.")
        return hashlib.blake2b(Path(self.config.weights).read_bytes(), digest_size=16).hexdigest()


def maker(base: Version, revisions: Mapping[str, int], config: Config, stage: str) -> str:
    """Fingerprint of what makes a row of a stage: the networks of `base`, the stages' revisions, and the config."""
    rows = [name for name, known in STAGES.items() if known.per_image]
    changed: dict[str, Any] = {}
    for name in rows[: rows.index(stage) + 1]:
        if revisions[name] != base.revision(name):
            changed[name] = revisions[name]
        if not _same_knobs(STAGES[name], base, config):
            changed[f"{name} knobs"] = knobs_of(STAGES[name], config, config.weights)
    if not changed:
        return base.id
    if changed == dict.fromkeys(changed, 1) and all(base.revision(name) == 0 for name in changed):
        return fingerprint("made-by", base.id, ORIGIN)  # as 0.5.4 named what it made by networks of an earlier release
    return fingerprint("made-by", base.id, changed)


def other_knobs(base: Version, config: Config) -> list[str]:
    """The learning stages of `base` whose knobs differ from those of `config`, so that their results cannot be used."""
    return [stage.name for stage in wanted(config) if not stage.per_image and not _same_knobs(stage, base, config)]


def _same_knobs(stage: Stage, base: Version, config: Config) -> bool:
    try:
        known = recorded_config(base.config)
    except ValidationError as error:
        raise UserError(
            f"This irnet-ray cannot read the config of version {base.id}: update irnet-ray, or run `irnet-ray label` "
            "again."
        ) from error
    return knobs_of(stage, known, known.weights) == knobs_of(stage, config, config.weights)


def _tag_table(images: pa.Table, most: int) -> pa.Table:
    """Rows of `tables.TAGS`: each tag with at most `most` of its images, ordered by a hash of their ids."""
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
