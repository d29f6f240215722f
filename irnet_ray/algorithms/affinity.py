"""Pairs of nearby pixels and the semantic affinity between them (paper 4.2, 4.4; Eq. 2, 7).

Shape legend: H, W pixels at the network's stride; P offsets, one per kind of pair; ``...`` any leading
dimensions.
"""

from collections.abc import Iterable, Iterator
from functools import lru_cache
from typing import NamedTuple

import torch
from torch import Tensor

Offset = tuple[int, int]


def offsets(radius: int) -> list[Offset]:
    """Offsets (dy, dx) to every pixel closer than ``radius`` (Eq. 2), each unordered pair once.

    Only the half plane below (dy > 0, or dy = 0 and dx > 0) is listed: 34 offsets at radius 5, 152 at
    radius 10. Raises ValueError for a radius below 1.
    """
    if radius < 1:
        raise ValueError(f"radius must be at least 1 pixel, got {radius}.")
    return [
        (dy, dx)
        for dy in range(radius)
        for dx in range(-radius + 1, radius)
        if (dy > 0 or dx > 0) and dy * dy + dx * dx < radius * radius
    ]


def affinities(boundary: Tensor, radius: int, beta: float = 1) -> Tensor:
    """Affinity of each pixel to the one an offset away, to the power of beta (Eq. 7, and the power of Eq. 12).

    The affinity is 1 minus the largest boundary on the line between the two, both ends included.

    boundary: float (..., H, W) in [0, 1]. Returns (..., P, H, W) of the same dtype. [p, y, x] belongs to the pair
    (y, x), (y + dy, x + dx) with (dy, dx) = ``offsets(radius)[p]``, and is 0 if the second pixel is outside the image.

    Raises ValueError for fewer than 2 dimensions, and for a boundary outside [0, 1] (NaN included).
    """
    if boundary.ndim < 2:
        raise ValueError(f"boundary must be (..., H, W), got {tuple(boundary.shape)}.")
    if not ((boundary >= 0) & (boundary <= 1)).all():
        raise ValueError(
            "boundary must be finite and in [0, 1], got values outside it: pass it through a sigmoid first."
        )
    pairs = offsets(radius)
    height, width = boundary.shape[-2:]
    result = boundary.new_zeros(*boundary.shape[:-2], len(pairs), height, width)
    # The power keeps the order, so it can come first, where there are fewer numbers.
    for offset, largest in line_maxima(-((1 - boundary) ** beta), pairs):
        source, _ = pair_slices(offset, height, width)
        result[(..., pairs.index(offset), *source)] = -largest
    return result


def embedding_affinities(embedding: Tensor, radius: int) -> Tensor:
    """Affinity of each pixel to the one an offset away, as in AffinityNet: exp(-mean |f_i - f_j|).

    The mean over the channels follows the published code; its paper (Ahn and Kwak, CVPR 2018, Eq. 1) has a sum.

    embedding: float (C, H, W). Returns (P, H, W) of the same dtype, laid out as by `affinities`.

    Raises ValueError for an embedding that is not (C, H, W), has no channel, or is not finite.
    """
    if embedding.ndim != 3 or not len(embedding):
        raise ValueError(f"embedding must be (C, H, W) with at least one channel, got {tuple(embedding.shape)}.")
    if not torch.isfinite(embedding).all():
        raise ValueError("embedding must be finite, got NaN or infinity: look for it in the network's output.")
    pairs = offsets(radius)
    height, width = embedding.shape[1:]
    result = embedding.new_zeros(len(pairs), height, width)
    for number, offset in enumerate(pairs):
        source, target = pair_slices(offset, height, width)
        distance = (embedding[(..., *source)] - embedding[(..., *target)]).abs_().mean(dim=0)
        result[(number, *source)] = distance.neg_().exp_()
    return result


def pair_slices(offset: Offset, height: int, width: int) -> tuple[tuple[slice, slice], tuple[slice, slice]]:
    """Row and column slices of the sources and the targets of all pairs inside an image."""
    dy, dx = offset
    rows, columns = max(height - dy, 0), max(width - abs(dx), 0)
    left, right = max(-dx, 0), max(dx, 0)
    source = slice(0, rows), slice(left, left + columns)
    target = slice(dy, dy + rows), slice(right, right + columns)
    return source, target


