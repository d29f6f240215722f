"""The Arrow schema of every table, and the only place that names their columns.

Every table is a folder of Parquet files, one per shard (`part-00007-of-00064.parquet`). Columns are plain
Arrow types and bytes, never tensor extensions: DuckDB, pandas, Spark and Polars read them with no plug-in.
"""

from __future__ import annotations

import hashlib
from typing import Any

import pyarrow as pa
import pyarrow.compute as pc

Row = dict[str, Any]  # one row of a table, by column

IMAGES = pa.schema(
    [
        pa.field("image_id", pa.string(), nullable=False),  # unique; the path inside the data folder
        pa.field("uri", pa.string(), nullable=False),
        pa.field("tags", pa.list_(pa.string()), nullable=False),  # the image's tag k is tags[k - 1]
        pa.field("width", pa.int32()),  # pixels, with EXIF orientation applied; null: the header is unreadable
        pa.field("height", pa.int32()),
        pa.field("content", pa.string()),  # hash of the file's bytes, and `/16` or another depth over 8 bits
        pa.field("shard", pa.int32(), nullable=False),
        # Tags of which nobody knows whether the image has them; null: none. Tables of 0.5.4 have no such column.
        pa.field("tags_unknown", pa.list_(pa.string())),
        # The image's id in the COCO file that it comes from, as JSON, for exports. Tables of 0.5.4 have no such column.
        pa.field("source_id", pa.string()),
    ]
)

TAGS = pa.schema(
    [
        pa.field("image_id", pa.string(), nullable=False),  # the tag: a row of this table is a tag, not an image
        pa.field("uri", pa.string(), nullable=False),  # of its first image
        pa.field("uris", pa.list_(pa.string()), nullable=False),  # of the images that have the tag
    ]
)

PROTOTYPES = pa.schema(
    [
        pa.field("image_id", pa.string(), nullable=False),  # the tag
        pa.field("centers", pa.binary(), nullable=False),  # float16 (P, D), C order
        pa.field("attention", pa.list_(pa.float32()), nullable=False),  # (P,), of each prototype, in [0, 1]
    ]
)

SEEDS = pa.schema(
    [
        pa.field("image_id", pa.string(), nullable=False),
        pa.field("class_ids", pa.list_(pa.int32()), nullable=False),  # into the vocabulary, in the tags' order
        pa.field("cam", pa.binary(), nullable=False),  # float16 (K, ceil(H/4), ceil(W/4)), C order
        pa.field("cam_shape", pa.list_(pa.int32()), nullable=False),
        pa.field("attention", pa.binary()),  # as `cam`: what labels are made from; null: the CAM itself
        pa.field("confident_map", pa.binary(), nullable=False),  # PNG, uint8 (H, W): 0, 1..K, 255 unsure
    ]
)

INSTANCE = pa.struct(
    [
        pa.field("class_name", pa.string(), nullable=False),
        pa.field("class_id", pa.int32(), nullable=False),  # into the vocabulary
        pa.field("score", pa.float32(), nullable=False),  # ranks instances, in [0, 1]
        pa.field("quality", pa.float32(), nullable=False),  # stability: IoU of the mask at two thresholds, in [0, 1]
        pa.field("area", pa.int64(), nullable=False),  # pixels
        pa.field("bbox", pa.list_(pa.float32()), nullable=False),  # x, y, width, height in pixels
        pa.field("rle", pa.string(), nullable=False),  # COCO compressed counts; size is (height, width)
    ]
)

LABELS = pa.schema(
    [
        pa.field("image_id", pa.string(), nullable=False),
        pa.field("uri", pa.string(), nullable=False),
        pa.field("tags", pa.list_(pa.string()), nullable=False),
        pa.field("width", pa.int32(), nullable=False),
        pa.field("height", pa.int32(), nullable=False),
        pa.field("instances", pa.list_(INSTANCE), nullable=False),
        pa.field("semantic", pa.binary(), nullable=False),  # PNG, uint8 (H, W): 0 background, k is tags[k - 1]
        pa.field("fingerprint", pa.string(), nullable=False),  # of the config, weights and code that made the row
    ]
)

# The variants that the paper compares labels with: the CAM of both its tables, "CAM + class boundary" of Table 1, and
# AffinityNet of Table 2.
ABLATION = pa.schema(
    [
        pa.field("image_id", pa.string(), nullable=False),
        pa.field("uri", pa.string(), nullable=False),
        pa.field("tags", pa.list_(pa.string()), nullable=False),
        pa.field("width", pa.int32(), nullable=False),
        pa.field("height", pa.int32(), nullable=False),
        pa.field("boundary_instances", pa.list_(INSTANCE), nullable=False),  # without the displacement field
        pa.field("affinitynet_semantic", pa.binary(), nullable=False),  # as `semantic` of the labels
        *(
            SEEDS.field(name) for name in ("class_ids", "cam", "cam_shape", "confident_map")
        ),  # of the CAM over all scales
    ]
)

ERRORS = pa.schema(
    [
        pa.field("image_id", pa.string(), nullable=False),
        pa.field("uri", pa.string(), nullable=False),
        pa.field("stage", pa.string(), nullable=False),
        pa.field("kind", pa.string(), nullable=False),  # "unreadable", "worker-died", or an exception's name
        pa.field("message", pa.string(), nullable=False),
    ]
)


def part_name(shard: int, shards: int) -> str:
    """File name of one shard of any table, `part-00007-of-00064.parquet`."""
    return f"part-{shard:05d}-of-{shards:05d}.parquet"


def shard_of(image_id: str, shards: int) -> int:
    """Shard of an image, in [0, shards). It depends on the id alone, so that new images do not move others."""
    digest = hashlib.blake2b(image_id.encode("utf-8", "surrogateescape"), digest_size=8).digest()
    return int.from_bytes(digest, "big") % shards


def fraction(image_id: str, purpose: str) -> float:
    """A hash of an id as a number in [0, 1), evenly spread. It is independent of the shard, and differs by purpose."""
    name = image_id.encode("utf-8", "surrogateescape")
    digest = hashlib.blake2b(name, digest_size=8, person=purpose.encode()).digest()
    return int.from_bytes(digest, "big") / 2**64


def vocabulary(images: pa.Table) -> list[str]:
    """Sorted tag names of an images table; a class id is an index into it."""
    values = pc.unique(pc.list_flatten(images["tags"]))
    return sorted(str(v) for v in values.to_pylist())
