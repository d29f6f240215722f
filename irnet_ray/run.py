"""A run directory: where each stage's results lie, what is done, what is left, and how a result is committed.

    OUT/config.json                                   the effective config
    OUT/current.json                                  the stage folders of the finished version; moves atomically
    OUT/report.json                                   what the finished version's labels hold
    OUT/labels, errors, images                        links to the finished version's tables (local folders only)
    OUT/stages/<stage>-<fingerprint>/                 one folder per stage and version, never mixed
        rows/part-00007-of-00064.parquet              a sealed shard
        errors/part-00007-of-00064.parquet            its failed images; written before the rows
        units/part-00007-of-00064/<hash>.parquet      committed units of a shard that is not sealed yet
        weights.safetensors                           of a training stage

A file appears under its name only when it is whole: locally by rename, on object stores by a single upload.
"""

from __future__ import annotations

import contextlib
import errno
import hashlib
import io
import itertools
import json
import os
import tempfile
import uuid
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from functools import cached_property
from typing import Any

import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.fs as pafs
import pyarrow.parquet as pq

from irnet_ray import tables
from irnet_ray.errors import UserError, misplaced, reading

ROW_GROUP = 64
ERROR_COLUMN = pa.field("error", pa.struct([tables.ERRORS.field(name) for name in ("stage", "kind", "message")]))


def fingerprint(*parts: Any) -> str:
    """Twelve hex digits that change when any of the JSON-able `parts` does."""
    text = json.dumps(parts, sort_keys=True, separators=(",", ":"))
    return hashlib.blake2b(text.encode(), digest_size=6).hexdigest()


