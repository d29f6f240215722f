"""A folder of images with a table of their tags. The images are at `WHERE/<image>` or `WHERE/images/<image>`.

The table is `tags.csv`, another table with a usual name, or the only one that lists images with tags. Each split may
have its own: `train/_classes.csv` and `valid/_classes.csv`, or `train/metadata.jsonl`.
"""

from __future__ import annotations

import posixpath
from collections.abc import Sequence

from irnet_ray.errors import UserError
from irnet_ray.inputs import class_folders, columns, openimages, raw_table
from irnet_ray.inputs.listing import NO_TAGS, TAGS_FILE, Listed, Listing
from irnet_ray.inputs.mask_files import IMAGE_FOLDERS, MASK_FOLDERS, plain
from irnet_ray.inputs.matching import match, missing_sentence
from irnet_ray.inputs.place import Place, no_images
from irnet_ray.inputs.tags import Tagged, TagTable, check_name, read_tags
from irnet_ray.storage.files import is_file
from irnet_ray.storage.locations import base_name, join, suffix
from irnet_ray.text import count, names

# Names of tables without their extensions, in lower case; the first that a folder has is taken.
_USUAL = (
    "tags",
    "labels",
    "metadata",
    "_classes",
    "train",
    "train_labels",
    "trainlabels",
    "annotations",
    "_annotations",
)
_PER_SPLIT = ("tags", "labels", "metadata", "_classes", "_annotations")  # also looked for in the folders of splits
_DEPTH = 2  # of the folders of splits


def tags_files(folder: str) -> list[str]:
    """Locations of `tags.csv` and `tags.parquet`, those of them that a folder has."""
    return [file for name in ("tags.csv", "tags.parquet") if is_file(file := join(folder, name))]


def recognize(place: Place) -> str | None:
    """A folder with a tags file, or with both kinds of it, which `listed` refuses."""
    found = tags_files(place.location) if place.kind == "folder" else []
    return f"it holds {base_name(found[0])}" if found else None


def recognize_table(place: Place) -> str | None:
    """A folder of images with other tables that list them with tags."""
    if place.kind != "folder" or not (place.images_in is not None or place.images or place.lost_images):
        return None
    found = _tables(place)
    return f"{names(found)} {'lists' if len(found) == 1 else 'list'} images and tags" if found else None


def only_table(place: Place) -> str | None:
    """The location of the table of a folder, where it has one for all images."""
    found = tags_files(place.location) or [join(place.location, path) for path in _tables(place)]
    return found[0] if len(found) == 1 else None


def other_table(place: Place) -> str | None:
    """The name of a table, in a folder that has no table of images and tags; None if there is none."""
    found = sorted(_candidates(place), key=lambda path: (_stem(path) not in _USUAL, path))
    return found[0] if found else None


def _candidates(place: Place) -> list[str]:
    """Paths of all files that may be tables of tags, sorted."""
    return sorted(
        path
        for path in place.files
        if suffix(path) in raw_table.SUFFIXES
        and not openimages.is_list_of_classes(path)
        and not (suffix(path) == ".parquet" and not place.images)
        and path.count("/") <= _DEPTH
    )


def _stem(path: str) -> str:
    return posixpath.splitext(posixpath.basename(path))[0].lower()


def _tables(place: Place) -> list[str]:
    """Paths below the folder of the tables that list its images with tags; none if there is none.

    Raises UserError where several do, and their names do not tell which one to use.
    """
    candidates = _candidates(place)
    top = {path for path in candidates if "/" not in path}
    for usual in _USUAL:
        found = [path for path in sorted(top) if _stem(path) == usual and _holds_tags(place, path)]
        if found:
            return [_only(place, found)]
    for usual in _PER_SPLIT:
        found = [path for path in candidates if path not in top and _stem(path) == usual and _holds_tags(place, path)]
        if found:
            folders = [posixpath.dirname(path) for path in found]
            twice = next((folder for folder in folders if folders.count(folder) > 1), None)
            return [_only(place, found)] if twice is not None else found
    if _has_class_folders(place):
        return []
    fitting = [path for path in sorted(top) if _holds_tags(place, path, strict=True)]
    return [_only(place, fitting)] if fitting else []


def _has_class_folders(place: Place) -> bool:
    """Whether folders are classes, so that a table beside them is more likely about something else."""
    folders = {plain(path.partition("/")[0]) for path in place.images if "/" in path}
    return (
        class_folders.recognize(place) is not None
        and not folders <= IMAGE_FOLDERS | MASK_FOLDERS | class_folders.SPLITS
    )


