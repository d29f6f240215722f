"""Bad folders and tags, made by code: each kind, and the sentence that refuses it."""

from __future__ import annotations

import io
import os
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq

from tests.bad_images import of_bytes, photo, saved


@dataclass(frozen=True)
class BadFolder:
    """A change to a correct folder of two images. `refused` is part of the sentence; if empty, `images` are used."""

    kind: str
    make: Callable[[Path], None]
    refused: str = ""
    images: int = 2

    @property
    def outcome(self) -> str:
        return f"exit 2: “… {self.refused} …”" if self.refused else "labels"


def _tags(text: str, encoding: str = "utf-8") -> Callable[[Path], None]:
    """Another tags file."""
    return lambda folder: (folder / "tags.csv").write_bytes(text.encode(encoding)) and None


def _added(row: str, make: Callable[[Path], object] = lambda images: None) -> Callable[[Path], None]:
    """One row more, and what `make` does to the folder of images."""

    def add(folder: Path) -> None:
        make(folder / "images")
        with (folder / "tags.csv").open("a", encoding="utf-8") as stream:
            stream.write(row)

    return add


def _parquet(**columns: object) -> Callable[[Path], None]:
    def replace(folder: Path) -> None:
        (folder / "tags.csv").unlink()
        pq.write_table(pa.table(columns), folder / "tags.parquet")

    return replace


def _parquet_bytes(data: bytes) -> Callable[[Path], None]:
    def replace(folder: Path) -> None:
        (folder / "tags.csv").unlink()
        (folder / "tags.parquet").write_bytes(data)

    return replace


def _directory_of_tags(folder: Path) -> None:
    (folder / "tags.csv").unlink()
    (folder / "tags.csv").mkdir()


def _masks(folder: Path) -> None:
    for name in ("masks/a.png", "masks/b.png", "images/a_mask.png"):
        (folder / name).parent.mkdir(exist_ok=True)
        photo().save(folder / name)


def _run_directory(folder: Path) -> None:
    (folder / "out" / "stages").mkdir(parents=True)
    (folder / "out" / "stages" / "x.json").write_text("{}")
    (folder / "out" / "current.json").write_text("{}")
    photo().save(folder / "out" / "show.png")


def _half_parquet() -> bytes:
    whole = io.BytesIO()
    pq.write_table(pa.table({"image": ["a.png", "b.png"], "tags": ["cat", "dog"]}), whole)
    return whole.getvalue()[:-20]


BOTH = "image,tags\na.png,cat\nb.png,dog;cat\n"
NOT_UTF8 = pa.array([b"\xff\xfe.png", b"b.png"], pa.binary()).view(pa.string())


def _yolo(label: str, names: str) -> Callable[[Path], None]:
    """YOLO labels in place of the tags: `label` for one image, the second class for the other."""

    def make(folder: Path) -> None:
        (folder / "tags.csv").unlink()
        (folder / "labels").mkdir()
        (folder / "labels" / "a.txt").write_text(label)
        (folder / "labels" / "b.txt").write_text("1 .5 .5 .2 .2\n")
        if names:
            (folder / "data.yaml").write_text(names)

    return make


def _xml(start: str) -> Callable[[Path], None]:
    """An annotation of VOC beside each image, in place of the tags."""

    def make(folder: Path) -> None:
        (folder / "tags.csv").unlink()
        for stem, name in (("a", "cat"), ("b", "dog")):
            text = f"{start}<annotation><object><name>{name}</name></object></annotation>"
            (folder / "images" / f"{stem}.xml").write_text(text)

    return make


def _two_more(images: Path) -> None:
    for folder in ("x", "y"):
        (images / folder).mkdir()
        saved()(images / folder / "a.png")


NAMES = pa.array(["a.png", "b.png"])
FIFO = "pipe.png"

