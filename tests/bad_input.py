"""A corpus of bad input, made by code: every kind and its outcome. `python -m tests.bad_input` prints the table.

What a run meets is a photo (`IMAGES`), a folder with its tags (`FOLDERS`), or knobs and weights (`SETTINGS`). It gets
a label, a row of errors with its `kind`, or exit code 2 with one sentence before anything is computed.
"""

from __future__ import annotations

import csv
import io
import os
import pickle
import struct
import zlib
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
from PIL import Image

from tests.deep import write_tiff

LABEL = "label"
WIDTH, HEIGHT = 64, 48  # of a photo with no other fault


@dataclass(frozen=True)
class BadImage:
    """A file among the images. `gets` is LABEL or the kind of its row of errors."""

    kind: str
    file: str
    make: Callable[[Path], None]
    gets: str = LABEL
    size: tuple[int, int] = (WIDTH, HEIGHT)  # of its label: width, height

    @property
    def outcome(self) -> str:
        return "a label" if self.gets == LABEL else f"errors: `{self.gets}`"


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


@dataclass(frozen=True)
class BadSetting:
    """A file for an option, with bad content."""

    kind: str
    option: str
    make: Callable[[Path], None]
    refused: str

    @property
    def outcome(self) -> str:
        return f"exit 2: “… {self.refused} …”"


