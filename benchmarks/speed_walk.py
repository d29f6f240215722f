"""Speed of the random walk: against the dense matrix, against plain steps, and how near memory's limit."""

from __future__ import annotations

import sys
from collections.abc import Iterator

import torch

from benchmarks import published
from benchmarks.speed_inputs import relations
from benchmarks.timing import Options, Row, bandwidth, check, compare, row, seconds
from irnet_ray.algorithms import walk
from irnet_ray.algorithms.affinity import affinities, offsets

GRID, QUICK_GRID = (94, 125), (47, 62)  # of photos of 375 x 500 and 188 x 250 pixels
MAPS, STEPS, RADIUS, BETA = 5, 256, 5, 10
WALK = {"radius": RADIUS, "beta": BETA, "steps": STEPS}
TARGETS = {"cpu": 500, "cuda": 50}
TOLERANCE = 1e-3  # of the largest score


def dense(options: Options) -> Iterator[Row]:
    """The walk, affinities included, against squaring the dense matrix."""
    height, width = QUICK_GRID if options.quick else GRID
    scores, boundary, _ = (x.to(options.device) for x in relations(height, width, MAPS))
    if not options.quick:
        print("walk: the dense method takes minutes and 1.2 GB of memory ...", file=sys.stderr, flush=True)
    expected = []
    line = compare(
        f"walk: {height}x{width}, {MAPS} maps, against the dense matrix",
        lambda: walk.random_walk(scores, boundary, **WALK),
        lambda: expected.append(published.random_walk(scores, boundary)),
        options,
        None if options.quick else TARGETS[options.device.type],
        once=True,
    )
    worst = float((walk.random_walk(scores, boundary, **WALK) - expected[0]).abs().max() / expected[0].max())
    check("walk", worst, TOLERANCE)
    yield Row(**{**vars(line), "note": f"error {worst:.1e} of the maximum"})


def memory(options: Options) -> Iterator[Row]:
    """The walk against the time that the memory needs to move its data."""
    height, width = GRID
    scores, boundary, _ = (x.to(options.device) for x in relations(height, width, MAPS))
    pairs = affinities(boundary, RADIUS)
    moved = _bytes_moved(height * width, MAPS)
    limit = moved / bandwidth(options.device)
    walk.affinity_walk(scores, pairs, **WALK)
    times = [
        (
            seconds(lambda: walk.affinity_walk(scores, pairs, **WALK), options.device),
            limit,
        )
        for _ in range(options.repeats)
    ]
    note = f"baseline: {moved / 1e6:.0f} MB at the {moved / limit / 1e9:.1f} GB/s of a large copy"
    yield row(f"walk: {height}x{width}, {MAPS} maps, against memory's limit", times, None, note)


def _bytes_moved(pixels: int, maps: int) -> int:
    """Bytes moved by all products: for every map each weight once, three state vectors read and two written."""
    products = len(walk._chebyshev_coefficients(STEPS, walk._LOW)) - 1
    return products * maps * pixels * (2 * len(offsets(RADIUS)) + 1 + 5) * 4


def products(options: Options) -> Iterator[Row]:
    """The products that the walk does against 256 single steps with the same matrix."""
    height, width = GRID
    scores, boundary, _ = (x.to(options.device) for x in relations(height, width, MAPS))
    pairs = affinities(boundary, RADIUS)
    weights = pairs.pow(BETA)
    kind = walk.transition_for(scores.device)

    def stepwise():
        matrix = kind(weights, RADIUS)
        state, spare, series = (each(scores.flatten(1)) for each in (matrix.padded, matrix.padded, torch.clone))
        for _ in range(STEPS):
            spare, state = state, matrix.advance(spare, state, 1, 0, series, 0)
        return state[:, matrix.inside].view_as(scores)

    expected = stepwise()
    worst = float((walk.affinity_walk(scores, pairs, **WALK) - expected).abs().max() / expected.max())
    check("products", worst, TOLERANCE)
    count = len(walk._chebyshev_coefficients(STEPS, walk._LOW)) - 1
    note = f"{count} products instead of {STEPS}, error {worst:.1e} of the maximum"
    yield compare(
        f"products: {height}x{width}, {MAPS} maps, {STEPS} steps one by one",
        lambda: walk.affinity_walk(scores, pairs, **WALK),
        stepwise,
        options,
        3,
        note,
    )