@dataclass(frozen=True)
class Folder:
    """A folder by its local path or URI (`s3://`, `gs://`), cheap to send to another process."""

    location: str

    def __post_init__(self) -> None:
        # Absolute from the start: Ray's workers have another working directory.
        if "://" not in self.location:
            object.__setattr__(self, "location", os.path.abspath(self.location))

    @cached_property
    def _resolved(self) -> tuple[pafs.FileSystem, str]:
        if "://" in self.location:
            return pafs.FileSystem.from_uri(self.location)
        return pafs.LocalFileSystem(), self.location

    @property
    def is_local(self) -> bool:
        """Whether the folder lies on a mounted file system."""
        return isinstance(self._resolved[0], pafs.LocalFileSystem)

    @property
    def local_path(self) -> str:
        """Absolute path of a local folder."""
        return self._resolved[1]

    def __getstate__(self) -> dict[str, str]:
        return {"location": self.location}

    def folder(self, *names: str) -> Folder:
        """A folder below this one; nothing is created."""
        return Folder("/".join([self.location.rstrip("/"), *names]))

    def exists(self, name: str) -> bool:
        """Whether a file of that name is there, whole."""
        filesystem, path = self._resolved
        return filesystem.get_file_info(f"{path}/{name}").type == pafs.FileType.File

    def files(self) -> list[str]:
        """Sorted names of the committed files directly in this folder; none if there is no such folder."""
        filesystem, path = self._resolved
        infos = filesystem.get_file_info(pafs.FileSelector(path, allow_not_found=True))
        names = (info.base_name for info in infos if info.type == pafs.FileType.File)
        return sorted(name for name in names if not name.startswith("."))

    def folders(self) -> list[str]:
        """Sorted names of the folders directly in this folder; none if there is no such folder."""
        filesystem, path = self._resolved
        infos = filesystem.get_file_info(pafs.FileSelector(path, allow_not_found=True))
        return sorted(info.base_name for info in infos if info.type == pafs.FileType.Directory)

    def read(self, name: str) -> bytes:
        """A file's bytes. Raises FileNotFoundError."""
        filesystem, path = self._resolved
        with filesystem.open_input_stream(f"{path}/{name}") as stream:
            return stream.read()

    def write(self, name: str, data: bytes) -> None:
        """Commit a file: readers see the old content or the whole new one, also after a power cut.

        Raises UserError where the file system refuses it.
        """
        with writing(self.location):
            self._write(name, data)

    def _write(self, name: str, data: bytes) -> None:
        filesystem, path = self._resolved
        if not self.is_local:
            with filesystem.open_output_stream(f"{path}/{name}") as stream:
                stream.write(data)
            return
        os.makedirs(path, exist_ok=True)
        temporary = f"{path}/.{uuid.uuid4().hex}.tmp"
        try:
            with open(temporary, "wb") as file:
                file.write(data)
                file.flush()
                os.fsync(file.fileno())
            os.replace(temporary, f"{path}/{name}")
        except BaseException:
            with contextlib.suppress(OSError):  # a file system that has become read-only keeps it
                os.unlink(temporary)
            raise
        # Without this the rename itself may be lost in a power cut.
        directory = os.open(path, os.O_RDONLY)
        try:
            os.fsync(directory)
        finally:
            os.close(directory)

    def delete(self) -> None:
        """Remove the folder and everything in it, if it is there. Raises UserError where the file system refuses it."""
        filesystem, path = self._resolved
        with writing(self.location):
            if filesystem.get_file_info(path).type == pafs.FileType.Directory:
                filesystem.delete_dir(path)

    def read_json(self, name: str) -> Any:
        """A JSON file's content, or None where there is none. Raises UserError for a damaged file."""
        if not self.exists(name):
            return None
        with reading(f"{self.location}/{name}"):
            return json.loads(self.read(name))

    def write_json(self, name: str, content: Any) -> None:
        """Commit a JSON file."""
        self.write(name, (json.dumps(content, indent=2) + "\n").encode())

    def read_table(self, name: str, columns: list[str] | None = None, ids: list[str] | None = None) -> pa.Table:
        """A Parquet file's rows, or only those whose `image_id` is among `ids`. Raises UserError for a damaged file."""
        filesystem, path = self._resolved
        filters = None
        if ids is not None:
            # Rows are sorted by id: the bounds skip row groups, which "in" hardly does.
            bounds = [("image_id", ">=", min(ids)), ("image_id", "<=", max(ids))] if ids else []
            filters = [("image_id", "in", ids), *bounds]
        with reading(f"{self.location}/{name}"):
            return pq.read_table(
                f"{path}/{name}",
                columns=columns,
                filters=filters,
                filesystem=filesystem,
                page_checksum_verification=True,
            )

    def write_table(self, name: str, table: pa.Table) -> None:
        """Commit a Parquet file, in row groups small enough for reading single images."""
        buffer = io.BytesIO()
        pq.write_table(table, buffer, compression="zstd", row_group_size=ROW_GROUP, write_page_checksum=True)
        self.write(name, buffer.getvalue())

    def stream_rows(self, name: str, columns: list[str]) -> Iterator[dict[str, Any]]:
        """A Parquet file's rows one by one, no more than a row group in memory. Raises UserError for a damaged file."""
        filesystem, path = self._resolved
        whole = f"{path}/{name}"
        with reading(f"{self.location}/{name}"):
            file = pq.ParquetFile(whole, filesystem=filesystem, page_checksum_verification=True)
        with file:
            batches = file.iter_batches(ROW_GROUP, columns=columns)
            while True:
                with reading(f"{self.location}/{name}"):
                    rows = [row for batch in itertools.islice(batches, 1) for row in batch.to_pylist()]
                if not rows:
                    return
                yield from rows

    def count_rows(self, names: Iterable[str] | None = None) -> int:
        """Rows over these Parquet files of this folder, or over all of them, from their footers.

        Raises UserError for a damaged file.
        """
        filesystem, path = self._resolved
        if names is None:
            names = [name for name in self.files() if name.endswith(".parquet")]
        rows = 0
        for name in names:
            with reading(f"{self.location}/{name}"):
                rows += pq.read_metadata(f"{path}/{name}", filesystem=filesystem).num_rows
        return rows


