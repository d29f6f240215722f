"""Masks as polygons without loss: outlines along pixel edges, and one closed path through all outlines of a mask.

Points are corners of pixels. The pixel of row y and column x is the square from (x, y) to (x + 1, y + 1). A rasterizer
that tests the centers of pixels gets the mask back.
"""

from __future__ import annotations

import numpy as np
from scipy.spatial import cKDTree

NEIGHBOURS = 16  # of the first query for nearest corners; about half of them belong to earlier outlines


def outlines(mask_HW: np.ndarray) -> list[np.ndarray]:
    """Closed outlines of a bool (H, W) mask, each int64 (N, 2) corners as (x, y), with the inside on the right.

    On the screen, parts run clockwise and holes counterclockwise. Pixels that touch at a corner belong to one part.
    Outlines are sorted by their topmost, then leftmost, edge.
    """
    padded = np.pad(np.asarray(mask_HW, dtype=np.int8), 1)
    below = np.diff(padded, axis=0)  # 1: the inside is below the edge; -1: it is above
    turn = np.diff(below, axis=1)  # 0: no outline turns here; 2 or -2: two outlines touch here
    y, x = np.nonzero(turn)
    kind = turn[y, x]
    y, x, kind = (np.repeat(values, np.abs(kind)) for values in (y, x, kind))
    count = len(y)
    # In reading order, every two corners are the ends of a horizontal edge; in order of columns, of a vertical edge.
    # Where outlines touch, the corner is there twice, and the order of the two decides which edges are joined.
    number = np.arange(count)
    columns = np.lexsort((np.where(kind == 2, -number, number), y, x))
    above = np.empty(count, dtype=np.int64)  # the other end of each corner's vertical edge
    above[columns[0::2]], above[columns[1::2]] = columns[1::2], columns[0::2]
    left = number[0::2]
    tails = np.where(below[y[left], x[left] + 1] > 0, left, left + 1)
    onward = dict(zip(tails.tolist(), above[tails ^ 1].tolist(), strict=True))
    found = []
    for tail in tails.tolist():
        loop = []
        while tail in onward:
            loop += [tail, tail ^ 1]
            tail = onward.pop(tail)
        if loop:
            found.append(np.stack([x[loop], y[loop]], axis=1))
    return found


def join(loops: list[np.ndarray]) -> np.ndarray:
    """One closed path through all `outlines`, int64 (N, 2): cuts of zero width lead to each part or hole and back.

    Cuts run along pixel edges, so that none crosses the center of a pixel. A cut connects the first corner of its
    outline with the nearest corner of the earlier outlines. Raises ValueError if there are no outlines.
    """
    if not loops:
        raise ValueError("an empty mask has no outline")
    starts = np.cumsum([0, *map(len, loops)])
    corners = np.concatenate(loops)
    cuts: dict[int, list[int]] = {}  # corner ▶ outlines to visit from there
    for child, place in enumerate(_nearest_before(corners, starts[1:-1]).tolist(), start=1):
        cuts.setdefault(place, []).append(child)
    # Backwards, so that an outline already contains the outlines visited from it when it is put into an earlier one.
    paths: dict[int, list[tuple[int, int]]] = {}
    for number in range(len(loops) - 1, -1, -1):
        path: list[tuple[int, int]] = []
        for place, (x, y) in enumerate(loops[number].tolist(), start=int(starts[number])):
            path.append((x, y))
            for child in cuts.get(place, []):
                visited = paths.pop(child)
                bend = (visited[0][0], y)
                path += [bend, *visited, visited[0], bend, (x, y)]
        paths[number] = path
    points = np.array(paths[0])
    return points[np.any(points != np.roll(points, 1, axis=0), axis=1)]


def _nearest_before(corners: np.ndarray, starts: np.ndarray) -> np.ndarray:
    """For each start, an index into `corners`: the nearest one among the corners before it."""
    tree = cKDTree(corners)
    nearest = np.zeros(len(starts), dtype=np.int64)
    left, neighbours = np.arange(len(starts)), NEIGHBOURS
    while len(left):
        neighbours = min(neighbours, len(corners))
        _, places = tree.query(corners[starts[left]], neighbours, p=1)
        before = places < starts[left, None]
        known = before.any(axis=1)
        nearest[left[known]] = places[known, before[known].argmax(axis=1)]
        left, neighbours = left[~known], 4 * neighbours
    return nearest


def polygon(mask_HW: np.ndarray) -> np.ndarray:
    """One polygon for a bool (H, W) mask with any number of parts and holes: int64 (N, 2) corners as (x, y), N >= 4.

    Raises:
        ValueError: the mask is empty.
    """
    return join(outlines(mask_HW))
