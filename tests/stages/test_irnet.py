"""IRNet's training task: pairs that stay aligned, a mean that is measured, a displacement field that learns."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pyarrow as pa
import pytest
import torch
from PIL import Image
from safetensors.torch import load, save

from irnet_ray import tables
from irnet_ray.inputs.scenes import scene
from irnet_ray.networks.inference import precision
from irnet_ray.stages import irnet
from irnet_ray.stages.classifier import ClassifierTask
from irnet_ray.stages.images import GREY, load_image
from irnet_ray.stages.irnet import IRNetTask
from irnet_ray.stages.plan import Plan

UNSURE = 255
SIZE = (96, 128)


def truth_map(index: int) -> np.ndarray:
    """The class map of a scene, uint8 (H, W), in its own tags' order."""
    made = scene(index, SIZE)
    class_map = np.zeros(SIZE, np.uint8)
    for mask, name in zip(made.masks, made.names, strict=True):
        class_map[mask] = made.tags.index(name) + 1
    return class_map


@pytest.fixture
def task(plan: Plan) -> IRNetTask:
    """On seeds whose confident maps are the truth."""
    seeds = plan.shards("seeds")
    for shard, ids in plan.ids_by_shard.items():
        rows = [
            {
                "image_id": image_id,
                "uri": "",
                "class_ids": [0],
                **tables.encode_cam(np.zeros((1, 24, 32))),
                "attention": None,
                "confident_map": tables.encode_png(truth_map(int(image_id[6:11]))),
            }
            for image_id in ids
        ]
        seeds.commit(shard, tables.SEEDS, rows)
        seeds.seal(shard, tables.SEEDS, ids)
    classifier = ClassifierTask(plan.config, plan.shards("images"), plan.vocabulary)
    plan.folder("classifier").write("weights.safetensors", save(classifier.model.state_dict()))
    return IRNetTask(plan.config, plan.shards("images"), seeds, plan.folder("classifier"))


def test_every_image_comes_with_its_own_map(task: IRNetTask) -> None:
    assert task.images == 6
    for index in range(6):
        image, class_map = task._pair(index)
        number = int(Path(task.uris[index].as_py()).stem[6:])
        assert np.array_equal(class_map, truth_map(number))
        assert np.array_equal(image, load_image(task.uris[index].as_py(), 1280))


@torch.no_grad()
def test_the_backbone_is_the_trained_classifier_s(task: IRNetTask, plan: Plan) -> None:
    trained = ClassifierTask(plan.config, plan.shards("images"), plan.vocabulary).model
    state = load(plan.folder("classifier").read("weights.safetensors"))
    state["backbone.conv_stem.weight"] += 0.01  # no longer ImageNet's
    plan.folder("classifier").write("weights.safetensors", save(state))
    trained.load_state_dict(state)
    rebuilt = IRNetTask(plan.config, plan.shards("images"), plan.shards("seeds"), plan.folder("classifier"))
    image = torch.rand(1, 3, 64, 64) * 255
    for level, expected, before in zip(
        rebuilt.model.backbone(image), trained.eval().backbone(image), task.model.backbone(image), strict=True
    ):
        assert torch.allclose(level, expected, rtol=1e-3, atol=1e-3)  # folded
        assert not torch.allclose(level, before, rtol=1e-3, atol=1e-3)


def test_the_map_stays_on_the_image_through_scale_mirror_and_crop(
    task: IRNetTask, monkeypatch: pytest.MonkeyPatch
) -> None:
    # An image that shows its own map: a smooth ramp, so that resizing blurs neither.
    y, x = np.mgrid[0:90, 0:127]
    class_map = (x + y + 1).astype(np.uint8)
    monkeypatch.setattr(task, "_pair", lambda _: (np.repeat(class_map[..., None], 3, 2), class_map))
    for seed in range(40):
        sample = task.sample(0, np.random.default_rng(seed))
        image, shown = sample["image"].numpy().astype(int), sample["class_map"].numpy().astype(int)
        assert (image.shape, shown.shape) == ((3, 64, 64), (16, 16))
        # The middle of each 4 x 4 cell, away from the padding, whose colour resizing does not touch.
        inside = shown != UNSURE
        edge = np.pad(inside, 1, constant_values=False)
        inner = inside & edge[:-2, 1:-1] & edge[2:, 1:-1] & edge[1:-1, :-2] & edge[1:-1, 2:]
        seen = image[0, 2::4, 2::4]
        assert np.abs(seen - shown)[inner].max(initial=0) <= 3, seed
        outside = np.all(image[:, 2::4, 2::4] == np.array(GREY)[:, None, None], axis=0)
        assert (outside | inside).all(), seed


def test_a_sample_follows_from_its_generator_alone(task: IRNetTask) -> None:
    one, same, other = (task.sample(0, np.random.default_rng(seed)) for seed in (5, 5, 6))
    assert torch.equal(one["image"], same["image"]) and torch.equal(one["class_map"], same["class_map"])
    assert not torch.equal(one["image"], other["image"])


