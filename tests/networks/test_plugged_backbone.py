"""A backbone that is only a row from outside carries students, in processes that do not know it.

`tests/end_to_end/test_plugged.py` labels images with it.
"""

from __future__ import annotations

import pickle
from collections.abc import Callable
from typing import Any

import pytest
import torch

from irnet_ray.config.load import load_config
from irnet_ray.errors import UserError
from irnet_ray.networks.backbones import BACKBONES
from irnet_ray.runs.folder import Folder
from irnet_ray.stages.deeplab import DeepLabTask
from irnet_ray.stages.label_rows import LabelRows
from irnet_ray.stages.mask_rcnn import MaskRCNNTask
from irnet_ray.stages.student_kinds import KINDS
from irnet_ray.stages.students import Student
from tests.networks.toy_backbone import TOY, own_names, toy_weights


@pytest.mark.parametrize(
    ("kind", "task"), [("deeplab", DeepLabTask), ("mask-rcnn", MaskRCNNTask)], ids=["deeplab", "mask-rcnn"]
)
def test_a_student_on_it_is_built_where_its_name_is_unknown(
    kind: str, task: Callable[[Student, LabelRows], Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    with monkeypatch.context() as here:
        here.setitem(BACKBONES, "toy", TOY)
        sent = pickle.dumps(Student(KINDS[kind], load_config(None, {"backbone": "toy"}), ("cat", "dog"), "0"))
    student = pickle.loads(sent)
    model = task(student, LabelRows.of(student.knobs, Folder("none"), [])).model
    body = model.backbone if kind == "deeplab" else model.backbone.body
    given = own_names(toy_weights())
    assert {name.removeprefix("network."): tensor for name, tensor in body.state_dict().items()}.keys() == given.keys()
    assert all(torch.equal(tensor, given[name.removeprefix("network.")]) for name, tensor in body.state_dict().items())


def test_without_the_row_its_name_is_unknown() -> None:
    with pytest.raises(UserError, match="must be one of lite0, resnet50, got"):
        load_config(None, {"backbone": "toy"})
