"""A folder of images with a tags file becomes the images table."""

from __future__ import annotations

import hashlib
import os
import stat
from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pyarrow as pa

from irnet_ray import tables
from irnet_ray.errors import UserError
from irnet_ray.inputs.decode import EXTENSIONS, read_size
from irnet_ray.inputs.tags import Tagged, find_tags_file, has_tags_file, read_tags


def read_folder(data: Path, shards: int, limit: int | None = None) -> pa.Table:
    """Check a data folder whole and return its images table (`tables.IMAGES`), sorted by image_id.

    `data` holds `tags.csv` or `tags.parquet` and the images it lists, at `data/<image>` or
    `data/images/<image>`. `limit` keeps the first so many by image_id, after every listed file has been
    checked to exist. An image whose header cannot be read gets null width and height and is left to the
    stages. Raises UserError for everything that a person should mend before any compute.
    """
    if shards < 1:
        raise UserError(f"The number of shards must be at least 1, got {shards}.")
    if limit is not None and limit < 1:
        raise UserError(f"The limit must be at least 1 image, got {limit}: leave it out for all of them.")
    data = Path(os.path.abspath(data))
    _check_folder(data)
    present = sorted(_image_files(data))
    if not present:
        raise UserError(f"{data} holds no images ({', '.join(sorted(EXTENSIONS))}): name the folder that does.")
    tags_file = find_tags_file(data)
    rows = sorted(read_tags(tags_file), key=lambda row: row.image)
    paths = _resolve(rows, data, tags_file)
    untagged = [path for path in present if path not in paths]
    if untagged:
        raise UserError(
            f"{_count(len(untagged), 'image file')} without tags in {data} ({_names(untagged)}): "
            f"list them in {tags_file.name}, or move them out of the folder."
        )
    chosen = [(row.image, row.tags, path) for row, path in zip(rows, paths, strict=True)]
    return _table(data, chosen[:limit], shards)


def read_images(data: Path, shards: int, limit: int | None = None) -> pa.Table:
    """The images table of a folder whose images need no tags; sorted by image_id.

    With a tags file it is that of `read_folder`. Without, every image file below `data` is an image, by its path
    below `data`, or below `data/images` where it lies there, and has no tags. Raises UserError as `read_folder`.
    """
    data = Path(os.path.abspath(data))
    _check_folder(data)
    if has_tags_file(data):
        return read_folder(data, shards, limit)
    paths: dict[str, str] = {}
    for path in sorted(_image_files(data)):
        other = paths.setdefault(path.removeprefix("images/"), path)
        if other != path:
            raise UserError(f"{data} holds both {_names([other])} and {_names([path])}: rename one of them.")
    if not paths:
        raise UserError(f"{data} holds no images ({', '.join(sorted(EXTENSIONS))}): name the folder that does.")
    unnamed = [name for name in paths if not _is_text(name)]
    if unnamed:
        raise UserError(
            f"{_count(len(unnamed), 'image file')} in {data} with names that are not UTF-8 ({_names(unnamed)}): "
            "rename them."
        )
    return _table(data, [(name, [], paths[name]) for name in sorted(paths)[:limit]], shards)


def _table(data: Path, images: Sequence[tuple[str, list[str], str]], shards: int) -> pa.Table:
    """Rows of `tables.IMAGES` for images given by their id, tags and path below `data`."""
    with ThreadPoolExecutor(max_workers=min(16, 4 * (os.cpu_count() or 1))) as pool:
        described = list(pool.map(lambda image: _describe(data / image[2]), images))
    return pa.Table.from_pylist(
        [
            {
                "image_id": image_id,
                "uri": str(data / path),
                "tags": tags,
                "width": size[0] if size else None,
                "height": size[1] if size else None,
                "content": content,
                "shard": tables.shard_of(image_id, shards),
            }
            for (image_id, tags, path), (size, content) in zip(images, described, strict=True)
        ],
        schema=tables.IMAGES,
    )


def _check_folder(data: Path) -> None:
    try:
        if not data.exists():
            raise UserError(f"{data} does not exist: name a folder of images with tags.")
        if not data.is_dir():
            raise UserError(f"{data} is not a folder: name the folder that holds the images and their tags file.")
        os.scandir(data).close()
    except OSError as error:
        raise UserError(f"{data} cannot be read: {error.strerror}; check its permissions.") from error


def _image_files(data: Path) -> Iterator[str]:
    """Paths below `data`, with '/', of all image files; hidden files and folders are left out."""
    visited: set[str] = set()
    for root, folders, files in os.walk(data, followlinks=True):
        real = os.path.realpath(root)
        if real in visited:  # a link back into a folder already walked
            folders.clear()
            continue
        visited.add(real)
        folders[:] = sorted(name for name in folders if not name.startswith("."))
        for name in files:
            if name.startswith(".") or os.path.splitext(name)[1].lower() not in EXTENSIONS:
                continue
            if _is_file_or_lost(os.path.join(root, name)):
                yield Path(root, name).relative_to(data).as_posix()


def _is_file_or_lost(path: str) -> bool:
    """Whether a path is a file or a link to nothing; not a pipe or a device, which may be read for ever."""
    try:
        return stat.S_ISREG(os.stat(path).st_mode)
    except OSError:
        return True


def _resolve(rows: Sequence[Tagged], data: Path, tags_file: Path) -> dict[str, None]:
    """Path below `data` of each row's file, in the rows' order (a dict, for its fast look-up)."""
    paths: dict[str, Tagged] = {}
    missing: list[Tagged] = []
    for row in rows:
        # Not Path.is_file, which raises for names longer than a file system knows.
        path = next((p for p in (Path(row.image), Path("images", row.image)) if os.path.isfile(data / p)), None)
        if path is None:
            missing.append(row)
            continue
        other = paths.setdefault(path.as_posix(), row)
        if other is not row:
            raise UserError(
                f"{tags_file} lists {path.as_posix()} twice, as {other.image} on {other.place} and as "
                f"{row.image} on {row.place}: keep one row an image."
            )
    if missing:
        names = _names([f"{row.image} on {row.place}" for row in missing])
        raise UserError(
            f"{tags_file} gives tags for {_count(len(missing), 'file')} not found in {data} nor in its "
            f"images folder ({names}): add the files, or delete their rows."
        )
    return dict.fromkeys(paths)


def _describe(path: Path) -> tuple[tuple[int, int] | None, str | None]:
    """((width, height) or None, hash of the bytes or None) of one file."""
    try:
        with path.open("rb") as stream:
            content = hashlib.file_digest(stream, lambda: hashlib.blake2b(digest_size=16)).hexdigest()
    except OSError:  # no permission, or gone since the check: a row of the errors table later
        return None, None
    return read_size(path), content


def _is_text(name: str) -> bool:
    """Whether a name on disk is UTF-8, as ids in tables must be."""
    return not any("\ud800" <= letter <= "\udfff" for letter in name)


def _count(number: int, noun: str) -> str:
    return f"{number:,} {noun}" + ("" if number == 1 else "s")


def _names(names: Sequence[str], shown: int = 3) -> str:
    rest = len(names) - shown
    return ", ".join(names[:shown]) + (f" and {rest:,} more" if rest > 0 else "")
