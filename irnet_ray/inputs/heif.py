"""Photos in HEIC and AVIF, which not every installation of Pillow reads."""

from __future__ import annotations

from functools import cache

# Brands that the first bytes of a file name: the format of its pictures, or of those in the list of compatible ones.
_BRANDS = {b"avif": "AVIF", b"avis": "AVIF"} | dict.fromkeys(
    (b"heic", b"heix", b"heim", b"heis", b"hevc", b"hevx", b"hevm", b"hevs"), "HEIC"
)
_NEEDS = {
    "HEIC": "pillow-heif: pip install 'irnet-ray[heif]'",
    "AVIF": "a Pillow with AVIF, 11.3 or later: pip install --upgrade pillow",
}
HEADER = 64  # bytes that the brands are in


def format_of(header: bytes) -> str | None:
    """ "HEIC" or "AVIF" by the first bytes of a file, None for another format."""
    if header[4:8] != b"ftyp":
        return None
    length = min(int.from_bytes(header[:4], "big"), len(header))
    brands = [header[8:12], *(header[start : start + 4] for start in range(16, length - 3, 4))]
    return next((_BRANDS[brand] for brand in brands if brand in _BRANDS), None)


def missing(kind: str) -> str:
    """What an error says of a file of this format that cannot be opened here."""
    return f"is {kind}, which needs {_NEEDS[kind]}"


@cache
def can_read_heic() -> bool:
    """Let Pillow open HEIC by pillow-heif; False where that is not installed."""
    try:
        from pillow_heif import register_heif_opener
    except ImportError:
        return False
    register_heif_opener()
    return True
