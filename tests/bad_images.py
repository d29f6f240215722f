"""Bad images, made by code: each kind, and whether it gets a label or a row of errors."""

from __future__ import annotations

import csv
import struct
import zlib
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import numpy as np
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


def photo(width: int = WIDTH, height: int = HEIGHT) -> Image.Image:
    """Noise with a bright square in it."""
    pixels = np.random.default_rng(width * height).integers(0, 120, (height, width, 3), np.uint8)
    pixels[height // 4 : height // 2 + 1, width // 4 : width // 2 + 1] = (250, 200, 40)
    return Image.fromarray(pixels)


def saved(mode: str = "RGB", **options: object) -> Callable[[Path], None]:
    return lambda path: photo().convert(mode).save(path, **options)


def _plain(width: int, height: int) -> Callable[[Path], None]:
    return lambda path: Image.new("1", (width, height)).save(path)


def _as(name: str) -> Callable[[Path], None]:
    """A photo under another format's name."""
    return lambda path: photo().save(path, format=name)


def of_bytes(data: bytes) -> Callable[[Path], None]:
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
    BadImage("zero bytes", "empty.jpg", of_bytes(b""), "unreadable"),
    BadImage("text named .jpg", "text.jpg", of_bytes(b"not an image\n"), "unreadable"),
    BadImage("web page named .jpg", "page.jpg", of_bytes(b"<!doctype html><h1>404</h1>"), "unreadable"),
    BadImage("PostScript named .jpg (never run)", "script.jpg", of_bytes(EPS), "unreadable"),
    BadImage("PNG named .jpg", "png.jpg", _as("PNG")),
    BadImage("JPEG named .PNG", "jpeg.PNG", _as("JPEG")),
    BadImage("CMYK", "cmyk.jpg", saved("CMYK")),
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
    BadImage("AVIF", "photo.avif", saved()),
    BadImage("HEIC cut off", "cut.heic", of_bytes(b"\0\0\0\x1cftypheic\0\0\0\0mif1heicmiaf"), "unreadable"),
    BadImage("palette", "palette.png", saved("P")),
    BadImage("alpha", "alpha.png", saved("RGBA")),
    BadImage("gray", "gray.jpg", saved("L")),
    BadImage("gray with alpha", "gray-alpha.png", saved("LA")),
    BadImage("black and white", "bilevel.png", saved("1")),
    BadImage("1 × 1", "dot.png", _plain(1, 1), size=(1, 1)),
    BadImage("1 × 5,000", "line.png", _plain(1, 5000), size=(1, 5000)),
    BadImage("5,000 × 1", "lying.png", _plain(5000, 1), size=(5000, 1)),
    BadImage("12,000 × 9,000", "huge.png", _plain(12000, 9000), size=(12000, 9000)),
    BadImage("header of 60,000 × 60,000", "bomb.png", of_bytes(_png(60000, 60000)), "too-large"),
    BadImage("text chunk that unpacks to 50 MB", "text-bomb.png", of_bytes(_png(8, 8, TEXT_BOMB)), "unreadable"),
    BadImage("animated: its first frame", "animated.gif", _animated),
    BadImage("several pages: the first", "pages.tif", _animated),
    BadImage("rotated by EXIF: as people see it", "rotated.jpg", _rotated, size=(HEIGHT, WIDTH)),
    BadImage("damaged EXIF", "exif.jpg", _damaged_exif),
    BadImage(PERMISSION, "secret.png", _unreadable, "unreadable"),
    BadImage("name with a line break", "line\nbreak.png", saved()),
    BadImage("name with an emoji", "fox \N{FOX FACE}.png", saved()),
    BadImage("name of 255 bytes", "é" * 125 + "x.png", saved()),
    BadImage("name with a leading dash", "-rf.png", saved()),
    BadImage("name with comma, semicolon and quote", 'a,b;c".png', saved()),
    BadImage("name that is a pattern", "[a]*?{b}%20#x.png", saved()),
    BadImage("name that is markup", "<img src=x onerror=alert(1)>[red].png", saved()),
    BadImage("name with terminal control codes", "\x1b[2J\x07.png", saved()),
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
