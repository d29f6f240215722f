"""The cost of an image in each stage, for the estimates in docs/scale.md: `python -m benchmarks.scale_costs --run OUT`.

Prints three tables:

- floating-point operations of the networks with ResNet-50, counted and not timed, for an image of 500 x 375 pixels and
  for the training crops of the default config;
- CPU seconds of the work on cores, for photos of the run;
- bytes read and written per image, from the files of the run.
"""

from __future__ import annotations

import argparse
import time
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch.nn.functional import interpolate
from torch.utils.flop_counter import FlopCounterMode

from benchmarks.speed_stages import Stages
from irnet_ray.algorithms.relations import confident_map
from irnet_ray.config.load import Config
from irnet_ray.masks import decode_attention
from irnet_ray.networks.backbones import find_backbone
from irnet_ray.networks.classifier import Classifier
from irnet_ray.networks.irnet import IRNet
from irnet_ray.stages.images import load_image

HEIGHT, WIDTH, CLASSES = 375, 500, 1000
PHOTOS = 8


def operations(work: Callable[[], object]) -> float:
    """Billions of floating-point operations of a call. A multiplication and an addition count as two."""
    with FlopCounterMode(display=False) as counter:
        work()
    return counter.get_total_flops() / 1e9


def networks(config: Config) -> dict[str, float]:
    """GFLOP per image of each stage. Weights are random, which does not change the counts."""
    backbone = find_backbone("resnet50")
    classifier, irnet = Classifier(backbone, CLASSES), IRNet(backbone)
    found: dict[str, float] = {}

    def train(network: torch.nn.Module, side: int) -> None:
        answer = network.train()(torch.zeros(1, 3, side, side))
        sum(part.sum() for part in (answer if isinstance(answer, tuple) else (answer,))).backward()

    def look(scale: float) -> None:
        pair = torch.zeros(2, 3, round(HEIGHT * scale), round(WIDTH * scale))
        with torch.no_grad():
            classifier.eval().backbone(pair)

    def predict() -> None:
        image, middle = torch.zeros(1, 3, HEIGHT, WIDTH), config.irnet.middle_scale
        for scale in (1.0, *config.labels.boundary_scales):
            irnet.eval().predict([image], middle * scale)

    found["classifier, an image of a step"] = operations(lambda: train(classifier, config.classifier.crop))
    found["seeds from prototypes, scale 1 and mirror image"] = operations(lambda: look(1.0))
    found[f"seeds from CAMs, scales {config.seeds.scales}"] = sum(
        operations(lambda scale=scale: look(scale)) for scale in config.seeds.scales
    )
    found["irnet, an image of a step"] = operations(lambda: train(irnet, config.irnet.crop))
    found["labels, both boundary scales and mirror images"] = operations(predict)
    return found


def cores(run: Stages) -> dict[str, float]:
    """Median CPU seconds per photo of the work on cores. It includes the random walk, which would run on a GPU."""
    knobs, labels = run.config.seeds, run.build("labels")
    network = labels.network(False)
    times: dict[str, list[float]] = {}

    def timed(name: str, work: Callable[..., Any], *given: Any) -> Any:
        start = time.process_time()
        made = work(*given)
        times.setdefault(name, []).append(time.process_time() - start)
        return made

    for row in run.rows(PHOTOS):
        image = timed("decode", load_image, row["uri"], run.config.max_side)
        attention = decode_attention(row)
        size = image.shape[:2]
        full = interpolate(torch.from_numpy(attention)[None], size, mode="bilinear")[0].numpy()
        thresholds = {"foreground": knobs.foreground, "background": knobs.background}
        timed("dense CRF, both thresholds", partial(confident_map, **thresholds), image, full)
        masks = timed("walk, centroids and masks", network.synthesize, attention, network.relations([image])[0], size)
        timed("masks to RLE and PNG", labels.finish, row, masks)
    return {name: float(np.median(values)) for name, values in times.items()}


def sizes(run: Stages) -> dict[str, float]:
    """Kilobytes per image: of the photo itself, and of the rows that each stage writes."""
    rows = run.rows(PHOTOS)
    kilobytes = {"photo": float(np.mean([Path(row["uri"]).stat().st_size for row in rows])) / 1e3}
    for name in ("images", "seeds", "labels"):
        parts = run.shards(name)
        total = sum(len(parts.rows.read(file)) for file in parts.rows.files())
        kilobytes[f"row of {name}"] = total / max(1, parts.rows.count_rows(parts.rows.files())) / 1e3
    return kilobytes


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--run", required=True, help="run directory of a finished run on photos")
    options = parser.parse_args()
    torch.set_num_threads(1)
    run = Stages.of(options.run)
    for title, unit, figures in (
        (f"ResNet-50, {WIDTH}x{HEIGHT}, {CLASSES:,} tags", "GFLOP", networks(Config())),
        (f"one core, medians of {PHOTOS} photos", "s", cores(run)),
        ("bytes", "kB", sizes(run)),
    ):
        print(title)
        for name, value in figures.items():
            print(f"  {name:55s} {value:10.3f} {unit}")


if __name__ == "__main__":
    main()
