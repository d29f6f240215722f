"""Whatever lies in a folder or a tar: files seen = images + left out, and no image is lost."""

from __future__ import annotations

import tarfile
import tempfile
from pathlib import Path

from hypothesis import given
from hypothesis import strategies as st

from irnet_ray.inputs.folder import read, read_images
from tests.fuzzing.sentences import FUZZ, outcome
from tests.inputs.formats import png
from tests.inputs.test_webdataset import tar

PNG, TEXT = png(), b"a text, and no image\n"
FOLDERS = st.sampled_from(
    ["", "cat/", "dog/", "images/", "masks/", ".hidden/", "out/", "out/stages/", "x.tar/", "labels/", "ä/"]
)
STEMS = st.sampled_from(["a", "b", "a_mask", ".a", "a.b", "current", "config", "data", "tags", "Thumbs"])
EXTENSIONS = st.sampled_from(["", ".png", ".JPG", ".jfif", ".txt", ".json", ".cls", ".yaml", ".xyz", "."])
NAMES = st.builds(lambda *parts: "".join(parts), FOLDERS, STEMS, EXTENSIONS)
FILES = st.dictionaries(NAMES, st.sampled_from([PNG, TEXT, b""]), max_size=12)


def write(folder: Path, files: dict[str, bytes]) -> int:
    """The files; returns how many there are. One that stands where another needs a folder is left out."""
    for name, data in files.items():
        path = folder / name
        if path.parent.exists() and not path.parent.is_dir():
            continue
        path.parent.mkdir(parents=True, exist_ok=True)
        if not path.is_dir():
            path.write_bytes(data)
    return sum(path.is_file() for path in folder.rglob("*"))


@FUZZ
@given(FILES)
def test_any_folder(files: dict[str, bytes]) -> None:
    with tempfile.TemporaryDirectory() as place:
        seen = write(Path(place), files)
        for look in (read, read_images):
            reading = outcome(lambda look=look: look(place, 2))
            if reading is not None and reading.account.unit == "file":
                account = reading.account
                assert account.seen == seen == account.images + account.left_out.total
                assert reading.table.num_rows == account.images
                assert account.left_out.examples.keys() == account.left_out.counts.keys()
                assert read(place, 2, 1).account == account if look is read else True  # a limit changes no account


@FUZZ
@given(FILES)
def test_any_tar(files: dict[str, bytes]) -> None:
    with tempfile.TemporaryDirectory() as place:
        path = tar(Path(place) / "a.tar", list(files.items()), tarfile.GNU_FORMAT)
        reading = outcome(lambda: read(path, 2))
        if reading is not None:
            account = reading.account
            assert account.seen == len(files) == account.images + account.left_out.total
            assert reading.table.num_rows == account.images
