"""A folder of images with a tags file: images lie at `WHERE/<image>` or `WHERE/images/<image>`."""

from __future__ import annotations

from collections.abc import Sequence

from irnet_ray.errors import UserError
from irnet_ray.inputs.decode import EXTENSIONS
from irnet_ray.inputs.images_table import Listed, count, is_image, names
from irnet_ray.inputs.tags import Tagged, find_tags_file, read_tags
from irnet_ray.storage import files as storage


def listed(location: str) -> list[Listed]:
    """Every image of the folder with its tags. Raises UserError for a file without tags, or tags without file."""
    lost: list[str] = []
    files = set(filter(is_image, storage.walk(location, lost)))
    present = files.union(filter(is_image, lost))
    if not present:
        raise UserError(f"{location} holds no images ({', '.join(sorted(EXTENSIONS))}): name the folder that does.")
    tags_file = str(find_tags_file(location))
    rows = sorted(read_tags(tags_file), key=lambda row: row.image)
    paths = _resolve(rows, location, tags_file, files)
    untagged = sorted(present.difference(paths))
    if untagged:
        raise UserError(
            f"{count(len(untagged), 'image file')} without tags in {location} ({names(untagged)}): "
            f"list them in {storage.base_name(tags_file)}, or move them out of the folder."
        )
    return [Listed(row.image, row.tags, storage.join(location, path)) for path, row in paths.items()]


def _resolve(rows: Sequence[Tagged], location: str, tags_file: str, files: set[str]) -> dict[str, Tagged]:
    """The rows by the path below the folder of their files."""
    paths: dict[str, Tagged] = {}
    missing: list[Tagged] = []
    for row in rows:
        path = _find(row.image, location, files)
        if path is None:
            missing.append(row)
            continue
        other = paths.setdefault(path, row)
        if other is not row:
            raise UserError(
                f"{tags_file} lists {path} twice, as {other.image} on {other.place} and as "
                f"{row.image} on {row.place}: keep one row an image."
            )
    if missing:
        found = names([f"{row.image} on {row.place}" for row in missing])
        raise UserError(
            f"{tags_file} gives tags for {count(len(missing), 'file')} not found in {location} nor in its "
            f"images folder ({found}): add the files, or delete their rows."
        )
    return paths


def _find(image: str, location: str, files: set[str]) -> str | None:
    """Path below the folder of a listed image; None where there is no such file."""
    name = "/".join(part for part in image.split("/") if part not in ("", "."))
    places = (name, f"images/{name}")
    found = next((path for path in places if path in files), None)
    if found is None:  # the walk leaves out what is hidden and what has no image's extension: that is looked for
        found = next((path for path in places if storage.is_file(storage.join(location, path))), None)
    return found
