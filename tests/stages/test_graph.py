"""The table of stages: order and needs agree, and a fingerprint changes with exactly what it covers."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest

from irnet_ray.config.load import Config, load_config
from irnet_ray.stages import graph
from irnet_ray.stages.graph import STAGES, fingerprints, wanted

DATA = {"content": "c", "images": "i", "shards": 4}


def prints(config: Config | None = None, **data: Any) -> dict[str, str]:
    return fingerprints(config or Config(), "imagenet", {**DATA, **data})


def after(stage: str) -> set[str]:
    """The stage and all stages that depend on it."""
    found = {stage}
    for name, known in STAGES.items():
        if found & {*known.needs, *known.follows}:
            found.add(name)
    return found


def test_every_stage_reads_only_stages_before_it() -> None:
    seen: set[str] = set()
    for name, stage in STAGES.items():
        assert stage.name == name and {*stage.needs, *stage.follows} <= seen
        assert set(stage.follows) <= set(stage.needs)
        seen.add(name)


@pytest.mark.parametrize("stage", STAGES)
def test_a_raised_revision_changes_its_stage_and_later_ones(stage: str, monkeypatch: pytest.MonkeyPatch) -> None:
    before = prints()
    raised = {name: replace(known, revision=2) if name == stage else known for name, known in STAGES.items()}
    monkeypatch.setattr(graph, "STAGES", raised)
    changed = {name for name, value in prints().items() if value != before[name]}
    assert changed == after(stage)


def test_the_version_of_the_package_does_not_count(monkeypatch: pytest.MonkeyPatch) -> None:
    before = prints()
    monkeypatch.setattr("irnet_ray._version.__version__", "99.0")
    monkeypatch.setattr("irnet_ray.__version__", "99.0")
    assert prints() == before


@pytest.mark.parametrize(
    ("setting", "stage"),
    [
        ("classifier.rate=0.2", "classifier"),
        ("seeds.prototypes=8", "prototypes"),
        ("seeds.foreground=0.4", "seeds"),
        ("irnet.rate=0.2", "irnet"),
        ("labels.background=0.3", "labels"),
        ("max_side=640", "classifier"),
        ("window=[0, 4095]", "classifier"),
    ],
)
def test_a_knob_changes_its_stage_and_later_ones(setting: str, stage: str) -> None:
    before, found = prints(), prints(load_config(None, {}, settings=[setting]))
    assert {name for name, value in found.items() if value != before[name]} == after(stage)


def test_knobs_that_change_no_result_change_no_fingerprint() -> None:
    assert prints(load_config(None, {}, settings=["unit_size=3", "image_seconds=5"])) == prints()


@pytest.mark.parametrize(("method", "made"), [("prototypes", True), ("correlation", False), ("cam", False)])
def test_a_config_runs_the_stages_that_its_seed_method_needs(method: str, made: bool) -> None:
    names = [stage.name for stage in wanted(load_config(None, {"seeds": {"method": method}}))]
    assert names == [name for name in STAGES if made or name != "prototypes"]


def test_few_classes_are_learned_otherwise_than_before_and_many_are_not() -> None:
    few = prints(few_classes="mean over 5 classes")
    assert all(few[name] != value for name, value in prints().items())


@pytest.mark.parametrize(("method", "counts"), [("prototypes", True), ("correlation", False), ("cam", False)])
def test_knobs_of_prototypes_count_where_the_seed_method_reads_them(method: str, counts: bool) -> None:
    plain = [f"seeds.method={method}"]
    before = prints(load_config(None, {}, settings=plain))
    for other in ("seeds.prototypes=8", "seeds.prototype_images=9"):
        changed = prints(load_config(None, {}, settings=[*plain, other]))["seeds"] != before["seeds"]
        assert changed == counts
