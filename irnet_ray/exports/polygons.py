"""Masks as polygons that lose nothing: outlines along pixel edges, and one closed path through all of them.

Points are corners of pixels: that of row y and column x is the square from (x, y) to (x + 1, y + 1). Whatever
rasterizes a polygon at the centers of pixels gets the mask back.
"""

from __future__ import annotations

import numpy as np
from scipy.spatial import cKDTree

NEIGHBOURS = 16  # asked for at first: about half of them lie before


def outlines(mask_HW: np.ndarray) -> list[np.ndarray]:
    """Closed outlines of a bool (H, W) mask: int64 (N, 2) corners as (x, y), the inside on the right-hand side.

    Parts run clockwise as seen and their holes the other way. Pixels that touch at a corner are of one part. The
    outlines are in the order of their topmost, then leftmost, edge.
    """
    padded = np.pad(np.asarray(mask_HW, dtype=np.int8), 1)
    below = np.diff(padded, axis=0)  # 1 where the inside lies below an edge, -1 where it lies above
    turn = np.diff(below, axis=1)  # 0 where no outline turns, 2 or -2 where two of them touch
    y, x = np.nonzero(turn)
    kind = turn[y, x]
    y, x, kind = (np.repeat(values, np.abs(kind)) for values in (y, x, kind))
    count = len(y)
    # Corners in reading order are, two by two, the ends of horizontal edges; in order of columns, of vertical ones.
    # Where outlines touch, the order of the corner's two copies decides which edges meet in one.
    number = np.arange(count)
    columns = np.lexsort((np.where(kind == 2, -number, number), y, x))
    above = np.empty(count, dtype=np.int64)  # the other end of a corner's vertical edge
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
    """One closed path through all `outlines`, int64 (N, 2): cuts of no width lead to each other part or hole and back.

    Cuts run along pixel edges too, so that they pass no center of a pixel. Each starts at the first corner of its
    outline and ends at the nearest corner of those before. Raises ValueError where there are no outlines.
    """
    if not loops:
        raise ValueError("an empty mask has no outline")
    starts = np.cumsum([0, *map(len, loops)])
    corners = np.concatenate(loops)
    cuts: dict[int, list[int]] = {}  # outlines to visit from a corner
    for child, place in enumerate(_nearest_before(corners, starts[1:-1]).tolist(), start=1):
        cuts.setdefault(place, []).append(child)
    # From the last on: an outline is whole, with all that hangs on it, before it is put into an earlier one.
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
    """For each start, an index into `corners`: the corner nearest to it of those before it."""
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
    """One polygon for a bool (H, W) mask with however many parts and holes: int64 (N, 2) corners as (x, y), N >= 4.

    Raises:
        ValueError: the mask is empty.
    """
    return join(outlines(mask_HW))
