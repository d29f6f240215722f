"""Speed of whole stages: against their bare network passes and CRFs, and against the published method.

Networks, seeds and images come from a finished run, or from scenes that are labeled first.
"""

from __future__ import annotations

import contextlib
import pickle
import sys
import tempfile
from collections.abc import Iterator
from typing import Any, cast

import numpy as np
import torch
from torch import nn
from torch.nn.functional import interpolate
from torch.utils._pytree import tree_map_only
from torch.utils.flop_counter import FlopCounterMode

from benchmarks import published
from benchmarks.timing import Options, Row, check, compare, matrix_rate, row, seconds
from irnet_ray.algorithms.relations import confident_map
from irnet_ray.config.load import PRESETS, Config, merge
from irnet_ray.engine.steps import Item, MapStage, Network
from irnet_ray.masks import decode_attention
from irnet_ray.networks.inference import precision, rescale, to_network
from irnet_ray.runs.run import FinishedRun
from irnet_ray.stages.graph import STAGES
from irnet_ray.stages.images import load_image
from irnet_ray.stages.labels import LabelsNetwork
from irnet_ray.stages.rows import Masks

IMAGES, GPU_IMAGES, QUICK_IMAGES = 4, 32, 1  # a whole unit on a GPU, which batches images of one size
LABELED, PUBLISHED = 200, 2  # images for `label`: with our method, and with the published one too
AGREED = 0.95  # share of pixels with the same tag; less than 1 because the published method refines the field longer


class Stages(FinishedRun):
    """A finished run whose map stages the benchmarks run again. It provides `graph.Inputs`."""

    made_by = "benchmark"

    def samples(self, table: str) -> int:
        """The number of rows of a table."""
        return self.shards(table).counts()[0]

    @staticmethod
    def of(out: str) -> Stages:
        """The run in `out`."""
        found = FinishedRun.open(out)
        return Stages(found.folder, found.version)

    def build(self, name: str) -> MapStage:
        """A map stage as labeling builds it."""
        return cast(MapStage, STAGES[name].build(self))

    def rows(self, count: int) -> list[dict[str, Any]]:
        """Rows of the first images that have seeds, joined with them."""
        images, seeds, found = self.shards("images"), self.shards("seeds"), []
        for shard in range(self.version.shard_count):
            known = {each["image_id"]: each for each in seeds.rows.read_table(seeds.part(shard)).to_pylist()}
            for image in images.rows.read_table(images.part(shard)).to_pylist():
                if image["image_id"] in known and len(found) < count:
                    found.append({**image, **known[image["image_id"]]})
        return found


def _run(options: Options, place: str) -> Stages:
    if options.run is not None:
        return Stages.of(options.run)
    print("no --run: labeling generated scenes first, which takes minutes ...", file=sys.stderr, flush=True)
    from rich.console import Console

    from irnet_ray.commands.label import label as label_scenes

    with contextlib.redirect_stdout(sys.stderr):  # the table is on standard output
        label_scenes(None, place, backbone="lite0", console=Console(stderr=True))
    return Stages.of(place)


def stages(options: Options) -> Iterator[Row]:
    """Loading, network and finishing of seeds and labels, against the bare network passes and CRFs."""
    with tempfile.TemporaryDirectory() as place:
        run = _run(options, place)
        for name in ("seeds", "labels"):
            yield from _stage(run, name, options)


