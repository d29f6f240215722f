"""Tables that are named themselves: each image is given by its name or uri, or its bytes are in the table (Parquet)."""

from __future__ import annotations

import posixpath

from irnet_ray.errors import UserError
from irnet_ray.inputs import raw_table, uris
from irnet_ray.inputs.images_table import refuse_unnamed
from irnet_ray.inputs.listing import NO_TAGS, LeftOut, Listed, Listing
from irnet_ray.inputs.matching import match
from irnet_ray.inputs.place import Place
from irnet_ray.inputs.tags import Tagged, TagTable, check_name, read_tags
from irnet_ray.inputs.tags_folder import images_of
from irnet_ray.storage.files import is_file
from irnet_ray.storage.locations import base_name, has_password, is_uri, is_web, join, parent, suffix

FURTHER = "another row of an image"


def recognize(place: Place) -> str | None:
    """A table by its extension, or a folder with .parquet files and no images."""
    kind = suffix(place.location)
    if place.kind == "file" and kind in raw_table.SUFFIXES:
        if kind != ".json":
            return f"it is a {kind} file"
        return "it is a .json file of images and tags" if raw_table.is_json_table(place.location) else None
    if place.kind == "file" and raw_table.holds_json_lines(place.location):
        return "its lines are JSON"
    if place.kind == "folder" and place.named(".parquet") and not place.images:
        return "it holds .parquet files and no images"
    return None


def listed(place: Place) -> Listing:
    """Every row of the tables.

    An id is the column `image_id` if there is one, else the name of the image as listed, else file and row. With a
    folder of images named apart, the account is of its files.
    """
    tables = [(name, read_tags(path, place.separator)) for name, path in _manifests(place)]
    notes = list(dict.fromkeys(note for _, table in tables for note in table.notes))
    if place.images_in is not None:
        return _apart(place, tables, notes)
    rows = [(name, table, row) for name, table in tables for row in table.rows]
    images: list[Listed] = []
    left = LeftOut()
    seen: dict[str, str] = {}
    at: dict[str, Tagged] = {}
    locations = _locations(place, [(table, row) for _, table, row in rows], notes)
    for image_id, (name, table, row), uri in zip(_ids(rows), rows, locations, strict=True):
        if image_id in seen:
            raise UserError(
                f"{table.path} lists {image_id} twice, on {seen[image_id]} and {row.place}: keep one row per image."
            )
        seen[image_id] = row.place
        if at.setdefault(uri, row).image != row.image:
            raise UserError(
                f"{table.path} lists {uri} twice, as {at[uri].image} on {at[uri].place} and as {row.image} on "
                f"{row.place}: write the name alike on all rows of an image."
            )
        if not row.is_tagged:
            left.add(NO_TAGS, f"{name}, {row.place}")
            continue
        images.append(Listed(image_id, row.tags, uri, None, row.unknown))
    for name, table in tables:
        for _ in range(table.seen - len(table.rows)):
            left.add(FURTHER, name)
    return Listing(images, sum(table.seen for _, table in tables), left, notes, unit="row")


def _apart(place: Place, tables: list[tuple[str, TagTable]], notes: list[str]) -> Listing:
    photos = Place(place.images_in or "")
    images: dict[str, Listed] = {}
    for name, table in tables:
        if table.bytes_of is not None:
            raise UserError(f"{table.path} holds its images itself: leave --images out.")
        for path, one in images_of(table, photos, notes).items():
            if path in images:
                raise UserError(f"{name} lists {path}, and so does another table: keep one row per image.")
            images[path] = one
    here = {join(photos.location, path): path for path in photos.files}
    tables_there = {here[table.path]: "holds the tags" for _, table in tables if table.path in here}
    return photos.listing(images, tables_there, NO_TAGS, notes)


def _manifests(place: Place) -> list[tuple[str, str]]:
    """Name and location of each table."""
    if place.kind == "file":
        return [(base_name(place.location), place.location)]
    parts = place.named(".parquet")
    refuse_unnamed(place.location, parts)
    return [(name, join(place.location, name)) for name in parts]


def _ids(rows: list[tuple[str, TagTable, Tagged]]) -> list[str]:
    given = [row.image_id or row.image for _, _, row in rows]
    if any(table.bytes_of for _, table, _ in rows) and (not all(given) or len(set(given)) < len(given)):
        # Names of images inside Parquet are only labels: they may be missing, or repeat in the next file.
        return [row.image_id or f"{name}/{row.row + 1:08d}" for name, _, row in rows]
    return given


def _locations(place: Place, rows: list[tuple[TagTable, Tagged]], notes: list[str]) -> list[str]:
    """Where the image of each row is. Names that lead nowhere are matched to files below the folder of the table."""
    found = [
        uris.parquet_uri(table.path, table.bytes_of, row.row) if table.bytes_of else _location(table.path, row)
        for table, row in rows
    ]
    named = [n for n, (table, _) in enumerate(rows) if not table.bytes_of and not is_uri(rows[n][1].image)]
    # In a store each look costs a request. There, a few names tell whether they lead to files.
    asked = named[:3] if is_uri(place.location) else named
    lost = {n for n in asked if not is_file(found[n])}
    if lost and place.kind == "file":
        photos = Place(parent(place.location))
        matches = match([rows[n][1].image for n in named], set(photos.images))
        for n, path in zip(named, matches.paths, strict=True):
            if path is not None and (n in lost or is_uri(place.location)):
                found[n] = join(photos.location, path)
        notes.extend(matches.notes)
    return found


def _location(path: str, row: Tagged) -> str:
    """The location that a name stands for. Relative names are relative to the folder of the table."""
    name = row.image
    if is_web(name):
        raise UserError(
            f"{path}, {row.place} names {name}, which is on a web server: download the images, and name the files."
        )
    if is_uri(name):
        if has_password(name):
            raise UserError(
                f"{path}, {row.place} names a URI with a password, which would be written into tables: leave it out, "
                "and give it by the store's own environment variables or files."
            )
        return name
    if name.startswith("/") and not is_uri(path) and "\0" not in name:
        return name
    if "\\" not in name:
        check_name(path, row.place, name)
    return join(parent(path), posixpath.normpath(name.removeprefix("./")))
