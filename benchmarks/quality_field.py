"""How soon the displacement field leaves zero, and whether it points at the centres of objects.

    python benchmarks/quality_field.py OUT --truth T.json --iterations 100

OUT is a finished run. IRNet is trained on its seeds from scratch for a number of iterations, in each of a few variants.
The learning rate stays at the first value of the whole schedule. The field's directions are compared with the
directions to the centres of the true masks. Prints Markdown.
"""

from __future__ import annotations

import argparse
from typing import Any

import numpy as np
import torch
from quality_common import Run
from torch.nn.functional import interpolate

from irnet_ray.engine.loading import index_batches
from irnet_ray.engine.schedule import Schedule
from irnet_ray.networks.backbones import find_backbone
from irnet_ray.networks.inference import precision, to_network
from irnet_ray.stages.images import load_image
from irnet_ray.stages.irnet import IRNetTask

WAYS: dict[str, dict[str, float]] = {
    "published": {"contrast": 0.0, "background_rise": 0.0},
    "contrast": {"background_rise": 0.0},
    "background pairs rise": {"contrast": 0.0},
    "**both**": {},
}
LEAST_CELLS = 20  # smaller masks are left out
LAST = 25  # iterations over which losses are averaged


def train(run: Run, knobs: dict[str, float], iterations: int) -> tuple[IRNetTask, np.ndarray]:
    """Train IRNet. Returns its task, and the last displacement losses of foreground and background, averaged."""
    config = run.config.model_copy(update={"irnet": run.config.irnet.model_copy(update=knobs)})
    torch.manual_seed(config.seed)
    task = IRNetTask(
        config, find_backbone(config.backbone), run.shards("images"), run.shards("seeds"), run.stage("classifier")
    )
    network, batch_size = task.model.to(memory_format=torch.channels_last).train(), config.irnet.batch_size
    optimizer = torch.optim.SGD(task.groups(), weight_decay=config.irnet.weight_decay)
    whole = Schedule.plan(task.images, config.irnet.epochs, config.irnet.min_iterations, batch_size, 1, config.seed)
    part = Schedule(1, iterations, batch_size, 1, config.seed)
    seen = []
    for iteration, batch in enumerate(index_batches(task, part, 0, 0, 1, torch.get_num_threads())):
        task.advance(iteration / whole.iterations)
        losses = task.losses(network, batch)
        optimizer.zero_grad()
        losses["total"].backward()
        optimizer.step()
        seen.append([losses[f"displacement_{kind}"].item() for kind in ("foreground", "background")])
    return task, np.mean(seen[-LAST:], axis=0)


@torch.inference_mode()
def directions(run: Run, task: IRNetTask) -> np.ndarray:
    """Correlation of the field with the way to a true mask's centre, for dy and dx, averaged over the masks."""
    from pycocotools import mask as coco

    network, found = task.model.eval(), []
    for row in run.rows("images"):
        image_HW3 = load_image(row["uri"], run.config.max_side)
        with precision(torch.device("cpu")):
            ((_, field),) = network.predict([to_network(image_HW3, torch.device("cpu"))], task.knobs.middle_scale)
        for instance in run.truth[row["image_id"]].instances:
            whole = torch.from_numpy(coco.decode(instance.rle)).float()
            cells = (interpolate(whole[None, None], field.shape[1:], mode="area")[0, 0] > 0.5).numpy()
            if cells.sum() >= LEAST_CELLS:
                found.append(_correlation(field.numpy(), np.argwhere(cells).T))
    return np.nanmean(found, axis=0)


def _correlation(field_2hw: np.ndarray, places_2N: np.ndarray) -> np.ndarray:
    way_2N = places_2N.mean(axis=1, keepdims=True) - places_2N
    field_2N = field_2hw[:, *places_2N]
    field_2N = field_2N - field_2N.mean(axis=1, keepdims=True)
    lengths = np.sqrt((way_2N**2).sum(axis=1) * (field_2N**2).sum(axis=1))
    return np.divide((way_2N * field_2N).sum(axis=1), lengths, out=np.full(2, np.nan), where=lengths > 0)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("out", help="run directory of a finished run")
    parser.add_argument("--truth", required=True, help="COCO JSON file with the truth")
    parser.add_argument("--iterations", type=int, default=100, help="iterations of each training")
    options: dict[str, Any] = vars(parser.parse_args())
    iterations = options.pop("iterations")
    run = Run.of(**options)
    print(
        f"| IRNet after {iterations} iterations | foreground loss | background loss | dy to centres | dx to centres |"
    )
    print("|---|---|---|---|---|")
    for name, knobs in WAYS.items():
        task, losses = train(run, knobs, iterations)
        dy, dx = directions(run, task)
        print(f"| {name} | {losses[0]:.2f} | {losses[1]:.2f} | {dy:.2f} | {dx:.2f} |", flush=True)


if __name__ == "__main__":
    main()