def test_an_image_that_went_away_is_replaced_by_the_next(task: IRNetTask) -> None:
    following = task._pair(3)
    Path(task.uris[2].as_py()).rename(Path(task.uris[2].as_py() + ".gone"))
    try:
        assert np.array_equal(task._pair(2)[0], following[0])
    finally:
        Path(task.uris[2].as_py() + ".gone").rename(Path(task.uris[2].as_py()))
    task.uris = pa.array(["/absent.png"] * 6)
    with pytest.raises(RuntimeError, match="not one image"):
        task._pair(0)


def test_an_image_that_changed_its_size_is_not_paired_with_its_old_map(task: IRNetTask, tmp_path: Path) -> None:
    Image.new("RGB", (64, 64)).save(tmp_path / "other.png")
    uris = task.uris.to_pylist()
    task.uris = pa.array([str(tmp_path / "other.png"), *uris[1:]])
    assert np.array_equal(task._pair(0)[1], task._pair(1)[1])


def test_the_displacement_branch_learns_ten_times_faster(task: IRNetTask) -> None:
    boundary, displacement = task.groups()
    assert displacement["lr"] == pytest.approx(10 * boundary["lr"])
    grouped = {id(p) for group in (boundary, displacement) for p in group["params"]}
    assert grouped == {id(p) for p in task.model.parameters() if p.requires_grad}


def test_the_schedule_counts_images_with_seeds(plan: Plan) -> None:
    stage = irnet.stage(plan.config, plan.shards("images"), plan.shards("seeds"), plan.folder("classifier"), 6)
    assert (stage.name, stage.schedule.batch_size, stage.schedule.iterations) == ("irnet", 2, 1002)


def fixed_batch(task: IRNetTask, count: int) -> dict[str, torch.Tensor]:
    pairs = [task._pair(index) for index in range(count)]
    return {
        "image": torch.from_numpy(np.stack([image.transpose(2, 0, 1) for image, _ in pairs])),
        "class_map": torch.from_numpy(np.stack([class_map[2::4, 2::4] for _, class_map in pairs])),
    }


def test_the_terms_shown_are_those_minimized(task: IRNetTask) -> None:
    task.model.train()
    losses = task.losses(task.model, fixed_batch(task, 2))
    assert set(losses) == {"total", "displacement_foreground", "displacement_background", "boundary_negative"}
    assert all(value.requires_grad and value.ndim == 0 for value in losses.values())
    losses["total"].backward()
    assert [name for name, p in task.model.named_parameters() if p.requires_grad and p.grad is None] == []


def test_displacements_learn_their_scenes(task: IRNetTask) -> None:
    batch = fixed_batch(task, 2)
    task.model.to(memory_format=torch.channels_last).train()
    optimizer = torch.optim.SGD(task.groups())
    rates = [group["lr"] for group in optimizer.param_groups]
    seen: list[dict[str, float]] = []
    for step in range(60):
        for group, rate in zip(optimizer.param_groups, rates, strict=True):
            group["lr"] = rate * (1 - step / 60) ** 0.9
        losses = task.losses(task.model, batch)
        optimizer.zero_grad()
        losses["total"].backward()
        optimizer.step()
        seen.append({name: value.item() for name, value in losses.items()})
    first, last = ({name: np.mean([s[name] for s in part]) for name in seen[0]} for part in (seen[:5], seen[-10:]))
    # The mean distance of a pair is what a field of zeros costs.
    assert first["displacement_foreground"] > 3
    assert last["displacement_foreground"] < 0.5 * first["displacement_foreground"]
    assert last["boundary_negative"] < first["boundary_negative"]


def test_the_mean_displacement_of_the_training_images_becomes_zero(task: IRNetTask) -> None:
    torch.manual_seed(0)
    cpu = torch.device("cpu")
    with torch.no_grad():
        # Far from zero, as a trained branch may be: a field knows pairs, not where it is.
        last = task.model.displacement.decode[-1]
        assert isinstance(last, torch.nn.Conv2d)
        last.weight.uniform_(0, 0.1)
    task.model.displacement.mean.fill_(99.0)
    task.finish(cpu, 0, 1)
    assert task.model.displacement.training
    mean = task.model.displacement.mean.clone()
    assert mean.abs().min() > 0.1 and mean.abs().max() < 90
    task.model.eval()
    total, pixels = torch.zeros(2, dtype=torch.float64), 0
    for uri in task.uris.to_pylist():
        image = torch.from_numpy(np.array(load_image(uri, 1280))).permute(2, 0, 1)[None].float()
        with torch.no_grad(), precision(cpu):
            field = task.model(image)[1].double()
        total += field.sum(dim=(0, 2, 3))
        pixels += field[0, 0].numel()
    assert (total / pixels).abs().max() < 0.01 * mean.abs().max()
