"""The sharded result of a map stage: what is done, what is left, how a unit is committed and a shard is sealed."""

from __future__ import annotations

import hashlib
import json
from dataclasses import dataclass
from typing import Any

import pyarrow as pa
import pyarrow.compute as pc

from irnet_ray import tables
from irnet_ray.errors import AGAIN, UserError, misplaced
from irnet_ray.runs.folder import Folder

ERROR_COLUMN = pa.field("error", pa.struct([tables.ERRORS.field(name) for name in ("stage", "kind", "message")]))


def fingerprint(*parts: Any) -> str:
    """Twelve hex digits that change if any of the JSON-able `parts` changes."""
    text = json.dumps(parts, sort_keys=True, separators=(",", ":"))
    return hashlib.blake2b(text.encode(), digest_size=6).hexdigest()


@dataclass(frozen=True)
class Shards:
    """The sharded result of one map stage, or a table of inputs, which has neither units nor errors."""

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
        """Folder of the tables of failed images, one file per sealed part."""
        return self.folder.folder("errors")

    def table(self) -> pa.Table:
        """All rows of the sealed parts. Columns that a part of an earlier release lacks are null there."""
        parts = [self.rows.read_table(name) for name in self.rows.files()]
        return pa.concat_tables(parts, promote_options="default")

    def units(self, shard: int) -> Folder:
        """Folder of a shard's committed units."""
        return self.folder.folder("units", self.part(shard).removesuffix(".parquet"))

    def sealed(self, errors: bool = True) -> set[int]:
        """Numbers of the finished shards. `errors`: whether each needs its file of errors, which inputs do not have."""
        names = set(self.rows.files())
        if errors:
            names &= set(self.errors.files())
        return {shard for shard in range(self.count) if self.part(shard) in names}

    def missing(self, shard: int, image_ids: list[str]) -> list[str]:
        """The images of a shard that no committed unit holds, sorted."""
        units = self.units(shard)
        done: set[str] = set()
        for name in units.files():
            done.update(units.read_table(name, columns=["image_id"])["image_id"].to_pylist())
        return sorted(set(image_ids) - done)

    def commit(self, shard: int, schema: pa.Schema, rows: list[dict[str, Any]]) -> None:
        """Commit one unit: rows of `schema`, or rows with only `image_id`, `uri` and `error`.

        The file's name comes from the image ids, so a late writer of the same unit replaces it instead of adding one.
        """
        name = fingerprint(sorted(row["image_id"] for row in rows))
        self.units(shard).write_table(f"{name}.parquet", pa.Table.from_pylist(rows, schema=unit_schema(schema)))

    def seal(self, shard: int, schema: pa.Schema, image_ids: list[str]) -> None:
        """Turn a shard's units into its part file and its errors file, sorted by id.

        Raises:
            RuntimeError: rows and errors together are not exactly the shard's images.
            UserError: a file among the units has another schema, or is damaged.
        """
        units = self.units(shard)
        unit_tables = [_unit(units, name, schema) for name in units.files()]
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
        """Count rows and errors over all sealed shards."""
        return self.rows.count_rows(), self.errors.count_rows()

    def check(self, images: dict[int, list[str]], errors: bool = True) -> tuple[int, int]:
        """Check that rows and errors are exactly the images of each shard; return how many there are of both.

        Args:
            images: sorted ids by shard.
            errors: whether there are files of errors, which inputs do not have.

        Raises:
            UserError: a part holds other images, or is damaged.
            FileNotFoundError: a part is missing.
        """
        rows = failed = 0
        for shard in range(self.count):
            part = self.part(shard)
            good, bad = (
                folder.read_table(part, columns=["image_id"])["image_id"].to_pylist() if folder else []
                for folder in (self.rows, self.errors if errors else None)
            )
            if sorted(good + bad) != images.get(shard, []):
                raise misplaced(f"{self.rows.location}/{part}")
            rows, failed = rows + len(good), failed + len(bad)
        return rows, failed


def _unit(units: Folder, name: str, schema: pa.Schema) -> pa.Table:
    """Read a unit of a stage. Raises UserError for a table of another schema, such as a part that was moved there."""
    table = units.read_table(name)
    if not table.schema.equals(unit_schema(schema)):
        raise UserError(f"{units.location}/{name} does not have the columns of a unit: {AGAIN}")
    return table


def unit_schema(schema: pa.Schema) -> pa.Schema:
    """A stage's schema as its units hold it: every column except the id may be null, and there is an `error`."""
    fields = [field if field.name == "image_id" else field.with_nullable(True) for field in schema]
    if "uri" not in schema.names:
        fields.append(pa.field("uri", pa.string()))
    return pa.schema([*fields, ERROR_COLUMN])
