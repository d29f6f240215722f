"""The sections of a config: strict about types, ranges and names, and immutable."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
from pydantic import BaseModel, ValidationError

from irnet_ray.algorithms.seed_methods import METHODS
from irnet_ray.config.load import Config, load_config
from irnet_ray.config.sections import IRNet, MaskRCNN, Section, Seeds, Student, one_of


@pytest.mark.parametrize(
    "knobs", [{"method": "cams"}, {"scales": ()}, {"foreground": 0.1, "background": 0.1}, {"x": 1}]
)
def test_wrong_seeds_are_refused(knobs: dict[str, Any]) -> None:
    with pytest.raises(ValidationError):
        Seeds(**knobs)


def test_a_name_that_is_added_later_is_known_at_once(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(METHODS, "another", METHODS["cam"])
    assert Seeds(method="another").method == "another"
    with pytest.raises(ValidationError, match="must be one of another, cam, correlation, prototypes"):
        Seeds(method="a third")


def test_names_are_case_sensitive() -> None:
    assert one_of({"b": 1, "a": 2})("a") == "a"
    with pytest.raises(ValueError, match=r"^must be one of a, b$"):
        one_of({"b": 1, "a": 2})("A")


@pytest.mark.parametrize("rescale", [(1.5, 0.5), (0, 1), (1,), (1, 2, 3), ("a", 1)])
def test_a_range_is_two_positive_numbers_the_smaller_first(rescale: Any) -> None:
    with pytest.raises(ValidationError):
        IRNet(rescale=rescale)
    assert IRNet(rescale=(1, 1)).rescale == (1, 1)


def test_a_student_s_weights_stay_where_they_were_named(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    assert MaskRCNN(weights="own.pth").weights == str(tmp_path / "own.pth")
    assert Student().weights is None


def test_every_section_refuses_unknown_keys() -> None:
    sections = [field.annotation for field in Config.model_fields.values()]
    found = [each for each in sections if isinstance(each, type) and issubclass(each, BaseModel)]
    assert len(found) == 7 and all(issubclass(each, Section) for each in found)
    for each in found:
        with pytest.raises(ValidationError, match="Extra inputs are not permitted"):
            each.model_validate({"of a later release": 1})


def test_knobs_cannot_change_in_a_run() -> None:
    with pytest.raises(ValueError, match="frozen"):
        Config().irnet.epochs = 1


def test_irnet_looks_at_images_at_the_middle_of_its_training_scales() -> None:
    assert Config().irnet.middle_scale == 1.0  # the paper's
    assert load_config(None, {"irnet": {"rescale": (0.25, 1.25)}}).irnet.middle_scale == 0.75
