"""A folder of images with a tags file. The images are at `WHERE/<image>` or `WHERE/images/<image>`."""

from __future__ import annotations

from collections.abc import Sequence

from irnet_ray.errors import UserError
from irnet_ray.inputs.listing import NO_TAGS, TAGS_FILE, Listed, Listing
from irnet_ray.inputs.place import Place, no_images
from irnet_ray.inputs.tags import Tagged, find_tags_file, read_tags, tags_files
from irnet_ray.storage.files import is_file
from irnet_ray.storage.locations import base_name, join
from irnet_ray.text import count, names


def recognize(place: Place) -> str | None:
    """A folder with a tags file, or with both kinds of it, which `listed` refuses."""
    found = tags_files(place.location) if place.kind == "folder" else []
    return f"it holds {base_name(found[0])}" if found else None


def listed(place: Place) -> Listing:
    """Every image of the folder with its tags.

    Image files that are not listed are left out, and `suspicions` stops for them. Raises UserError for tags without an
    image file.
    """
    location, files = place.location, set(place.images)
    present = files.union(place.lost_images)
    if not present:
        raise no_images(location)
    tags_file = find_tags_file(location)
    rows = sorted(read_tags(tags_file), key=lambda row: row.image)
    paths = _resolve(rows, location, tags_file, files)
    images = {path: Listed(row.image, row.tags, join(location, path)) for path, row in paths.items()}
    return place.listing(images, {base_name(tags_file): TAGS_FILE}, NO_TAGS)


def _resolve(rows: Sequence[Tagged], location: str, tags_file: str, files: set[str]) -> dict[str, Tagged]:
    """The rows by the paths of their files below the folder."""
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
                f"{row.image} on {row.place}: keep one row per image."
            )
    if missing:
        found = names([f"{row.image} on {row.place}" for row in missing])
        raise UserError(
            f"{tags_file} gives tags for {count(len(missing), 'file')} not found in {location} nor in its "
            f"images folder ({found}): add the files, or delete their rows."
        )
    return paths


def _find(image: str, location: str, files: set[str]) -> str | None:
    """Path of a listed image below the folder; None if there is no such file."""
    name = "/".join(part for part in image.split("/") if part not in ("", "."))
    places = (name, f"images/{name}")
    found = next((path for path in places if path in files), None)
    if found is None:  # it may be hidden or have another extension, and `files` lacks such files
        found = next((path for path in places if is_file(join(location, path))), None)
    return found
