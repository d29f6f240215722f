"""The Arrow schema of every table, and the only place that names their columns.

Every table is a folder of Parquet files, one per shard (`part-00007-of-00064.parquet`). Columns are plain
Arrow types and bytes, never tensor extensions: DuckDB, pandas, Spark and Polars read them with no plug-in.
"""

from __future__ import annotations

import hashlib
import io
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
from PIL import Image

from irnet_ray.errors import UserError

MAX_PIXELS = 178_956_970  # of an image; Pillow's own limit against files that unpack to fill the memory
DAMAGED = "the file is damaged, or was not written by irnet-ray"

IMAGES = pa.schema(
    [
        pa.field("image_id", pa.string(), nullable=False),  # unique; the path below the data folder
        pa.field("uri", pa.string(), nullable=False),
        pa.field("tags", pa.list_(pa.string()), nullable=False),  # the image's own tag k is tags[k - 1]
        pa.field("width", pa.int32()),  # pixels as people see it (EXIF applied); null: header unreadable
        pa.field("height", pa.int32()),
        pa.field("content", pa.string()),  # hash of the file's bytes: tells a changed image from a touched one
        pa.field("shard", pa.int32(), nullable=False),
    ]
)

TAGS = pa.schema(
    [
        pa.field("image_id", pa.string(), nullable=False),  # the tag: here a row is a tag and not an image
        pa.field("uri", pa.string(), nullable=False),  # of the first of its images
        pa.field("uris", pa.list_(pa.string()), nullable=False),  # of images that have the tag
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

# What the comparisons of the paper make of an image: the CAM of both tables, Table 1's "CAM + class boundary", and
# Table 2's AffinityNet.
ABLATION = pa.schema(
    [
        pa.field("image_id", pa.string(), nullable=False),
        pa.field("uri", pa.string(), nullable=False),
        pa.field("tags", pa.list_(pa.string()), nullable=False),
        pa.field("width", pa.int32(), nullable=False),
        pa.field("height", pa.int32(), nullable=False),
        pa.field("boundary_instances", pa.list_(INSTANCE), nullable=False),  # without the displacement field
        pa.field("affinitynet_semantic", pa.binary(), nullable=False),  # as `semantic` of the labels
        *(SEEDS.field(name) for name in ("class_ids", "cam", "cam_shape", "confident_map")),  # the CAM over all scales
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
    """Shard in [0, shards) of an image: from its id alone, so adding images moves no other."""
    digest = hashlib.blake2b(image_id.encode("utf-8", "surrogateescape"), digest_size=8).digest()
    return int.from_bytes(digest, "big") % shards


def fraction(image_id: str, purpose: str) -> float:
    """A number in [0, 1) that follows from an id, evenly spread: not from its shard, and another for each purpose."""
    name = image_id.encode("utf-8", "surrogateescape")
    digest = hashlib.blake2b(name, digest_size=8, person=purpose.encode()).digest()
    return int.from_bytes(digest, "big") / 2**64


def encode_png(index_HW: np.ndarray) -> bytes:
    """Encode a uint8 (H, W) index map as lossless PNG bytes."""
    buffer = io.BytesIO()
    Image.fromarray(np.ascontiguousarray(index_HW, dtype=np.uint8), mode="L").save(buffer, "PNG", compress_level=3)
    return buffer.getvalue()


def decode_png(data: bytes) -> np.ndarray:
    """Decode PNG bytes of `encode_png` to uint8 (H, W). Raises UserError for any other bytes."""
    try:
        with Image.open(io.BytesIO(data), formats=["PNG"]) as image:
            if image.mode == "L" and image.width * image.height <= MAX_PIXELS:
                return np.array(image, dtype=np.uint8)
    except Exception as error:  # Pillow's decoders raise OSError, SyntaxError, ValueError, struct.error and more
        raise UserError(f"A class map in the table is no PNG ({error}): {DAMAGED}.") from error
    raise UserError(f"A class map in the table is not gray of 8 bits, or too large: {DAMAGED}.")


def coco_rle(instance: dict[str, Any], height: int, width: int) -> dict[str, Any]:
    """The mask of an `INSTANCE` of an image of height x width pixels, as pycocotools takes it.

    pycocotools believes the counts: such as do not fit make it read and write beyond its memory. Raises UserError.
    """
    counts: str = instance["rle"]
    if not fits(counts, height, width):
        raise UserError(
            f"A mask of class {instance['class_name']} is not the RLE of {height} x {width} pixels: {DAMAGED}."
        )
    return {"size": [height, width], "counts": counts.encode("ascii")}


def fits(counts: str, height: int, width: int) -> bool:
    """Whether COCO compressed counts are those of a mask of height x width pixels.

    A run's length is written as its difference from the one before the last, in groups of 5 bits, lowest first, each
    as a character from '0' on; a sixth bit says that more follow, and the last group's highest is the sign.
    """
    if min(height, width) < 1 or height * width > MAX_PIXELS or not counts.isascii():
        return False
    codes = np.frombuffer(counts.encode("ascii"), np.uint8).astype(np.int64) - 48
    ends = np.flatnonzero(codes & 32 == 0)
    if not len(ends) or ends[-1] != len(codes) - 1 or codes.min() < 0 or codes.max() > 63:
        return False
    starts = np.concatenate([[0], ends[:-1] + 1])
    sizes = ends - starts + 1
    if sizes.max() > 7:  # 35 bits, more than any image has pixels
        return False
    place = np.arange(len(codes)) - np.repeat(starts, sizes)
    values = np.add.reduceat((codes & 31) << (5 * place), starts)
    values = np.where(codes[ends] & 16, values - (1 << (5 * sizes)), values)
    runs = values.copy()  # the first three are written whole
    runs[1::2] = np.cumsum(values[1::2])
    runs[2::2] = np.cumsum(values[2::2])
    return bool(runs.min() >= 0 and runs.sum() == height * width)


def encode_cam(cam_KHW: np.ndarray) -> dict[str, Any]:
    """The `cam` and `cam_shape` columns of a float (K, h, w) map; values are rounded to float16."""
    return {
        "cam": np.ascontiguousarray(cam_KHW, dtype=np.float16).tobytes(),
        "cam_shape": list(cam_KHW.shape),
    }


def decode_cam(row: dict[str, Any]) -> np.ndarray:
    """Float32 (K, h, w), the raw class attention map, from a row's `cam` and `cam_shape` columns."""
    return np.frombuffer(row["cam"], dtype=np.float16).reshape(row["cam_shape"]).astype(np.float32)


def decode_attention(row: dict[str, Any]) -> np.ndarray:
    """Float32 (K, h, w), the attention of the seed method: the column `attention`, or the CAM where that is null."""
    return decode_cam(row if row["attention"] is None else {**row, "cam": row["attention"]})


def vocabulary(images: pa.Table) -> list[str]:
    """Sorted tag names of an images table; a class id is an index into it."""
    values = pc.unique(pc.list_flatten(images["tags"]))
    return sorted(str(v) for v in values.to_pylist())