def _only(place: Place, found: Sequence[str]) -> str:
    if len(found) > 1:
        raise UserError(
            f"{place.location} has both {found[0]} and {found[1]}: keep the one that is right, or name it instead of "
            "the folder."
        )
    return found[0]


def _holds_tags(place: Place, path: str, strict: bool = False) -> bool:
    """Whether a table names images and their tags. With `strict`, a column of unknown name never holds tags."""
    location = join(place.location, path)
    header = raw_table.header(location)
    if columns.fits(header):
        return True
    if not header:
        return False
    try:
        raw = raw_table.read_raw(location)
        columns.find(location, raw.columns, raw.values, raw.classes, raw.bytes_of is not None, strict)
    except UserError:
        return False
    return True


def listed(place: Place) -> Listing:
    """Every image of a folder with a tags file.

    Image files that are not listed are left out, and `suspicions` stops for them. Raises UserError for tags without an
    image file.
    """
    if not place.images and not place.lost_images:
        raise no_images(place.location)
    return _listed(place, [_only(place, [base_name(file) for file in tags_files(place.location)])])


def listed_tables(place: Place) -> Listing:
    """Every image of a folder with other tables, on the same terms."""
    return _listed(place, _tables(place))


def _listed(place: Place, tables: Sequence[str]) -> Listing:
    images: dict[str, Listed] = {}
    notes: list[str] = []
    for path in tables:
        table = read_tags(join(place.location, path), place.separator)
        notes += [note for note in table.notes if note not in notes]
        for image, one in images_of(table, place, notes, posixpath.dirname(path)).items():
            if image in images:
                raise UserError(f"{join(place.location, path)} lists {image}, and so does another table: keep one.")
            images[image] = one
    return place.listing(images, dict.fromkeys(tables, TAGS_FILE), NO_TAGS, notes)


def images_of(table: TagTable, place: Place, notes: list[str], folder: str = "") -> dict[str, Listed]:
    """The images that a table lists, by the paths of their files in `place`.

    Args:
        table: its names are relative to `folder`, or to `images` in there.
        place: the folder of the images.
        notes: gets what was guessed.
        folder: path of the table's folder below `place`.

    Raises:
        UserError: an image has no file, or a file two images.
    """
    rows = sorted((row for row in table.rows if row.is_tagged), key=lambda row: row.image)
    for row in rows:
        if ".." in row.image.replace("\\", "/").split("/") or "\0" in row.image:
            check_name(table.path, row.place, row.image.replace("\\", "/"))
    matches = match([row.image for row in rows], set(place.images), ("", "images"), folder)
    paths: dict[str, Tagged] = {}
    missing: list[Tagged] = []
    for row, path in zip(rows, matches.paths, strict=True):
        # A listed file may be hidden, or be no image by its name and bytes.
        path = path or _other_file(row.image, place, folder)
        if path is None:
            missing.append(row)
            continue
        other = paths.setdefault(path, row)
        if other is not row:
            raise UserError(
                f"{table.path} lists {path} twice, as {other.image} on {other.place} and as "
                f"{row.image} on {row.place}: write the name alike on all rows of an image."
            )
    if missing:
        _refuse(table, place, missing)
    notes.extend(matches.notes)
    return {
        path: Listed(_id(row, folder), row.tags, join(place.location, path), None, row.unknown)
        for path, row in paths.items()
    }


def _id(row: Tagged, folder: str) -> str:
    return f"{folder}/{row.image}" if folder else row.image


def _other_file(image: str, place: Place, folder: str) -> str | None:
    name = "/".join(part for part in image.split("/") if part not in ("", "."))
    if not name or image.startswith("/"):
        return None
    places = ("/".join(part for part in (folder, above, name) if part) for above in ("", "images"))
    return next((path for path in places if is_file(join(place.location, path))), None)


def _refuse(table: TagTable, place: Place, missing: Sequence[Tagged]) -> None:
    place_of = {row.image: f"{row.image} on {row.place}" for row in missing}
    said = missing_sentence(list(place_of), place_of.__getitem__, place.images)
    raise UserError(
        f"{table.path} gives tags for {count(len(missing), 'file')} not found in {place.location} nor in its "
        f"images folder {said}: add the files, or delete their rows."
    )
