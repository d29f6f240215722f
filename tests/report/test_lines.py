"""What a person sees: exact lines of a small run, and bounds for a large one."""

from __future__ import annotations

from typing import Any

from irnet_ray.report.classifier import known_tags
from irnet_ray.report.lines import ROWS, WIDTH, classifier_lines, report_lines
from irnet_ray.report.summary import Summary, Tally


def known(aps: dict[str, float], vocabulary: int, images: int = 3) -> dict[str, Any]:
    tags = {name: {"ap": ap, "images": images} for name, ap in aps.items()}
    return known_tags({"held_out": 40, "tags": tags}, vocabulary)


def report(summary: Summary, **more: Any) -> dict[str, Any]:
    classifier = known({}, len(summary.classes))
    plain = {"errors": 0, "errors_by_kind": {}, "unusual": [], "classifier": classifier}
    return {**plain, **summary.to_json(sorted(summary.classes)), **more}


def test_a_good_classifier_is_one_line() -> None:
    assert classifier_lines(known({"cat": 0.75, "dog": 1.0}, 2)) == [
        "classifier: mean AP 0.88 of 2 tags on 40 held-out images"
    ]
    assert classifier_lines(known({"cat": 0.75}, 2)) == [
        "classifier: mean AP 0.75 of 1 tag on 40 held-out images; 1 tag could not be measured"
    ]
    assert classifier_lines(known({"cat": 0.75}, 9))[0].endswith("; 8 tags could not be measured")


def test_weak_tags_are_named_with_what_follows_from_them() -> None:
    assert classifier_lines(known({"cat": 0.75, "cup": 0.25, "alarm\nclock": 0.125}, 3)) == [
        "classifier: mean AP 0.38 of 3 tags on 40 held-out images",
        "weak tags, AP under 0.5: alarm clock 0.12, cup 0.25. "
        "Masks of these will be poor: IRNet amplifies bad attention maps.",
    ]
    assert len(classifier_lines(known({"cup": 0.25}, 1, images=2))) == 1


def test_at_most_eight_weak_tags_are_named() -> None:
    eight, ten = (classifier_lines(known({f"tag{n}": n / 100 for n in range(count)}, 10))[1] for count in (8, 10))
    assert "tag7 0.07. Masks" in eight and "more" not in eight
    assert "tag7 0.07 and 2 more. Masks" in ten and "tag8" not in ten


def test_nothing_measured_is_said_in_a_few_words() -> None:
    assert classifier_lines(known_tags(None, 3)) == ["classifier: nothing measured, too few images to hold some out"]


def small() -> Summary:
    cat = Tally(8, 2, 12, 6.0, 800, 200, 80, 16, 24, 15, 25)
    dog = Tally(3, 0, 3, 2.25, 300, 60, 30, 9, 6, 6, 9)
    every = Tally(10, 2, 15, 8.25, 1000, 260, 100, 25, 30, 21, 34)
    return Summary(every, {"dog": dog, "cat": cat, "hot air balloon": Tally()})


def test_a_small_run_line_by_line() -> None:
    lines = report_lines(
        report(
            small(),
            errors=4,
            errors_by_kind={"worker-died": 1, "unreadable": 3},
            unusual=[
                {"what": "overall", "cases": ["9.0 instances per image"]},
                {"what": "large", "cases": ["cat (1 %)", "dog (2 %)"]},
            ],
            classifier=known({"cat": 0.875}, 3),
        )
    )
    assert lines == [
        "class            images  pixels %  CAM %  label %   IoU  per image  none %  quality    AP",
        "cat                   8      20.0   20.0     30.0  0.60       1.50    25.0     0.50  0.88",
        "dog                   3       6.0   30.0     20.0  0.67       1.00     0.0     0.75     -",
        "hot air balloon       0       0.0      -        -     -          -       -        -     -",
        "all classes: CAM 25.0 % of pixels, label 30.0 %, IoU of both 0.62; each class: of its own images",
        "instances: 1.50 per image, mean quality 0.55, none in 2 of 10 images",
        "errors: unreadable 3, worker-died 1",
        "unusual: overall: 9.0 instances per image",
        "unusual: large: cat (1 %), dog (2 %)",
    ]


def test_a_run_of_errors_alone() -> None:
    empty = Summary(classes={"cat": Tally()})
    assert report_lines(report(empty, errors=5, errors_by_kind={"unreadable": 5})) == ["errors: unreadable 5"]


def test_as_many_classes_as_fit_are_shown_in_order_of_their_images() -> None:
    def table(count: int) -> list[str]:
        classes = {f"class {n}": Tally(images=n, area=100, cells=10) for n in range(1, count + 1)}
        return report_lines(report(Summary(Tally(images=count, area=100, cells=10), classes)))[1:-2]

    assert [line.split()[1] for line in table(ROWS)] == [str(n) for n in range(ROWS, 0, -1)]
    more = table(ROWS + 1)
    assert len(more) == ROWS and more[-1] == "and 2 more classes in report.json"
    assert more[-2].startswith("class 3 ")


def test_the_largest_run_keeps_to_its_lines_and_columns() -> None:
    """With the blank line before it and two lines on the classifier, 24 in all."""
    names = [f"a very long name of a class, and it has\na second line, number {n}" for n in range(200)]
    counts = Tally(9_999_999, 9_999_999, 99_999_999, 0.5, 10**12, 10**12, 10**12, 10**12, 10**12, 10**12, 10**12)
    cases = [f"{name} (100.0 % to 100.0 %)" for name in names]
    kinds = {f"SomethingVeryUnexpectedError{n}": 10**6 for n in range(50)}
    five = [{"what": f"over 3 times the median class, 20.0 % of its images {n}", "cases": cases} for n in range(4)]
    five.append({"what": "over " * 40, "cases": ["cat"]})
    classifier = known(dict.fromkeys(names, 0.25), 200)
    content = report(
        Summary(counts, dict.fromkeys(names, counts)),
        errors=5 * 10**7,
        errors_by_kind=kinds,
        unusual=five,
        classifier=classifier,
    )
    lines = report_lines(content)
    assert len(lines) == 21
    assert len(lines) + 1 + len(classifier_lines(classifier)) == 24
    assert max(map(len, lines)) <= WIDTH == 100
    assert not any("\n" in line for line in [*lines, *classifier_lines(classifier)])
    assert lines[ROWS] == "and 189 more classes in report.json"
    assert lines[ROWS + 3].endswith(" and 48 more")