@dataclass(frozen=True)
class Shards:
    """The sharded result of one map stage: what is done, what is left, and how units become a sealed part."""

    folder: Folder
    count: int

    def part(self, shard: int) -> str:
        """File name of a shard."""
        return tables.part_name(shard, self.count)

    @property
    def rows(self) -> Folder:
        """Folder of the sealed parts."""
        return self.folder.folder("rows")

    @property
    def errors(self) -> Folder:
        """Folder of the failed images, one file per sealed part."""
        return self.folder.folder("errors")

    def units(self, shard: int) -> Folder:
        """Folder of a shard's committed units."""
        return self.folder.folder("units", self.part(shard).removesuffix(".parquet"))

    def sealed(self, errors: bool = True) -> set[int]:
        """Shards that are finished. `errors`: not those whose file of errors is lost; inputs have none."""
        names = set(self.rows.files())
        if errors:
            names &= set(self.errors.files())
        return {shard for shard in range(self.count) if self.part(shard) in names}

    def missing(self, shard: int, image_ids: list[str]) -> list[str]:
        """Those of a shard's images that no committed unit holds, sorted."""
        units = self.units(shard)
        done: set[str] = set()
        for name in units.files():
            done.update(units.read_table(name, columns=["image_id"])["image_id"].to_pylist())
        return sorted(set(image_ids) - done)

    def commit(self, shard: int, schema: pa.Schema, rows: list[dict[str, Any]]) -> None:
        """Commit one unit: rows of `schema`, or of an `error` and only `image_id` and `uri`.

        The name comes from the image ids, so a late writer of the same unit replaces and never doubles.
        """
        name = fingerprint(sorted(row["image_id"] for row in rows))
        self.units(shard).write_table(f"{name}.parquet", pa.Table.from_pylist(rows, schema=unit_schema(schema)))

    def seal(self, shard: int, schema: pa.Schema, image_ids: list[str]) -> None:
        """Turn a shard's units into its part file and its errors file, sorted by id.

        Raises:
            RuntimeError: rows and errors together are not exactly the shard's images.
        """
        units = self.units(shard)
        unit_tables = [units.read_table(name) for name in units.files()]
        place = {
            image_id: (number, row)
            for number, table in enumerate(unit_tables)
            for row, image_id in enumerate(table["image_id"].to_pylist())
        }
        if sorted(place) != sorted(image_ids):
            raise RuntimeError(f"{units.location} holds {len(place)} images, expected {len(image_ids)}.")
        rows = [unit_tables[number].slice(row, 1) for _, (number, row) in sorted(place.items())]
        table = pa.concat_tables([unit_schema(schema).empty_table(), *rows])
        failed = table["error"].is_valid()
        errors = [
            {"image_id": row["image_id"], "uri": row["uri"], **row["error"]}
            for row in table.filter(failed).select(["image_id", "uri", "error"]).to_pylist()
        ]
        self.errors.write_table(self.part(shard), pa.Table.from_pylist(errors, tables.ERRORS))
        good = table.filter(pc.invert(failed)).select(schema.names).cast(schema)
        self.rows.write_table(self.part(shard), good.combine_chunks())
        units.delete()

    def counts(self) -> tuple[int, int]:
        """Rows and errors over all sealed shards."""
        return self.rows.count_rows(), self.errors.count_rows()

    def check(self, images: dict[int, list[str]]) -> tuple[int, int]:
        """Rows and errors, where they are just the images of each shard, which are given sorted. Raises UserError."""
        rows = errors = 0
        for shard in range(self.count):
            part = self.part(shard)
            good, bad = (
                folder.read_table(part, columns=["image_id"])["image_id"].to_pylist()
                for folder in (self.rows, self.errors)
            )
            if sorted(good + bad) != images.get(shard, []):
                raise misplaced(f"{self.rows.location}/{part}")
            rows, errors = rows + len(good), errors + len(bad)
        return rows, errors