def photo(width: int = WIDTH, height: int = HEIGHT) -> Image.Image:
    """Noise with a bright square in it."""
    pixels = np.random.default_rng(width * height).integers(0, 120, (height, width, 3), np.uint8)
    pixels[height // 4 : height // 2 + 1, width // 4 : width // 2 + 1] = (250, 200, 40)
    return Image.fromarray(pixels)


def _saved(mode: str = "RGB", **options: object) -> Callable[[Path], None]:
    return lambda path: photo().convert(mode).save(path, **options)


def _plain(width: int, height: int) -> Callable[[Path], None]:
    return lambda path: Image.new("1", (width, height)).save(path)


def _as(name: str) -> Callable[[Path], None]:
    """A photo under another format's name."""
    return lambda path: photo().save(path, format=name)


def _bytes(data: bytes) -> Callable[[Path], None]:
    return lambda path: path.write_bytes(data) and None


def _half(path: Path) -> None:
    photo().save(path)
    path.write_bytes(path.read_bytes()[: path.stat().st_size // 2])


def _sixteen_bits(path: Path) -> None:
    Image.fromarray(np.arange(HEIGHT * WIDTH, dtype=np.uint16).reshape(HEIGHT, WIDTH) * 20).save(path)


def _deep(kind: type, top: int) -> Callable[[Path], None]:
    """A ramp up to `top`."""
    return lambda path: Image.fromarray(_ramp(kind, top)).save(path)


def _deep_tiff(kind: type, top: float, channels: int = 1) -> Callable[[Path], None]:
    ramp = _ramp(kind, top)
    return lambda path: (
        write_tiff(path, np.dstack([ramp] * channels) if channels > 1 else ramp, "><"[kind is np.uint32]) and None
    )


def _ramp(kind: type, top: float) -> np.ndarray:
    return np.linspace(0, top, HEIGHT * WIDTH).reshape(HEIGHT, WIDTH).astype(kind)


def _hot(path: Path) -> None:
    ramp = _ramp(np.uint16, 1023)
    ramp[5, 5] = 65535
    Image.fromarray(ramp).save(path)


def _holes(path: Path) -> None:
    ramp = _ramp(np.float32, 40)
    ramp[:3, 0] = np.nan, np.inf, -np.inf
    write_tiff(path, ramp)


def _nothing(path: Path) -> None:
    write_tiff(path, np.full((HEIGHT, WIDTH), np.nan, np.float32))


def _planes(path: Path) -> None:
    write_tiff(path, np.dstack([_ramp(np.uint16, 4095)] * 3), deflated=True, planes=True)


def _animated(path: Path) -> None:
    frames = [photo(), photo().rotate(90), photo().rotate(180)]
    frames[0].save(path, save_all=True, append_images=frames[1:])


def _rotated(path: Path) -> None:
    exif = Image.Exif()
    exif[0x0112] = 6
    photo().save(path, exif=exif)


def _damaged_exif(path: Path) -> None:
    photo().save(path, exif=b"Exif\0\0MM\0*\xff\xff\xff\xff" + b"\xff" * 32)


def _png(width: int, height: int, *chunks: tuple[bytes, bytes]) -> bytes:
    """A PNG whose header claims this size, with little content."""
    header = (b"IHDR", struct.pack(">IIBBBBB", width, height, 8, 0, 0, 0, 0))
    content = b"\x89PNG\r\n\x1a\n"
    for name, data in (header, *chunks, (b"IDAT", zlib.compress(bytes(100))), (b"IEND", b"")):
        content += struct.pack(">I", len(data)) + name + data + struct.pack(">I", zlib.crc32(name + data))
    return content


def _unreadable(path: Path) -> None:
    photo().save(path)
    path.chmod(0)


EPS = b"%!PS-Adobe-3.0 EPSF-3.0\n%%BoundingBox: 0 0 64 48\n%%EndComments\nshowpage\n%%EOF\n"
TEXT_BOMB = (b"zTXt", b"Comment\0\0" + zlib.compress(bytes(50_000_000)))
PERMISSION = "no permission to read"

IMAGES = [
    BadImage("truncated JPEG", "half.jpg", _half, "unreadable"),
    BadImage("truncated PNG", "half.png", _half, "unreadable"),
    BadImage("zero bytes", "empty.jpg", _bytes(b""), "unreadable"),
    BadImage("text named .jpg", "text.jpg", _bytes(b"not an image\n"), "unreadable"),
    BadImage("web page named .jpg", "page.jpg", _bytes(b"<!doctype html><h1>404</h1>"), "unreadable"),
    BadImage("PostScript named .jpg (never run)", "script.jpg", _bytes(EPS), "unreadable"),
    BadImage("PNG named .jpg", "png.jpg", _as("PNG")),
    BadImage("JPEG named .PNG", "jpeg.PNG", _as("JPEG")),
    BadImage("CMYK", "cmyk.jpg", _saved("CMYK")),
    BadImage("16 bits a sample", "sixteen.png", _sixteen_bits),
    BadImage("10 bits in 16: scaled by their range", "ten.png", _deep(np.uint16, 1023)),
    BadImage("16 bits with one hot pixel", "hot.png", _hot),
    BadImage("16 bits a colour", "sixteen-rgb.tif", _deep_tiff(np.uint16, 4095, 3)),
    BadImage("signed 16 bits, big-endian", "signed.tif", _deep_tiff(np.int16, 3000)),
    BadImage("32-bit integers", "integers.tif", _deep_tiff(np.uint32, 2**32 - 1)),
    BadImage("floats", "floats.tif", _deep_tiff(np.float32, 1)),
    BadImage("floats, some of them NaN and infinite", "nan.tif", _holes),
    BadImage("floats, all of them NaN", "no-value.tif", _nothing, "unreadable"),
    BadImage("64-bit floats", "doubles.tif", _deep_tiff(np.float64, 1), "unreadable"),
    BadImage("16 bits a colour in compressed planes", "planes.tif", _planes, "unreadable"),
    BadImage("AVIF", "photo.avif", _saved()),
    BadImage("HEIC cut off", "cut.heic", _bytes(b"\0\0\0\x1cftypheic\0\0\0\0mif1heicmiaf"), "unreadable"),
    BadImage("palette", "palette.png", _saved("P")),
    BadImage("alpha", "alpha.png", _saved("RGBA")),
    BadImage("gray", "gray.jpg", _saved("L")),
    BadImage("gray with alpha", "gray-alpha.png", _saved("LA")),
    BadImage("black and white", "bilevel.png", _saved("1")),
    BadImage("1 × 1", "dot.png", _plain(1, 1), size=(1, 1)),
    BadImage("1 × 5,000", "line.png", _plain(1, 5000), size=(1, 5000)),
    BadImage("5,000 × 1", "lying.png", _plain(5000, 1), size=(5000, 1)),
    BadImage("12,000 × 9,000", "huge.png", _plain(12000, 9000), size=(12000, 9000)),
    BadImage("header of 60,000 × 60,000", "bomb.png", _bytes(_png(60000, 60000)), "too-large"),
    BadImage("text chunk that unpacks to 50 MB", "text-bomb.png", _bytes(_png(8, 8, TEXT_BOMB)), "unreadable"),
    BadImage("animated: its first frame", "animated.gif", _animated),
    BadImage("several pages: the first", "pages.tif", _animated),
    BadImage("rotated by EXIF: as people see it", "rotated.jpg", _rotated, size=(HEIGHT, WIDTH)),
    BadImage("damaged EXIF", "exif.jpg", _damaged_exif),
    BadImage(PERMISSION, "secret.png", _unreadable, "unreadable"),
    BadImage("name with a line break", "line\nbreak.png", _saved()),
    BadImage("name with an emoji", "fox \N{FOX FACE}.png", _saved()),
    BadImage("name of 255 bytes", "é" * 125 + "x.png", _saved()),
    BadImage("name with a leading dash", "-rf.png", _saved()),
    BadImage("name with comma, semicolon and quote", 'a,b;c".png', _saved()),
    BadImage("name that is a pattern", "[a]*?{b}%20#x.png", _saved()),
    BadImage("name that is markup", "<img src=x onerror=alert(1)>[red].png", _saved()),
    BadImage("name with terminal control codes", "\x1b[2J\x07.png", _saved()),
]


def write_images(folder: Path, images: list[BadImage], tag: str = "cat") -> None:
    """Write a data folder that holds these images."""
    (folder / "images").mkdir(parents=True)
    for image in images:
        image.make(folder / "images" / image.file)
    with (folder / "tags.csv").open("w", newline="", encoding="utf-8") as stream:
        csv.writer(stream).writerows([("image", "tags"), *((image.file, tag) for image in images)])


def write_good(folder: Path) -> None:
    """Write a correct data folder: two images, two tags."""
    (folder / "images").mkdir(parents=True)
    for name in ("a.png", "b.png"):
        photo().save(folder / "images" / name)
    (folder / "tags.csv").write_text("image,tags\na.png,cat\nb.png,dog;cat\n")


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
        _saved()(images / folder / "a.png")


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
    BadFolder("image that the tags file does not list", _added("", lambda i: _saved()(i / "c.png")), "without tags"),
    BadFolder("masks beside the images", _masks),
    BadFolder("hidden files", _added("", lambda i: _bytes(b"Mac OS X")(i / "._a.png"))),
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


class _Code:
    """Code in a pickle, which must never run: it would write a file."""

    def __init__(self, trace: Path) -> None:
        self.trace = trace

    def __reduce__(self) -> tuple[object, tuple[str, str]]:
        return open, (str(self.trace), "w")


def _text(content: str) -> Callable[[Path], None]:
    return lambda path: path.write_text(content) and None


def _code(path: Path) -> None:
    path.write_bytes(pickle.dumps({"w": _Code(path.with_suffix(".trace"))}))


def _other_network(path: Path) -> None:
    import torch

    torch.save({"w": torch.zeros(1)}, path)


def _not_finite(path: Path) -> None:
    import torch

    from irnet_ray.networks.backbones import BACKBONES

    state = BACKBONES["lite0"].weights()
    first = next(name for name, tensor in state.items() if tensor.is_floating_point())
    state[first][(0,) * state[first].ndim] = float("nan")
    torch.save(state, path)


CONFIG, WEIGHTS, CLASSES, SYNONYMS = "--config", "--weights", "--classes", "--synonyms"
SETTINGS = [
    BadSetting("config: no such file", CONFIG, lambda path: None, "No config file"),
    BadSetting("config: a folder", CONFIG, lambda path: path.mkdir(), "No config file"),
    BadSetting("config: unknown key", CONFIG, _text("irnet: {epoch: 3}"), "Unknown key 'irnet.epoch'"),
    BadSetting("config: a word for a number", CONFIG, _text("irnet: {epochs: many}"), "Bad value for 'irnet.epochs'"),
    BadSetting("config: out of range", CONFIG, _text("max_side: 3"), "Bad value for 'max_side'"),
    BadSetting("config: not a number", CONFIG, _text("irnet: {rate: .nan}"), "Bad value for 'irnet.rate'"),
    BadSetting("config: infinity", CONFIG, _text("classifier: {rate: .inf}"), "Bad value for 'classifier.rate'"),
    BadSetting("config: a window upside down", CONFIG, _text("window: [4095, 0]"), "Bad value for 'window'"),
    BadSetting("config: a number for a section", CONFIG, _text("irnet: 3"), "Bad value for 'irnet'"),
    BadSetting("config: a list", CONFIG, _text("[1, 2]"), "expected sections and keys"),
    BadSetting("config: not text", CONFIG, _bytes(b"\x89PNG\xff\xfe\0"), "is not YAML or JSON"),
    BadSetting("config: broken YAML", CONFIG, _text("irnet: {epochs: 3"), "is not YAML or JSON"),
    BadSetting("config: Python objects", CONFIG, _text("!!python/object/apply:os.getcwd []"), "is not YAML or JSON"),
    BadSetting("config: nested without end", CONFIG, _text("[" * 5000), "is not YAML or JSON"),
    BadSetting("weights: no such file", WEIGHTS, lambda path: None, "No weights file at"),
    BadSetting("weights: a folder", WEIGHTS, lambda path: path.mkdir(), "No weights file at"),
    BadSetting("weights: text", WEIGHTS, _text("hello"), "cannot be read as weights"),
    BadSetting("weights: a pickle with code (never run)", WEIGHTS, _code, "cannot be read as weights"),
    BadSetting("weights: of another network", WEIGHTS, _other_network, "weights of another network"),
    BadSetting("weights: not finite", WEIGHTS, _not_finite, "is not finite everywhere"),
    BadSetting("classes: no such file", CLASSES, lambda path: None, "does not exist"),
    BadSetting("classes: no name", CLASSES, _text("\n"), "names no class"),
    BadSetting("classes: a name twice", CLASSES, _text("cat\ndog\ncat\n"), "names cat twice"),
    BadSetting("classes: not text", CLASSES, _bytes(b"\x89PNG\xff"), "is not UTF-8 text"),
    BadSetting("synonyms: of two classes", SYNONYMS, _text("pet,cat\npet,dog\n"), "a spelling of 'cat' and of 'dog'"),
    BadSetting("synonyms: of a spelling", SYNONYMS, _text("a,b\nb,c\n"), "name the last class at once"),
]


def table() -> str:
    """All kinds with their outcomes, in Markdown."""
    titles = {"An image": IMAGES, "A folder and its tags": FOLDERS, "Knobs, weights and classes": SETTINGS}
    parts = []
    for title, kinds in titles.items():
        rows = [f"| {bad.kind} | {bad.outcome} |" for bad in kinds]
        parts.append("\n".join([f"| {title} | what it gets |", "|---|---|", *rows]))
    return "\n\n".join(parts)


if __name__ == "__main__":
    print(table())