def _stage(run: Stages, name: str, options: Options) -> Iterator[Row]:
    """One stage over a few images. The bare passes use the same tensors, recorded in a first run."""
    stage = run.build(name)
    on_gpu = options.device.type == "cuda"
    network = Network(stage, on_gpu, None)
    rows = run.rows(QUICK_IMAGES if options.quick else GPU_IMAGES if on_gpu else IMAGES)
    whole_network = network.step.network
    parts = [whole_network.backbone]
    if name == "labels":
        parts += [whole_network.boundary, whole_network.displacement]
    passes: list[tuple[nn.Module, Any]] = []

    def note(module: nn.Module, given: Any) -> None:
        passes.append((module, tree_map_only(torch.Tensor, torch.Tensor.clone, given)))

    hooks = [part.register_forward_pre_hook(note) for part in parts]

    def answers() -> list[Item]:
        unit = {"shard": 0, "items": pickle.dumps([Item(each, stage.load(each)) for each in rows]), "spent": {}}
        return pickle.loads(network(unit)["items"])

    values = [item.value for item in answers()]
    for hook in hooks:
        hook.remove()
    knobs = run.config.seeds

    def whole() -> None:
        for item in answers():
            stage.finish(item.row, item.value)

    def bare_passes() -> None:
        with torch.inference_mode(), precision(options.device):
            for module, given in passes:
                module(*given)

    def bare() -> None:
        bare_passes()
        for value in values if name == "seeds" else []:
            confident_map(value.image, value.full, foreground=knobs.foreground, background=knobs.background)

    if on_gpu:
        torch.cuda.reset_peak_memory_stats()
    what = "network passes and CRFs" if name == "seeds" else "network passes"
    line = compare(
        f"stages: {name}, 1 process, {len(rows)} images",
        whole,
        bare,
        options,
        0.85,
        f"against its {len(passes)} bare {what}, backbone {run.config.backbone}",
    )
    memory = f", {torch.cuda.max_memory_allocated() / 1e6:.0f} MB at most" if on_gpu else ""
    yield Row(**{**vars(line), "note": f"{len(rows) / line.ours:.3g} images/s{memory}; {line.note}"})
    with FlopCounterMode(display=False) as counter:
        bare_passes()
    operations, rate = counter.get_total_flops(), matrix_rate(options.device)
    times = [(seconds(bare_passes, options.device), operations / rate) for _ in range(options.repeats)]
    note = f"{operations / len(rows) / 1e9:.3g} GFLOP per image, at the {rate / 1e12:.3g} TFLOP/s of a large product"
    yield row(f"stages: {name}, its network passes against a matrix product", times, None, note)


def label(options: Options) -> Iterator[Row]:
    """The labels stage, image by image, against the published method with the same weights and seeds.

    On a CPU the published method takes minutes per photo. So only a few photos are labeled both ways.
    """
    with tempfile.TemporaryDirectory() as place:
        run = _run(options, place)
        # Our additions to the published method are switched off.
        labels = merge(run.config.labels.model_dump(), PRESETS["paper"]["labels"])
        run.config = Config.model_validate(merge(run.config.model_dump(), {"labels": labels}))
        stage = run.build("labels")
        network: Any = stage.network(options.device.type == "cuda")
        rows = run.rows(QUICK_IMAGES if options.quick else LABELED)
        both = rows[: QUICK_IMAGES if options.quick else PUBLISHED]

        def ours(each: dict[str, Any]) -> Masks:
            found = network(each, stage.load(each))
            stage.finish(each, found)
            return found

        def published_way(each: dict[str, Any]) -> tuple[Any, float]:
            found: list[Any] = []
            took = seconds(lambda: found.append(_published(network, each, run.config)), options.device)
            return found[0], took

        times, shares = [], []
        for each in both:
            (masks, tags, _), plain = published_way(each)
            shares.append(_alike(ours(each), masks, tags))
            times.append((seconds(lambda each=each: ours(each), options.device), plain))
        check("label", 1 - float(np.mean(shares)), 1 - AGREED)
        note = f"{np.mean(shares):.1%} of the pixels of one tag"
        yield row("label: labels stage per image, published method with the same weights", times, 10, note)
        total = seconds(lambda: [ours(each) for each in rows], options.device)
        per_image = [(total / len(rows), plain) for _, plain in times]
        note = f"{total:.0f} s in total, one process; the published method ran on {len(both)} of them"
        yield row(f"label: labels stage per image, {len(rows)} images", per_image, 10, note)


@torch.inference_mode()
def _published(network: LabelsNetwork, each: dict[str, Any], config: Config) -> Any:
    image_HW3 = load_image(each["uri"], config.max_side)
    image = rescale(to_network(image_HW3, network.device), network.scales[0])
    with precision(network.device):
        boundary, field = (found.float() for found in published.predict(network.network, image))
    attention = torch.from_numpy(decode_attention(each)).to(network.device)
    if boundary.shape != attention.shape[1:]:
        grown = [seen / own for seen, own in zip(image.shape[-2:], image_HW3.shape[:2], strict=True)]
        both = torch.cat([boundary[None], field / field.new_tensor(grown).view(2, 1, 1)])[None]
        both = interpolate(both, attention.shape[1:], mode="bilinear", align_corners=False)[0]
        boundary, field = both[0], both[1:]
    return published.labels(attention, boundary, field, image_HW3.shape[:2], config.labels.background)


def _alike(ours: Masks, masks: np.ndarray, tags: np.ndarray) -> float:
    """Share of the pixels that both assign to the same tag, or to none."""
    maps = []
    for found, classes in ((ours.masks, ours.class_index), (masks, tags)):
        tag_HW = np.zeros(ours.semantic.shape, int)
        for mask, tag in zip(found, classes, strict=True):
            tag_HW[mask] = tag + 1
        maps.append(tag_HW)
    return float((maps[0] == maps[1]).mean())
