"""Every codec of what tables hold as bytes: class maps as PNG, masks as COCO's RLE, attention as float16.

Shape suffixes: H W pixels of an image, h w cells of stride 4, K tags, N instances.
"""

from __future__ import annotations

import io
from typing import Any

import numpy as np
from PIL import Image

from irnet_ray.errors import UserError
from irnet_ray.tables import Row

MAX_PIXELS = 178_956_970  # of an image; Pillow's own limit against files that unpack to fill the memory
DAMAGED = "the file is damaged, or was not written by irnet-ray"


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


def encode_mask(mask_HW: np.ndarray) -> Row:
    """The `area`, `bbox` and `rle` columns of a bool (H, W) mask."""
    from pycocotools import mask as coco

    rle = coco.encode(np.asfortranarray(mask_HW, dtype=np.uint8))
    return {
        "area": int(coco.area(rle)),
        "bbox": [float(n) for n in coco.toBbox(rle)],
        "rle": rle["counts"].decode("ascii"),
    }


def decode_mask(row: Row, instance: Row) -> np.ndarray:
    """Mask of an instance of a row, bool (H, W). Raises UserError for RLE that is none."""
    from pycocotools import mask as coco

    return coco.decode(coco_rle(instance, row["height"], row["width"])).astype(bool)


def decode_masks(instances: list[Row], size: tuple[int, int]) -> np.ndarray:
    """Masks of the `instances` column of an image of (H, W) pixels, bool (N, H, W). Raises UserError for other RLE."""
    from pycocotools import mask as coco

    if not instances:
        return np.zeros((0, *size), bool)
    rles = [coco_rle(instance, *size) for instance in instances]
    return np.ascontiguousarray(coco.decode(rles).transpose(2, 0, 1)).astype(bool)


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
