"""A student's fingerprint, schedule and backbone."""

from __future__ import annotations

from dataclasses import replace

from irnet_ray.config.load import Config
from irnet_ray.stages.student_kinds import KINDS
from irnet_ray.stages.students import Student

STUDENT = Student(KINDS["deeplab"], Config(), ("cat", "dog"), "0123")


def test_the_fingerprint_changes_only_with_what_the_weights_depend_on() -> None:
    longer = Config.model_validate({"deeplab": {"epochs": 21}})
    other = Config.model_validate({"mask_rcnn": {"epochs": 21}})
    changed = [
        replace(STUDENT, config=longer),
        replace(STUDENT, kind=KINDS["mask-rcnn"]),
        replace(STUDENT, kind=replace(KINDS["deeplab"], revision=2)),
        replace(STUDENT, vocabulary=("cat",)),
        replace(STUDENT, labels="4567"),
    ]
    prints = {student.fingerprint([]) for student in (STUDENT, *changed)} | {STUDENT.fingerprint(["held-out.jpg"])}
    assert len(prints) == len(changed) + 2
    assert replace(STUDENT, config=other).fingerprint([]) == STUDENT.fingerprint([])


def test_warm_up_takes_a_tenth_of_the_schedule_at_most() -> None:
    student = replace(STUDENT, kind=KINDS["mask-rcnn"])
    knobs = student.knobs
    assert student.schedule(100_000).warmup == knobs.warmup
    small = student.schedule(10)
    assert small.iterations >= knobs.min_iterations and small.warmup == small.iterations // 10


def test_a_student_s_own_backbone_has_its_own_weights() -> None:
    of_run = Config.model_validate({"backbone": "lite0", "weights": "/w/lite0.pth"})
    assert (replace(STUDENT, config=of_run).backbone.name, replace(STUDENT, config=of_run).weights) == (
        "lite0",
        "/w/lite0.pth",
    )
    own = Config.model_validate({"backbone": "lite0", "weights": "/w/lite0.pth", "deeplab": {"backbone": "resnet18"}})
    assert (replace(STUDENT, config=own).backbone.name, replace(STUDENT, config=own).weights) == ("resnet18", None)
