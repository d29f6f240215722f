"""The classifier's training task: samples, targets, rates, and a loss that falls."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pyarrow as pa
import pytest
import torch

from irnet_ray.commands.plan import Plan
from irnet_ray.config.load import Config
from irnet_ray.errors import UserError
from irnet_ray.networks.backbones import BACKBONES
from irnet_ray.networks.classifier import Classifier
from irnet_ray.networks.weights import load_weights
from irnet_ray.runs.folder import Folder
from irnet_ray.runs.shards import Shards
from irnet_ray.stages import classifier
from irnet_ray.stages.classifier import ClassifierTask, held_out


@pytest.fixture
def task(plan: Plan) -> ClassifierTask:
    return ClassifierTask(plan.config, BACKBONES["lite0"], plan.shards("images"), plan.vocabulary)


def test_samples_are_crops_with_the_image_s_own_tags(task: ClassifierTask, plan: Plan) -> None:
    for index in range(task.images):
        sample = task.sample(index, np.random.default_rng(index))
        assert (tuple(sample["image"].shape), sample["image"].dtype) == ((3, 96, 96), torch.uint8)
        marked = [name for name, on in zip(plan.vocabulary, sample["target"], strict=True) if on]
        assert marked == sorted(task.table["tags"][index].as_py())


def test_a_sample_depends_on_its_generator_only(task: ClassifierTask) -> None:
    one, same, other = (task.sample(0, np.random.default_rng(seed))["image"] for seed in (5, 5, 6))
    assert torch.equal(one, same) and not torch.equal(one, other)


def test_a_broken_image_is_replaced_by_the_next(task: ClassifierTask) -> None:
    path = Path(task.table["uri"][2].as_py())
    whole = path.read_bytes()
    try:
        path.write_bytes(whole[: len(whole) // 2])
        broken = task.sample(2, np.random.default_rng(0))
    finally:
        path.write_bytes(whole)
    following = task.sample(3, np.random.default_rng(0))
    assert torch.equal(broken["image"], following["image"]) and torch.equal(broken["target"], following["target"])


def test_training_stops_if_no_image_can_be_decoded(task: ClassifierTask) -> None:
    column = task.table.schema.get_field_index("uri")
    task.table = task.table.set_column(column, "uri", [["/absent.png"] * task.images])
    with pytest.raises(RuntimeError, match="none of the images can be decoded"):
        task.sample(0, np.random.default_rng(0))


def test_the_head_learns_ten_times_faster_and_frozen_layers_do_not_learn(task: ClassifierTask) -> None:
    backbone, head = task.groups()
    assert head["lr"] == pytest.approx(10 * backbone["lr"])
    learning = {id(p) for p in task.model.parameters() if p.requires_grad}
    grouped = [id(p) for group in (backbone, head) for p in group["params"]]
    assert len(grouped) == len(set(grouped)) and set(grouped) == learning


def test_the_schedule_counts_usable_images(plan: Plan) -> None:
    images: Shards = plan.shards("images")
    stage = classifier.stage(plan.config, images, plan.vocabulary, 2_000)
    assert (stage.name, stage.schedule.epochs, stage.schedule.iterations) == ("classifier", 5, 5 * 1000)
    assert stage.build().images == 6


def test_it_learns_its_scenes(task: ClassifierTask) -> None:
    optimizer = torch.optim.SGD(task.groups())
    task.model.to(memory_format=torch.channels_last).train()
    values = []
    for step in range(16):
        rng = np.random.default_rng(step)
        samples = [task.sample((3 * step + k) % 6, rng) for k in range(3)]
        batch = {name: torch.stack([sample[name] for sample in samples]) for name in samples[0]}
        loss = task.losses(task.model, batch)["total"]
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        values.append(loss.item())
    assert np.mean(values[-4:]) < 0.6 * values[0]


def images(tags: list[list[str]]) -> pa.Table:
    return pa.table({"image_id": [f"{n}.jpg" for n in range(len(tags))], "tags": tags})


def test_about_a_tenth_is_held_out_and_always_the_same() -> None:
    many = images([["dog"]] * 2000)
    apart = held_out(many, 0.1)
    assert 150 < apart.sum() < 250
    assert np.array_equal(held_out(many.slice(0, 500), 0.1), apart[:500])
    assert not held_out(many, 0.0).any()


def test_images_of_rare_tags_are_never_held_out() -> None:
    rare = [["dog", "lynx"] if n % 10 == 0 else ["dog"] for n in range(150)]
    apart = held_out(images(rare), 0.5)
    assert apart.any() and not any("lynx" in rare[n] for n in np.flatnonzero(apart))


def test_held_out_images_are_measured_and_not_trained_on(task: ClassifierTask, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(classifier, "ENOUGH", 1)
    plan_images = task.table
    apart = held_out(plan_images, 0.5)
    assert 0 < apart.sum() < 6
    task.held_out = plan_images.filter(pa.array(apart))
    # A perfect network: its logits are the tags themselves.
    answers = {
        row["uri"]: [float(name in row["tags"]) for name in task.vocabulary] for row in task.held_out.to_pylist()
    }
    monkeypatch.setattr(task, "_logits", lambda row, _: answers[task.held_out["uri"][row].as_py()])
    measured = task.finish(torch.device("cpu"), 0, 1)
    assert measured["held_out"] == apart.sum()
    assert {tag for row in task.held_out["tags"].to_pylist() for tag in row} == set(measured["tags"])
    assert all(tag["ap"] == 1 and tag["images"] >= 1 for tag in measured["tags"].values())
    monkeypatch.setattr(task, "_logits", lambda row, _: [-n for n in answers[task.held_out["uri"][row].as_py()]])
    worst = task.finish(torch.device("cpu"), 0, 1)
    assert all(worst["tags"][name]["ap"] <= tag["ap"] for name, tag in measured["tags"].items())


def test_the_measure_is_of_the_real_network_and_leaves_it_training(task: ClassifierTask, tmp_path: Path) -> None:
    broken = tmp_path / "broken.png"
    broken.write_bytes(b"no image")
    row = task.table.slice(0, 1).to_pylist()[0]
    task.held_out = pa.Table.from_pylist([row, {**row, "uri": str(broken)}], task.table.schema)
    task.model.to(memory_format=torch.channels_last).train()
    measured = task.finish(torch.device("cpu"), 0, 1)
    assert measured["held_out"] == 1  # an image that cannot be decoded is not measured
    assert set(measured["tags"]) == set(row["tags"]) and task.model.training


def test_imagenet_s_own_classifier_gives_its_own_logits(tmp_path: Path) -> None:
    config = Config.model_validate({"backbone": "lite0", "classifier": {"pretrained": True}})
    tags = ["toilet tissue", "tench", "n02123045"]
    said = classifier.take_pretrained(config, tags)(Folder(str(tmp_path)))
    assert said == "3 classes of ImageNet's own classifier, nothing trained"
    model = Classifier(BACKBONES["lite0"], 3).eval()
    load_weights(model, (tmp_path / "weights.safetensors").read_bytes(), "the file")
    state = list(BACKBONES["lite0"].weights().values())
    assert torch.equal(model.classifier.weight[:, :, 0, 0], state[-2][[999, 0, 281]])
    # Logits equal those of the whole network without its bias, at the stride that attention maps need.
    image = torch.rand(1, 3, 64, 64, generator=torch.Generator().manual_seed(0)) * 255
    with torch.no_grad():
        features = model.backbone(image)[-1].mean(dim=(2, 3))
        assert torch.allclose(model(image), (features @ state[-2].T)[:, [999, 0, 281]], atol=1e-4)


def test_tags_that_match_no_imagenet_class_are_named() -> None:
    tags = ["tench", "crane", *"abcdef"]
    with pytest.raises(UserError, match=r"7 of the 8 tags match no ImageNet class, .*\(crane, a, b, c, d, \.\.\.\)"):
        classifier.pretrained(Config(backbone="lite0"), tags)


def test_an_image_of_nothing_teaches_that_every_tag_is_absent(task: ClassifierTask) -> None:
    column = task.table.schema.get_field_index("tags")
    none = pa.array([[]] * task.images, task.table.schema.field(column).type)
    task.table = task.table.set_column(column, task.table.schema.field(column), none)
    sample = task.sample(0, np.random.default_rng(0))
    assert not sample["target"].any() and "known" not in sample


def test_a_tag_that_is_unknown_has_no_loss(plan: Plan) -> None:
    images = plan.shards("images").rows
    for name in images.files():
        table = images.read_table(name)
        column = table.schema.get_field_index("tags_unknown")
        others = [[tag for tag in plan.vocabulary if tag not in tags][:1] for tags in table["tags"].to_pylist()]
        images.write_table(name, table.set_column(column, table.schema.field(column), [others]))
    task = ClassifierTask(plan.config, BACKBONES["lite0"], plan.shards("images"), plan.vocabulary)
    sample = task.sample(0, np.random.default_rng(0))
    unknown = plan.vocabulary.index(task.table["tags_unknown"][0].as_py()[0])
    assert [n for n, known in enumerate(sample["known"]) if not known] == [unknown]
    batch = {name: tensor[None] for name, tensor in sample.items()}
    task.losses(task.model.train(), batch)["total"].backward()
    gradient = task.model.classifier.weight.grad
    assert gradient is not None and not gradient[unknown].any()
    assert all(gradient[n].any() for n in range(len(plan.vocabulary)) if n != unknown)


def test_the_images_table_of_an_earlier_release_has_no_unknown_tags(plan: Plan) -> None:
    images = plan.shards("images").rows
    for name in images.files():
        images.write_table(name, images.read_table(name).drop_columns(["tags_unknown"]))
    task = ClassifierTask(plan.config, BACKBONES["lite0"], plan.shards("images"), plan.vocabulary)
    assert "known" not in task.sample(0, np.random.default_rng(0))


def test_few_classes_share_the_gradient_of_as_many_as_the_rates_are_fit_for(plan: Plan) -> None:
    """The mean over one class alone would take steps so large that training diverges on photos."""
    losses = {}
    for known in (1, 2, 5, 8):
        names = [*plan.vocabulary, *(f"class {number}" for number in range(8))][:8]
        task = ClassifierTask(plan.config, BACKBONES["lite0"], plan.shards("images"), names)
        with torch.no_grad():
            task.model.classifier.weight.zero_()  # every logit is 0, so that a class costs ln 2
        task.vocabulary = names[:known]
        batch = {"image": torch.zeros(1, 3, 64, 64, dtype=torch.uint8), "target": torch.zeros(1, 8)}
        losses[known] = task.losses(task.model.train(), batch)["total"].item() / np.log(2)
    assert losses == pytest.approx({1: 0.2, 2: 0.4, 5: 1, 8: 1})