FOLDERS = [
    BadFolder("folder without a tags file", lambda folder: (folder / "tags.csv").unlink(), "has no tags.csv"),
    BadFolder("tags.csv is a folder", _directory_of_tags, "has no tags.csv"),
    BadFolder("tags.csv and tags.parquet", lambda f: (f / "tags.parquet").write_bytes(b"") and None, "has both"),
    BadFolder("an image on two rows", _tags("image,tags\na.png,cat\nb.png,dog\na.png,cow\n")),
    BadFolder("one-hot", _tags("image,cat,dog\na.png,1,0\nb.png,0,1\n")),
    BadFolder("one-hot, an image twice", _tags("image,cat,dog\na.png,1,0\na.png,0,1\n"), "lists a.png twice"),
    BadFolder(
        "one-hot, another value in a cell",
        _tags("image,cat,dog,cow\na.png,1,0,0\nb.png,0,1,0\nA.png,1,0,0\nB.png,0,1,7\n"),
        "which else holds 0 and 1",
    ),
    BadFolder("0 and 1 for tags", _tags("image,label\na.png,1\nb.png,0\n"), "does not say what they mean"),
    BadFolder("a list as text for tags", _tags("image,tags\na.png,\"['cat', 'dog']\"\nb.png,dog\n")),
    BadFolder("an array as text for tags", _tags("image,tags\na.png,\"array(['cat', 'dog'])\"\nb.png,dog\n")),
    BadFolder("tags between bars", _tags("image,tags\na.png,cat|dog\nb.png,dog\n")),
    BadFolder("one tag or two", _tags('image,tags\na.png,"cat, dog"\nb.png,"cow, calf"\n'), "ambiguous whether"),
    BadFolder("names without extension", _tags("image,tags\na,cat\nb,dog\n")),
    BadFolder("names in other letters, on another system", _tags("image,tags\nC:\\x\\A.PNG,cat\nD:\\B.png,dog\n")),
    BadFolder("a name that two files fit", _added("A.png,dog\n", lambda i: _two_more(i)), "several files fit A.png"),
    BadFolder(
        "a confidence that is none", _tags("ImageID,LabelName,Confidence\na,cat,high\n"), "no number from 0 to 1"
    ),
    BadFolder("YOLO labels", _yolo("0 .5 .5 .2 .2\n", "names: [cat, dog]")),
    BadFolder("YOLO labels without names", _yolo("0 .5 .5 .2 .2\n", ""), "without names of classes"),
    BadFolder("YOLO classes of one name", _yolo("0 .5 .5 .2 .2\n", "names: [cat, cat]"), "calls two classes cat"),
    BadFolder("YOLO label with commas", _yolo("0,.5,.5,.2,.2\n", "names: [cat, dog]"), "is no YOLO label"),
    BadFolder("YOLO class without a name", _yolo("7 .5 .5 .2 .2\n", "names: [cat, dog]"), "holds class 7"),
    BadFolder(
        "XML files that declare entities", _xml('<!DOCTYPE a [<!ENTITY b "c">]>'), "is not a readable annotation"
    ),
    BadFolder("XML files", _xml("")),
    BadFolder("the same file under two ids", _added("images/a.png,dog\n"), "lists images/a.png twice"),
    BadFolder(
        "the same content in two files", _added("c.png,dog\n", lambda i: os.link(i / "a.png", i / "c.png")), images=3
    ),
    BadFolder("image that the tags file does not list", _added("", lambda i: saved()(i / "c.png")), "without tags"),
    BadFolder("masks beside the images", _masks),
    BadFolder("hidden files", _added("", lambda i: of_bytes(b"Mac OS X")(i / "._a.png"))),
    BadFolder("a run directory among the images", _run_directory),
    BadFolder("photo without an extension", _added("c,dog\n", lambda i: photo().save(i / "c", "PNG")), images=3),
    BadFolder(
        "captions for tags", _tags("image,tags\na.png,a dog on grass\nb.png,my old cat\n"), "most tags occur once"
    ),
    BadFolder("every image has every tag", _tags("image,tags\na.png,cat\nb.png,cat\n"), "no image teaches"),
    BadFolder("dangling link", _added("c.png,dog\n", lambda i: os.symlink("gone", i / "c.png")), "1 file not found"),
    BadFolder("dangling link without tags", _added("", lambda i: os.symlink("gone", i / "c.png")), "without tags"),
    BadFolder("folder named .jpg", _added("c.jpg,dog\n", lambda i: (i / "c.jpg").mkdir()), "1 file not found"),
    BadFolder("folder named .jpg without tags", _added("", lambda i: (i / "c.jpg").mkdir())),
    BadFolder("pipe named .png", _added(f"{FIFO},dog\n", lambda i: os.mkfifo(i / FIFO)), "1 file not found"),
    BadFolder("pipe named .png without tags", _added("", lambda i: os.mkfifo(i / FIFO))),
    BadFolder("tags for a file that is not there", _added("line\\x\x1b.png,dog\n"), "1 file not found"),
    BadFolder("listed name of 300 letters", _added("x" * 300 + ".png,dog\n"), "1 file not found"),
    BadFolder("listed name with a line break, missing file", _added('"x\ny.png",dog\n'), "1 file not found"),
    BadFolder("absolute name", _added("/etc/passwd.png,dog\n"), "1 file not found"),
    BadFolder("name with ..", _added("../images/a.png,dog\n"), "paths below the folder"),
    BadFolder("name with a null character", _added("x\0.png,dog\n"), "paths below the folder"),
    BadFolder(
        "name that is not UTF-8, without tags",
        lambda folder: open(os.fsencode(folder) + b"/images/\xff\xfe.png", "wb").close(),
        "without tags",
    ),
    BadFolder("row without tags", _tags("image,tags\na.png,\nb.png,cat\n")),
    BadFolder("empty tag strings only", _tags("image,tags\na.png, ; ;\nb.png,cat\n")),
    BadFolder("empty tag strings among others", _tags("image,tags\na.png,;cat;; \nb.png,cat\n")),
    BadFolder("tag that no other image has", _tags("image,tags\na.png,quokka\nb.png,cat\n")),
    BadFolder("1,000 tags", _tags(f"image,tags\na.png,{';'.join(map(str, range(1000)))}\nb.png,cat\n"), "at most 254"),
    BadFolder("tag that is markup", _tags("image,tags\na.png,[/red]\nb.png,<b>:smile:\n")),
    BadFolder("tag that is a path", _tags("image,tags\na.png,../../etc/passwd\nb.png,/tmp/x\n")),
    BadFolder("tag with terminal control codes", _tags("image,tags\na.png,\x1b[2J\x07\nb.png,cat\n")),
    BadFolder("UTF-16", _tags(BOTH, "utf-16"), "is not UTF-8"),
    BadFolder("UTF-16 without a mark", _tags(BOTH, "utf-16-le"), "is not UTF-8"),
    BadFolder("Latin-1", _tags("image,tags\na.png,caf\xe9\nb.png,cat\n", "latin-1"), "is not UTF-8"),
    BadFolder("UTF-8 with a mark", _tags(BOTH, "utf-8-sig")),
    BadFolder("CRLF", _tags(BOTH.replace("\n", "\r\n"))),
    BadFolder("CR alone", _tags(BOTH.replace("\n", "\r"))),
    BadFolder("semicolons for commas", _tags("image;tags\na.png;cat\nb.png;dog\n")),
    BadFolder("tabs for commas", _tags(BOTH.replace(",", "\t"))),
    BadFolder("commas between tags", _tags("image,tags\na.png,cat,dog\n"), "has 3 values where the header has 2"),
    BadFolder("no header", _tags("a.png,cat\nb.png,dog\n"), "has no header"),
    BadFolder("empty tags file", _tags(""), "must have one column"),
    BadFolder("header alone", _tags("image,tags\n"), "lists no images"),
    BadFolder("missing column", _tags("image,width\na.png,64\n"), "must have one column tags"),
    BadFolder("column twice", _tags("image,tags,tags\na.png,cat,dog\n"), "must have one column tags"),
    BadFolder("blank rows", _tags("image,tags\n\na.png,cat\n\n\nb.png,cat\n")),
    BadFolder("row of commas", _tags("image,tags\n,\n"), "names no image"),
    BadFolder("quote that never closes", _tags('image,tags\na.png,"cat\n'), "cannot be read as CSV"),
    BadFolder("Parquet: numbers for names", _parquet(image=[1, 2], tags=["cat", "dog"]), "2 files not found"),
    BadFolder("Parquet: numbers for tags", _parquet(image=NAMES, tags=[[1], [2]])),
    BadFolder("Parquet: dates for tags", _parquet(image=NAMES, tags=pa.array([1, 2], pa.date32())), "holds no text in"),
    BadFolder("Parquet: null names", _parquet(image=pa.array([None, "b.png"]), tags=["cat", "dog"]), "names no image"),
    BadFolder("Parquet: null tags", _parquet(image=NAMES, tags=pa.array([None, "cat"]))),
    BadFolder("Parquet: text that is not UTF-8", _parquet(image=NOT_UTF8, tags=["cat", "dog"]), "cannot be read"),
    BadFolder("Parquet: missing column", _parquet(image=NAMES), "must have one column tags"),
    BadFolder("Parquet: no rows", _parquet(image=NAMES[:0], tags=NAMES[:0]), "lists no images"),
    BadFolder("Parquet: truncated", _parquet_bytes(_half_parquet()), "cannot be read as Parquet"),
    BadFolder("CSV named .parquet", _parquet_bytes(BOTH.encode()), "cannot be read as Parquet"),
]
