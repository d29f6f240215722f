"""Text for people: aligned tables, counts with their noun, sizes, durations, and names that fit on one line."""

from __future__ import annotations

from collections.abc import Collection, Sequence

from irnet_ray.errors import printable


def table(rows: Sequence[Sequence[str]], left: Collection[int] = (0,), width: int | None = None) -> list[str]:
    """Lines of aligned columns, two spaces apart.

    Args:
        rows: cells, as many in each row. The head is a row like any other. Cells may come from files of other people:
            what could control the terminal is escaped.
        left: numbers of the columns that are aligned to the left; the others are aligned to the right.
        width: longest line; cells of the first column are cut to keep to it. None for no limit.
    """
    cells = [[printable(cell) for cell in row] for row in rows]
    widths = [max(map(len, column)) for column in zip(*cells, strict=True)]
    if width is not None:
        widths[0] = min(widths[0], width - sum(widths[1:]) - 2 * len(widths[1:]))
        cells = [[cut(first, widths[0]), *rest] for first, *rest in cells]
    return [
        "  ".join(
            cell.ljust(size) if column in left else cell.rjust(size)
            for column, (cell, size) in enumerate(zip(row, widths, strict=True))
        ).rstrip()
        for row in cells
    ]


def count(number: int, noun: str) -> str:
    """A number of things: `1 file`, `2,000 files`."""
    return f"{number:,} {noun}" + ("" if number == 1 else "s")


def names(found: Sequence[str], shown: int = 3) -> str:
    """The first few names, and how many more there are: `a, b, c and 2 more`."""
    rest = len(found) - shown
    return ", ".join(found[:shown]) + (f" and {rest:,} more" if rest > 0 else "")


def bytes_text(number: float) -> str:
    """A number of bytes with a decimal unit: `512 B`, `1.2 GB`."""
    if number < 1000:
        return f"{number:.0f} B"
    for unit in ("kB", "MB", "GB"):
        number /= 1000
        if number < 1000:
            return f"{number:.1f} {unit}"
    return f"{number / 1000:.1f} TB"


def duration(seconds: float) -> str:
    """Minutes and seconds, `4:05`; with hours from one hour on, `1:04:05`."""
    minutes, rest = divmod(round(seconds), 60)
    hours, minutes = divmod(minutes, 60)
    return f"{hours}:{minutes:02d}:{rest:02d}" if hours else f"{minutes}:{rest:02d}"


def one_line(name: str) -> str:
    """A name on one line, whatever white space and control characters it holds."""
    return printable(" ".join(name.split()))


def cut(text: str, width: int) -> str:
    """The text, shortened to `width` characters with "..." at its end if it is longer."""
    return text if len(text) <= width else text[: max(width - 3, 0)] + "..."
