"""Readings made by hand, for tests of what looks at them."""

from __future__ import annotations

from collections.abc import Sequence

import pyarrow as pa

from irnet_ray import tables
from irnet_ray.inputs.folder import Reading
from irnet_ray.inputs.listing import Account, LeftOut
from irnet_ray.inputs.overview import Overview


def overview(
    *tags: Sequence[str],
    unknown: Sequence[Sequence[str] | None] = (),
    contents: Sequence[str | None] = (),
    sizes: Sequence[tuple[int, int] | None] = (),
    format: str = "tags file",
    left_out: LeftOut | None = None,
) -> Overview:
    """Images `00`, `01`, ... with these tags; their bytes differ, and they are 8 x 6 pixels."""
    rows = []
    for number, names in enumerate(tags):
        width, height = (sizes[number] if sizes else (8, 6)) or (None, None)
        rows.append(
            {
                "image_id": f"{number:02d}",
                "uri": f"/{number:02d}",
                "tags": list(names),
                "width": width,
                "height": height,
                "content": contents[number] if contents else str(number),
                "shard": 0,
                "tags_unknown": unknown[number] if unknown else None,
            }
        )
    left = left_out or LeftOut()
    account = Account(len(rows) + left.total, len(rows), left)
    return Overview(Reading(pa.Table.from_pylist(rows, tables.IMAGES), format, "it holds tags.csv", account, []))
