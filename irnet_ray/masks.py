"""The codecs of all masks and maps in the tables. Each encoder has its decoder.

- Class maps, uint8 (H, W), are PNG bytes: `encode_png` and `decode_png`.
- Instance masks, bool (H, W), are COCO's compressed run lengths (RLE): `encode_mask`, `decode_mask` and `decode_masks`,
  and `coco_rle` for what pycocotools can work on without decoding.
- Attention maps, float (K, h, w), are float16 bytes: `encode_cam` and `decode_cam`, and `decode_attention` for the
  attention that labels are made from.

Tables may come from elsewhere or be damaged. Decoders of PNG and RLE check their input and raise UserError.

Shape suffixes: H W pixels of an image, h w cells of stride 4, K tags, N instances.
"""

from __future__ import annotations

import io

import numpy as np
from PIL import Image

from irnet_ray.errors import UserError
from irnet_ray.tables import Row

MAX_PIXELS = 178_956_970  # of an image; Pillow's own limit, against files that would fill the memory when decoded
DAMAGED = "the file is damaged, or was not written by irnet-ray"


def encode_png(index_HW: np.ndarray) -> bytes:
    """Encode a uint8 (H, W) index map as lossless PNG bytes."""
    buffer = io.BytesIO()
    Image.fromarray(np.ascontiguousarray(index_HW, dtype=np.uint8), mode="L").save(buffer, "PNG", compress_level=3)
    return buffer.getvalue()


def decode_png(data: bytes) -> np.ndarray:
    """Decode the bytes of `encode_png` to uint8 (H, W). Raises UserError for any other bytes."""
    try:
        with Image.open(io.BytesIO(data), formats=["PNG"]) as image:
            if image.mode == "L" and image.width * image.height <= MAX_PIXELS:
                return np.array(image, dtype=np.uint8)
    except Exception as error:  # Pillow's decoders raise OSError, SyntaxError, ValueError, struct.error and more
        raise UserError(f"A class map in the table is not a PNG ({error}): {DAMAGED}.") from error
    raise UserError(f"A class map in the table is not 8-bit gray, or is too large: {DAMAGED}.")


def encode_mask(mask_HW: np.ndarray) -> Row:
    """The `area`, `bbox` and `rle` columns of `tables.INSTANCE` for a bool (H, W) mask."""
    from pycocotools import mask as coco

    rle = coco.encode(np.asfortranarray(mask_HW, dtype=np.uint8))
    return {
        "area": int(coco.area(rle)),
        "bbox": [float(n) for n in coco.toBbox(rle)],
        "rle": rle["counts"].decode("ascii"),
    }


def decode_mask(instance: Row, size: tuple[int, int]) -> np.ndarray:
    """Mask of one of the `instances` of an image of (H, W) pixels, bool (H, W).

    Raises:
        UserError: its RLE is malformed, or does not have this size.
    """
    from pycocotools import mask as coco

    return coco.decode(coco_rle(instance, size)).astype(bool)


def decode_masks(instances: list[Row], size: tuple[int, int]) -> np.ndarray:
    """Masks of all `instances` of an image of (H, W) pixels, bool (N, H, W). Raises UserError as `decode_mask`."""
    from pycocotools import mask as coco

    if not instances:
        return np.zeros((0, *size), bool)
    rles = [coco_rle(instance, size) for instance in instances]
    return np.ascontiguousarray(coco.decode(rles).transpose(2, 0, 1)).astype(bool)


def coco_rle(instance: Row, size: tuple[int, int]) -> Row:
    """The mask of one of the `instances` of an image of (H, W) pixels, in the form that pycocotools takes.

    pycocotools does not validate counts; malformed ones corrupt memory. So every mask from a table goes through here.

    Raises:
        UserError: the RLE is malformed, or does not have this size.
    """
    height, width = size
    counts: str = instance["rle"]
    if not fits(counts, height, width):
        raise UserError(
            f"A mask of class {instance['class_name']} is not the RLE of {height} x {width} pixels: {DAMAGED}."
        )
    return {"size": [height, width], "counts": counts.encode("ascii")}


def fits(counts: str, height: int, width: int) -> bool:
    """Whether COCO's compressed counts are well-formed and cover exactly height x width pixels.

    From the fourth run on, counts hold the difference from the run two places earlier. A number is written in groups
    of 5 bits, the lowest first, each as one character from '0' on. The sixth bit of a group tells that more groups
    follow, and the highest bit of the last group is the sign.
    """
    if min(height, width) < 1 or height * width > MAX_PIXELS or not counts.isascii():
        return False
    codes = np.frombuffer(counts.encode("ascii"), np.uint8).astype(np.int64) - 48
    ends = np.flatnonzero(codes & 32 == 0)
    if not len(ends) or ends[-1] != len(codes) - 1 or codes.min() < 0 or codes.max() > 63:
        return False
    starts = np.concatenate([[0], ends[:-1] + 1])
    sizes = ends - starts + 1
    if sizes.max() > 7:  # over 35 bits, more than any image has pixels
        return False
    place = np.arange(len(codes)) - np.repeat(starts, sizes)
    values = np.add.reduceat((codes & 31) << (5 * place), starts)
    values = np.where(codes[ends] & 16, values - (1 << (5 * sizes)), values)
    runs = values.copy()  # the first three are not differences
    runs[1::2] = np.cumsum(values[1::2])
    runs[2::2] = np.cumsum(values[2::2])
    return bool(runs.min() >= 0 and runs.sum() == height * width)


def encode_cam(cam_Khw: np.ndarray) -> Row:
    """The `cam` and `cam_shape` columns for a float (K, h, w) map. Values are rounded to float16."""
    return {
        "cam": np.ascontiguousarray(cam_Khw, dtype=np.float16).tobytes(),
        "cam_shape": list(cam_Khw.shape),
    }


def decode_cam(row: Row) -> np.ndarray:
    """The raw class attention map of a row of `tables.SEEDS`, float32 (K, h, w)."""
    return np.frombuffer(row["cam"], dtype=np.float16).reshape(row["cam_shape"]).astype(np.float32)


def decode_attention(row: Row) -> np.ndarray:
    """The attention that labels are made from, float32 (K, h, w): the seed method's, or the CAM where that is null."""
    return decode_cam(row if row["attention"] is None else {**row, "cam": row["attention"]})