def unit_schema(schema: pa.Schema) -> pa.Schema:
    """A stage's schema as its units hold it: every column but the id may be null, and there is an `error`."""
    fields = [field if field.name == "image_id" else field.with_nullable(True) for field in schema]
    if "uri" not in schema.names:
        fields.append(pa.field("uri", pa.string()))
    return pa.schema([*fields, ERROR_COLUMN])


@contextlib.contextmanager
def writing(place: str) -> Iterator[None]:
    """Say in one sentence why a place cannot be written to, and what to do: UserError for OSError.

    So that a full disk ends a run, and is no fault of the image that is just being written.
    """
    try:
        yield
    except OSError as error:
        why, remedy = _REMEDIES.get(error.errno or 0, (error.strerror or " ".join(str(error).split()), "mend that"))
        raise UserError(
            f"Cannot write to {place}: {why}; {remedy}, then run the same command again: what is done stays done."
        ) from error


_DENIED = ("permission is denied", "allow it to be written to")
_REMEDIES = {
    errno.ENOSPC: ("no space is left", "make room there"),
    errno.EDQUOT: ("the disk quota is used up", "make room there"),
    errno.EROFS: ("the file system is read-only", "mount it writable"),
    errno.EACCES: _DENIED,
    errno.EPERM: _DENIED,
}


def writable(out: str | os.PathLike[str]) -> Folder:
    """A local folder that can be written to; it is created if need be. Raises UserError."""
    try:
        os.makedirs(out, exist_ok=True)
        with tempfile.TemporaryFile(dir=out):
            pass
    except OSError as error:
        raise UserError(f"Cannot write to the output folder {out}: {error.strerror or error}.") from error
    return Folder(str(out))


def finished(out: str | os.PathLike[str]) -> tuple[Folder, dict[str, Any]]:
    """The run directory, which may be named by its folder `labels`, and its current version.

    Raises UserError where no run has finished, or the version is none.
    """
    folder = Folder(str(out))
    parent, _, name = folder.location.rstrip("/").rpartition("/")
    if name == "labels" and not folder.exists("current.json"):
        folder = Folder(parent)
    version = folder.read_json("current.json")
    if version is None:
        raise UserError(f"No finished run in {out}: run `irnet-ray label --out {out}` to its end first.")
    if not _is_version(version):
        raise UserError(
            f"{folder.location}/current.json is damaged (it names no stages): delete it and run the same command again."
        )
    return folder, version


def _is_version(found: Any) -> bool:
    """Whether this may be what `publish` wrote: folders by stage, none of them elsewhere, and all that readers need."""
    kinds = {"version": str, "stages": dict, "shards": int, "vocabulary": list, "config": dict}
    if not isinstance(found, dict) or not all(isinstance(found.get(name), kind) for name, kind in kinds.items()):
        return False
    stages, names = found["stages"], [*found["stages"].values(), *found["vocabulary"]]
    plain = all(isinstance(name, str) for name in names) and not any("/" in name for name in stages.values())
    return plain and {"images", "labels"} <= stages.keys() and found["shards"] >= 1


def publish(out: Folder, version: dict[str, Any]) -> None:
    """Point readers at a finished version: `current.json`, and links to its tables where links exist."""
    out.write_json("current.json", version)
    if not out.is_local:
        return
    stages = version["stages"]
    targets = {
        "labels": f"{stages['labels']}/rows",
        "errors": f"{stages['labels']}/errors",
        "images": f"{stages['images']}/rows",
    }
    with writing(out.location):
        for name, target in targets.items():
            temporary = f"{out.local_path}/.{uuid.uuid4().hex}.link"
            os.symlink(f"stages/{target}", temporary)
            os.replace(temporary, f"{out.local_path}/{name}")
