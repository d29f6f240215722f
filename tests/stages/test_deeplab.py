"""DeepLab's task: crops of an image and of its class map show the same place."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from PIL import Image

from irnet_ray.config.load import Config
from irnet_ray.masks import encode_png
from irnet_ray.runs.folder import Folder
from irnet_ray.stages.deeplab import DeepLabPredictor, DeepLabTask, build
from irnet_ray.stages.label_rows import IGNORED, LabelRows
from irnet_ray.stages.student_kinds import KINDS
from irnet_ray.stages.students import Student

pytest.importorskip("timm")
torch.set_num_threads(1)
SIZE = (80, 120)
CONFIG = Config.model_validate(
    {"backbone": "lite0", "deeplab": {"crop": 96, "rescale": (0.7, 1.4), "scales": (0.5, 1.0), "min_quality": 0.5}}
)
STUDENT = Student(KINDS["deeplab"], CONFIG, ("bird", "cat", "dog"), "0")
ROWS = LabelRows.of(CONFIG.deeplab, Folder("/nowhere"), [])


@pytest.fixture(scope="module")
def task() -> DeepLabTask:
    torch.manual_seed(0)
    return DeepLabTask(STUDENT, ROWS)


@pytest.fixture
def row(tmp_path: Path) -> dict[str, Any]:
    """The row of an image in which white is dog, black is cat and grey is background."""
    image = np.full((*SIZE, 3), 128, np.uint8)
    semantic = np.zeros(SIZE, np.uint8)
    image[10:50, 10:50], semantic[10:50, 10:50] = 255, 1
    image[30:70, 60:110], semantic[30:70, 60:110] = 0, 2
    Image.fromarray(image).save(tmp_path / "a.png")
    return {
        "image_id": "a.png",
        "uri": str(tmp_path / "a.png"),
        "tags": ["dog", "cat"],
        "width": SIZE[1],
        "height": SIZE[0],
        "instances": [],
        "semantic": encode_png(semantic),
    }


def test_image_and_target_show_the_same_place(task: DeepLabTask, row: dict[str, Any]) -> None:
    for seed in range(6):
        sample = task.sample(row, np.random.default_rng(seed))
        assert sample is not None
        image, target = sample["image"][0].numpy(), sample["target"].numpy()
        assert image.shape == target.shape == (96, 96)
        assert set(np.unique(target)) <= {0, 2, 3, IGNORED}
        # Except a pixel at a border, where resizing mixes colours.
        for number, low, high in ((3, 200, 256), (2, 0, 60), (0, 90, 170)):
            of_class = target == number
            if of_class.sum() > 100:
                assert ((image[of_class] >= low) & (image[of_class] < high)).mean() > 0.8


def test_an_image_that_cannot_be_decoded_gives_no_sample(task: DeepLabTask, row: dict[str, Any]) -> None:
    assert task.sample({**row, "uri": "/nowhere.png"}, np.random.default_rng(0)) is None


def test_the_head_learns_faster_than_the_backbone(task: DeepLabTask) -> None:
    body, head = task.groups()
    assert head["lr"] == pytest.approx(10 * body["lr"])
    learning = {id(p) for p in task.model.parameters() if p.requires_grad}
    assert {id(p) for group in (body, head) for p in group["params"]} == learning


def test_a_few_steps_lower_the_loss(task: DeepLabTask, row: dict[str, Any]) -> None:
    rng = np.random.default_rng(0)
    samples = [task.sample(row, rng) for _ in range(2)]
    batch = {key: torch.stack([sample[key] for sample in samples if sample]) for key in ("image", "target")}
    optimizer = torch.optim.SGD(task.groups(), momentum=0.9)
    model, values = task.model.train(), []
    for _ in range(6):
        loss = task.losses(model, batch)["total"]
        values.append(float(loss.detach()))
        optimizer.zero_grad()
        loss.backward()
        torch.nn.utils.clip_grad_norm_(list(model.parameters()), 10.0)
        optimizer.step()
    assert values[-1] < values[0]


@pytest.mark.parametrize("crf", [False, True])
def test_a_trained_network_gives_a_class_map_of_the_image_s_size(tmp_path: Path, crf: bool) -> None:
    from safetensors.torch import save

    config = CONFIG.model_copy(update={"deeplab": CONFIG.deeplab.model_copy(update={"crf": crf})})
    student = Student(KINDS["deeplab"], config, STUDENT.vocabulary, "0")
    folder = Folder(str(tmp_path))
    folder.write("weights.safetensors", save({k: v.contiguous() for k, v in build(student).state_dict().items()}))
    image = np.random.default_rng(0).integers(0, 256, (50, 70, 3), np.uint8)
    masks, classes, scores, semantic = DeepLabPredictor(student, folder, gpu=False)(image)
    assert len(masks) == len(classes) == len(scores) == 0
    assert semantic.shape == (50, 70) and semantic.max() <= len(student.vocabulary)


def test_broken_weights_raise_an_error(tmp_path: Path) -> None:
    from safetensors.torch import save

    state = {name: tensor.contiguous() for name, tensor in build(STUDENT).state_dict().items()}
    name = next(name for name, tensor in state.items() if tensor.ndim == 4)
    state[name] = torch.full_like(state[name], torch.nan)
    folder = Folder(str(tmp_path))
    folder.write("weights.safetensors", save(state))
    with pytest.raises(FloatingPointError, match="DeepLab's output is not finite"):
        DeepLabPredictor(STUDENT, folder, gpu=False)(np.zeros((50, 70, 3), np.uint8))
