"""Turns listed images into the images table. Every image is read once, for its size and the hash of its bytes."""

from __future__ import annotations

import hashlib
import os
from collections import Counter
from collections.abc import Sequence

import pyarrow as pa
import pyarrow.compute as pc

from irnet_ray import tables
from irnet_ray.errors import UserError
from irnet_ray.inputs import parallel, uris
from irnet_ray.inputs.decode import Header, describe_pixels
from irnet_ray.inputs.listing import Listed, Seen
from irnet_ray.text import count, names

READ_WHOLE = 64 << 20  # bytes; a larger local file is hashed piece by piece


def images_table(images: Sequence[Listed], shards: int, limit: int | None, listed_in: str | None = None) -> pa.Table:
    """Rows of `tables.IMAGES`, sorted by image_id; `limit` keeps only that many, drawn evenly by a hash of their ids.

    Ids must be distinct. An image that is missing or cannot be read gets null width and height; the stages report it.
    With `listed_in`, the location of the listing, missing images raise UserError instead.
    """
    # Read in the order of the listing, so that rows of one file are read in their order; sorted by id afterwards.
    kept = None if limit is None else set(sorted((image.image_id for image in images), key=_draw)[:limit])
    chosen = images if kept is None else [image for image in images if image.image_id in kept]
    seen = [image.seen for image in chosen]
    unseen = [number for number, found in enumerate(seen) if found is None]
    for number, found in zip(unseen, parallel.each(describe, [chosen[n].uri for n in unseen]), strict=True):
        seen[number] = found
    rows = sorted(zip(chosen, seen, strict=True), key=lambda row: row[0].image_id)
    known = [found or Seen(None, None) for _, found in rows]
    if listed_in is not None:
        lost = [image.uri for (image, _), found in zip(rows, known, strict=True) if found.missing]
        if lost:
            raise UserError(
                f"{listed_in} lists {count(len(lost), 'image')} not found ({names(lost)}): "
                "add the files, or delete their rows."
            )
    return pa.Table.from_pydict(
        {
            "image_id": [image.image_id for image, _ in rows],
            "uri": [image.uri for image, _ in rows],
            "tags": [image.tags for image, _ in rows],
            "width": [found.size[0] if found.size else None for found in known],
            "height": [found.size[1] if found.size else None for found in known],
            "content": [found.content for found in known],
            "shard": [tables.shard_of(image.image_id, shards) for image, _ in rows],
            "tags_unknown": [list(image.unknown) or None for image, _ in rows],
            "source_id": [image.source_id for image, _ in rows],
        },
        schema=tables.IMAGES,
    )


def _draw(image_id: str) -> tuple[float, str]:
    """The order in which a limit takes images: all classes from the beginning, and the same ones every time."""
    return tables.fraction(image_id, "limit"), image_id


def describe(uri: str) -> Seen:
    """Read one image for its size and hash. Failures are not raised, but recorded in the result."""
    try:
        if uris.is_path(uri):
            with open(uri, "rb") as stream:
                if os.fstat(stream.fileno()).st_size > READ_WHOLE:
                    digest = hashlib.file_digest(stream, lambda: hashlib.blake2b(digest_size=16))
                    return _seen(describe_pixels(uri), digest.hexdigest())
                data = stream.read()
        else:
            data = uris.read_bytes(uri)
    except FileNotFoundError:
        return Seen(None, None, missing=True)
    except OSError:  # no permission or out of reach; the stages write a row of errors
        return Seen(None, None)
    return describe_bytes(data)


def describe_bytes(data: bytes) -> Seen:
    """Size and hash of the bytes of an image."""
    return _seen(describe_pixels(data), hashlib.blake2b(data, digest_size=16).hexdigest())


def _seen(header: Header | None, digest: str) -> Seen:
    if header is None:
        return Seen(None, digest)
    # The depth stands beside the hash. So the images table needs no column for it, and what an earlier version made of
    # such an image, which it showed to the networks nearly black, does not count any more.
    return Seen(header.size, digest if header.depth is None else f"{digest}/{header.depth}")


def depths(images: pa.Table) -> dict[str, int]:
    """How many images have more than 8 bits, by their depth, a key of `samples.DEPTHS`."""
    known = pc.drop_null(images["content"])
    deep = known.filter(pc.match_substring(known, "/")).to_pylist()
    return dict(Counter(content.partition("/")[2] for content in deep).most_common())


def refuse_unnamed(location: str, found: Sequence[str]) -> None:
    """Raise UserError for names on disk that are not UTF-8, because ids in tables must be."""
    unnamed = [name for name in found if any("\ud800" <= letter <= "\udfff" for letter in name)]
    if unnamed:
        raise UserError(
            f"{count(len(unnamed), 'image file')} in {location} with names that are not UTF-8 ({names(unnamed)}): "
            "rename them."
        )
