"""Speed of the relation loss, of centroids and grouping, and of the confident map's CRFs."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path

import torch
from torch import Tensor

from benchmarks import published
from benchmarks.speed_inputs import attention, loss_batch, relations
from benchmarks.timing import Options, Row, check, compare, row
from irnet_ray.algorithms.displacement import instance_map
from irnet_ray.algorithms.losses import relation_loss
from irnet_ray.algorithms.relations import confident_map

BATCH, SIDE, RADIUS = 16, 128, 10
GRID = (94, 125)
PHOTO = (375, 500)


def _ours(logits: Tensor, field: Tensor, class_map: Tensor) -> Tensor:
    return relation_loss(logits, field, class_map, RADIUS).total


def _published(logits: Tensor, field: Tensor, class_map: Tensor) -> Tensor:
    return published.relation_loss(logits, field, class_map, RADIUS)


LOSSES = {"ours": _ours, "published": _published}


def _gradients(loss: Callable[..., Tensor], given: tuple[Tensor, ...]) -> tuple[Tensor, ...]:
    """Forward and backward: the total, and its gradients with respect to logits and field."""
    logits, field = (x.clone().requires_grad_() for x in given[:2])
    total = loss(logits, field, given[2])
    return total.detach(), *torch.autograd.grad(total, (logits, field))


def loss(options: Options) -> Iterator[Row]:
    """Time and peak memory of the relation loss, forward and backward."""
    batch = 2 if options.quick else BATCH
    given = tuple(x.to(options.device) for x in loss_batch(batch, SIDE))
    results = [_gradients(each, given) for each in LOSSES.values()]
    # Compared as sums: where two displaced pixels meet, rounding decides on which side one lies.
    worst = max(float((one - other).abs().sum() / other.abs().sum()) for one, other in zip(*results, strict=True))
    check("loss", worst, 1e-3)
    del results
    what = f"radius {RADIUS}, {SIDE}x{SIDE}, batch {batch}, forward + backward"
    yield compare(
        f"loss: {what}",
        lambda: _gradients(_ours, given),
        lambda: _gradients(_published, given),
        options,
        4,
        f"against gathering by index; gradients differ by {worst:.1e} of their sum",
    )
    peaks = tuple(_peak(name, batch, options.device) for name in LOSSES)
    yield row(f"loss memory: {what}", [peaks], 4, "peak minus the memory before the call", "MB")


def _peak(name: str, batch: int, device: torch.device) -> float:
    """Peak memory of one loss in MB, measured in a process of its own."""
    command = [sys.executable, "-m", "benchmarks.speed_algorithms", name, str(batch), device.type]
    return float(subprocess.run(command, capture_output=True, text=True, check=True).stdout)


def _print_peak(name: str, batch: int, device: torch.device) -> None:
    given = tuple(x.to(device) for x in loss_batch(batch, SIDE))
    _gradients(LOSSES[name], tuple(x[:1, ..., :32, :32] for x in given))  # loads libraries first
    if device.type == "cuda":
        before = torch.cuda.memory_allocated()
        torch.cuda.reset_peak_memory_stats()
        _gradients(LOSSES[name], given)
        print((torch.cuda.max_memory_allocated() - before) / 1e6)
        return
    # Not ru_maxrss: it starts at the size of the parent process.
    Path("/proc/self/clear_refs").write_text("5")  # resets the peak
    before = _status("VmRSS")
    _gradients(LOSSES[name], given)
    print((_status("VmHWM") - before) * 1024 / 1e6)


def _status(name: str) -> int:
    """A figure of /proc/self/status in KiB."""
    lines = Path("/proc/self/status").read_text().splitlines()
    return next(int(line.split()[1]) for line in lines if line.startswith(name))


def centroids(options: Options) -> Iterator[Row]:
    """Following a field and grouping its pixels, against NumPy. With the same number of refinements, groups agree."""
    height, width = GRID
    _, _, field = relations(height, width, 1)
    here, plain = field.to(options.device), field.numpy()
    expected = torch.from_numpy(published.instance_map(plain))
    same = float(
        (instance_map(here, iterations=published.REFINEMENTS, threshold=published.CENTROID).cpu() == expected)
        .float()
        .mean()
    )
    check("centroids", 1 - same, 0.01)
    for steps in (published.REFINEMENTS, 100):
        yield compare(
            f"centroids: {height}x{width}, following and grouping, {steps} refinements",
            lambda steps=steps: instance_map(here, iterations=steps, threshold=published.CENTROID),
            lambda: published.instance_map(plain),
            options,
            10,
            f"against {published.REFINEMENTS} in NumPy; {same:.2%} of the pixels in the same group at equal steps",
        )


def crf(options: Options) -> Iterator[Row]:
    """The confident map, whose two CRFs share work, against two plain CRFs."""
    size = tuple(side // 2 for side in PHOTO) if options.quick else PHOTO
    for index in (0, 2):
        image, cams = attention(*size, index)
        ours = confident_map(image, cams, **published.THRESHOLDS)
        same = float((ours == published.confident_map(image, cams, **published.THRESHOLDS)).mean())
        check("crf", 1 - same, 1e-3)
        yield compare(
            f"crf: {size[0]}x{size[1]}, {len(cams)} tag{'s' if len(cams) > 1 else ''}, both thresholds",
            lambda image=image, cams=cams: confident_map(image, cams, **published.THRESHOLDS),
            lambda image=image, cams=cams: published.confident_map(image, cams, **published.THRESHOLDS),
            options,
            1.3,
            f"against two plain calls; {same:.3%} of the pixels are equal",
        )


if __name__ == "__main__":
    torch.set_num_threads(1)
    _print_peak(sys.argv[1], int(sys.argv[2]), torch.device(sys.argv[3]))
