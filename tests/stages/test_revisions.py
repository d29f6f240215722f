"""The answer of every stage to a tiny input is pinned to the stage's revision in `stages/graph.py`.

Whoever changes an answer raises that revision, so that an upgrade computes the stage again, and pins the new answer:

    IRNET_RAY_PIN=1 pytest tests/stages/test_revisions.py

Answers are pinned as a few numbers, in float32, and compared to 1 %: processors round differently.
"""

from __future__ import annotations

import json
import os
from collections.abc import Iterable
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from irnet_ray.commands.plan import Plan
from irnet_ray.engine.steps import MapStage
from irnet_ray.engine.task import TrainStage
from irnet_ray.masks import decode_attention, decode_cam, decode_png, encode_cam
from irnet_ray.stages.graph import STAGES
from irnet_ray.stages.prototypes import prototypes_of
from irnet_ray.tables import Row

PINNED = Path(__file__).parents[1] / "data" / "answers.json"


@pytest.fixture(autouse=True)
def float32(monkeypatch: pytest.MonkeyPatch) -> None:
    """Turn bfloat16 off: CPUs with bfloat16 instructions round differently from others."""
    monkeypatch.setattr("irnet_ray.networks.inference.has_bfloat16", lambda device: False)


def check(stage: str, numbers: Iterable[float]) -> None:
    """Compare a result with the pinned one, or pin it."""
    answer = [float(f"{number:.5g}") for number in numbers]
    pinned: dict[str, Any] = json.loads(PINNED.read_text()) if PINNED.exists() else {}
    if os.environ.get("IRNET_RAY_PIN"):
        pinned[stage] = {"revision": STAGES[stage].revision, "answer": answer}
        PINNED.write_text(json.dumps(dict(sorted(pinned.items())), indent=1) + "\n")
    fault = compare(pinned[stage], STAGES[stage].revision, answer)
    assert fault is None, f"{stage}: {fault}; pinned {pinned[stage]['answer']}, found {answer}"


def compare(pinned: dict[str, Any], revision: int, answer: list[float]) -> str | None:
    """The fault of a result at this revision. None if it is the pinned one."""
    if pinned["revision"] != revision:
        return "the revision is new: pin its answer, as this file's docstring says"
    known = pinned["answer"]
    if len(known) != len(answer) or not np.allclose(answer, known, rtol=0.01, atol=1e-3):
        return "the answer has changed: raise the revision in stages/graph.py, and pin the answer"
    return None


def grid(map_KHW: np.ndarray) -> list[float]:
    """Means of a map over its first axis and a grid of 3 x 4."""
    rows = np.array_split(map_KHW.astype(np.float64).reshape(-1, *map_KHW.shape[-2:]).mean(axis=0), 3)
    return [float(cell.mean()) for row in rows for cell in np.array_split(row, 4, axis=1)]


def trained(stage: TrainStage, key: str) -> list[float]:
    """The result of a training stage: schedule, rates, one sample, and its losses before and after a step."""
    torch.manual_seed(0)
    task: Any = stage.build()
    samples = [task.sample(index, np.random.default_rng(index)) for index in range(task.images)]
    sample = max(samples, key=lambda sample: len(torch.unique(sample[key])))  # one with several classes
    batch = {name: torch.stack([tensor] * 2) for name, tensor in sample.items()}
    optimizer = torch.optim.SGD(task.groups(), lr=0.0, weight_decay=stage.weight_decay)
    numbers = [stage.schedule.iterations, stage.schedule.factor(10), *(group["lr"] for group in task.groups())]
    numbers += [float(tensor.double().mean()) for tensor in sample.values()]
    for _ in range(2):
        losses = task.losses(task.model.train(), batch)
        numbers += [float(value.detach()) for value in losses.values()]
        optimizer.zero_grad()
        losses["total"].backward()
        for group in optimizer.param_groups:
            group["lr"] = 0.01
        optimizer.step()
    return numbers


def row_of(stage: MapStage, row: Row) -> Row:
    """The result of a map stage for one row of its sources."""
    return stage.finish(row, stage.network(False)(row, stage.load(row)))


def test_classifier(plan: Plan) -> None:
    check("classifier", trained(STAGES["classifier"].build(plan), "target"))


def test_prototypes(plan: Plan, classifier: Any) -> None:
    made = row_of(STAGES["prototypes"].build(plan), plan.tags.to_pylist()[0])
    found = prototypes_of(made)
    order = found.attention.argsort()
    check("prototypes", [len(order), *found.attention[order].tolist(), *found.centers[order].std(dim=1).tolist()])


def test_seeds(plan: Plan, prototypes: Any) -> None:
    made = row_of(STAGES["seeds"].build(plan), plan.table.to_pylist()[0])
    check("seeds", [*grid(decode_cam(made)), *grid(decode_attention(made)), *grid(decode_png(made["confident_map"]))])


def test_irnet(plan: Plan, classifier: Any, truth_seeds: Any) -> None:
    # Large enough for pairs of the full radius.
    knobs = plan.config.irnet.model_copy(update={"crop": 96})
    larger = replace(plan, config=plan.config.model_copy(update={"irnet": knobs}))
    check("irnet", trained(STAGES["irnet"].build(larger), "class_map"))


def test_labels(plan: Plan, irnet: Any) -> None:
    row = next(row for row in plan.table.to_pylist() if len(row["tags"]) > 1)
    attention = np.zeros((len(row["tags"]), 24, 32), np.float32)
    for number in range(len(attention)):
        attention[number, 4:16, 10 * number + 2 : 10 * number + 9] = 1
    ids = [plan.vocabulary.index(tag) for tag in row["tags"]]
    made = row_of(STAGES["labels"].build(plan), {**row, "class_ids": ids, **encode_cam(attention), "attention": None})
    figures = [[i["area"], i["score"], i["quality"]] for i in made["instances"]]
    check("labels", [len(figures), *np.sum(figures, axis=0).tolist(), *grid(decode_png(made["semantic"]))])


def test_a_changed_result_or_a_new_revision_is_a_fault() -> None:
    pinned = {"revision": 1, "answer": [1.0, 200.0]}
    assert compare(pinned, 1, [1.0005, 200.0]) is None
    assert "raise the revision" in str(compare(pinned, 1, [1.0, 206.0]))
    assert "raise the revision" in str(compare(pinned, 1, [1.0]))
    assert "pin its answer" in str(compare(pinned, 2, [1.0, 200.0]))
