"""One-hot tables: a column for each tag, with 1 where an image has it, as Kaggle and Roboflow write them."""

from __future__ import annotations

from collections.abc import Sequence

from irnet_ray.errors import UserError, printable
from irnet_ray.inputs.columns import state, stray
from irnet_ray.inputs.openimages import States
from irnet_ray.inputs.raw_table import RawTable
from irnet_ray.text import count, cut, names


def read(raw: RawTable, tags: Sequence[str], others: Sequence[str], notes: list[str]) -> list[States]:
    """Present and unknown tags of each row. The columns hold only what `columns.state` knows.

    An empty cell means unknown where 0 says "absent", and "absent" where only 1 is written. -1 means unknown, and
    "absent" where there is no 0. Raises UserError for one of the other columns that a single mistake keeps from being a
    tag: without a word, a class would be lost.
    """
    for name in others:
        values = raw.values(name)
        if (row := stray(name, values)) is not None:
            raise UserError(
                f"{raw.path}, {raw.place(row)} holds {cut(printable(str(values[row])), 40)} in the column {name}, "
                "which else holds 0 and 1: correct it, or delete the column."
            )
    present: list[list[str]] = [[] for _ in range(raw.rows)]
    unknown: list[list[str]] = [[] for _ in range(raw.rows)]
    columns = {tag: [state(value) for value in raw.values(tag)] for tag in tags}
    has_no = any(value is False for values in columns.values() for value in values)
    for tag, values in columns.items():
        for row, value in enumerate(values):
            if value is True:
                present[row].append(tag)
            elif value is not False and has_no:
                unknown[row].append(tag)
    notes.append(f"the header names the tags, one column each: {names(list(tags), 5)}")
    open_cells = sum(map(len, unknown))
    if open_cells:
        notes.append(f"{count(open_cells, 'cell')} empty or -1 beside 0 and 1: taken as unknown")
    return [States(known, tuple(open_)) for known, open_ in zip(present, unknown, strict=True)]