def line_maxima(values: Tensor, pairs: Iterable[Offset]) -> Iterator[tuple[Offset, Tensor]]:
    """Maximum of ``values`` (..., H, W) on the line between the two ends of every pair, offset by offset.

    Yields (offset, maxima (..., H - dy, W - abs(dx))) for each offset of ``pairs``, shortest lines first:
    one element per pair inside the image, in the order of ``pair_slices``. A long line is the union of
    shorter ones, so a pair costs about one comparison instead of one per pixel of its line. Later lines
    may reuse a yielded tensor: do not write to it.
    """
    wanted = frozenset(pairs)
    if not wanted:
        return
    height, width = values.shape[-2:]
    maxima = {(0, 0): values}
    for offset, pieces, finished in _line_plan(wanted):
        rows, columns = max(height - offset[0], 0), max(width - abs(offset[1]), 0)
        views = [
            maxima[piece.offset][..., piece.top : piece.top + rows, piece.left : piece.left + columns]
            for piece in pieces
        ]
        largest = torch.maximum(views[0], views[1])
        for view in views[2:]:
            largest = torch.maximum(largest, view)
        maxima[offset] = largest
        if offset in wanted:
            yield offset, largest
        for each in finished:
            del maxima[each]


class _Piece(NamedTuple):
    """A shorter line inside a longer one: its offset, and where its box starts inside the longer one's box."""

    offset: Offset
    top: int
    left: int


def _line(offset: Offset) -> frozenset[Offset]:
    """Pixels of the box that both ends span, closer than 1 to the infinite line through them.

    (0, 0) is the top left corner of the box, wherever the line starts.
    """
    dy, dx = offset
    box_width = abs(dx)
    start = max(-dx, 0)
    return frozenset(
        (y, x)
        for y in range(dy + 1)
        for x in range(box_width + 1)
        if (dy * (x - start) - dx * y) ** 2 < dy * dy + dx * dx or offset == (0, 0)
    )


@lru_cache(maxsize=64)
def _all_pieces(reach: int) -> dict[Offset, list[_Piece]]:
    """For each offset closer than ``reach``, shortest line first: shorter lines that together cover it."""
    lines = {offset: _line(offset) for offset in [(0, 0), *offsets(reach)]}
    plan: dict[Offset, list[_Piece]] = {}
    for offset in sorted(lines, key=lambda each: len(lines[each]))[1:]:
        candidates = [
            (_Piece(shorter, top, left), covered)
            for shorter, pixels in lines.items()
            if shorter != offset and shorter[1] * offset[1] >= 0
            for top in range(offset[0] - shorter[0] + 1)
            for left in range(abs(offset[1]) - abs(shorter[1]) + 1)
            if (covered := {(y + top, x + left) for y, x in pixels}) <= lines[offset]
        ]
        missing = set(lines[offset])
        plan[offset] = []
        while missing:
            piece, covered = max(candidates, key=lambda candidate: len(candidate[1] & missing))
            plan[offset].append(piece)
            missing -= covered
    return plan


@lru_cache(maxsize=256)
def _line_plan(wanted: frozenset[Offset]) -> list[tuple[Offset, list[_Piece], list[Offset]]]:
    """The steps that build the wanted lines, with only the shorter lines that these need, shortest first.

    Each step holds the line, its pieces, and the lines that no later step needs.
    """
    reach = 1 + max(int((dy * dy + dx * dx) ** 0.5) for dy, dx in wanted)
    pieces = _all_pieces(reach)
    needed = set(wanted)
    for offset in reversed(pieces):
        if offset in needed:
            needed.update(piece.offset for piece in pieces[offset])
    steps = [(offset, parts) for offset, parts in pieces.items() if offset in needed]
    last_use: dict[Offset, Offset] = {}
    for offset, parts in steps:
        last_use |= {each: offset for each in [offset, *(piece.offset for piece in parts)]}
    finished: dict[Offset, list[Offset]] = {offset: [] for offset, _ in steps}
    for each, offset in last_use.items():
        finished[offset].append(each)
    return [(offset, parts, finished[offset]) for offset, parts in steps]
