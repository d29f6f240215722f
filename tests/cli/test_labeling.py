"""The verbs on labels: they parse, call one function and print."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from irnet_ray.commands import label as api
from irnet_ray.commands.calibrate import Calibration, Knob
from irnet_ray.commands.defaults import OUT, SHARDS, SHOW_IMAGES
from irnet_ray.config.load import Config, describe
from irnet_ray.report.classifier import known_tags
from irnet_ray.report.summary import Summary
from tests.exports.runs import box, image, instance, write_run

Main = Callable[..., tuple[int, str, str]]


EMPTY = {
    **Summary().to_json([]),
    "errors": 5,
    "errors_by_kind": {"unreadable": 5},
    "unusual": [],
    "classifier": known_tags(None, 0),
}


RESULT = api.LabelResult("/out", "0123", images=5, labels=4, errors=1, instances=9, truth=None, report=EMPTY)


def test_label_passes_every_option_on(main: Main, monkeypatch: pytest.MonkeyPatch) -> None:
    seen: list[tuple[tuple[Any, ...], dict[str, Any]]] = []

    def label(*positional: Any, **named: Any) -> api.LabelResult:
        seen.append((positional, named))
        return RESULT

    monkeypatch.setattr(api, "label", label)
    assert main("label")[0] == 0
    options = "--data d --out o --shards 9 --backbone lite0 --weights w --config c --seeds cam --preset paper"
    code, out, err = main(
        "label",
        *options.split(),
        *["--workers", "2", "--limit", "3", "--address", "a", "--then", "deeplab, mask-rcnn"],
        *[
            "--classifier",
            "pretrained",
            "--window",
            "-1024",
            "3071",
            "--set",
            "labels.background=0.3",
            "--set",
            "seed=1",
            "--accept",
            "captions",
            *("--images", "i", "--separator", "|", "--classes", "n", "--synonyms", "y"),
        ],
    )
    assert (code, err) == (0, "")
    full = {"backbone": "lite0", "weights": "w", "config": Path("c"), "seeds": "cam", "preset": "paper"}
    full["classifier"] = "pretrained"
    full |= {"workers": 2, "limit": 3, "address": "a"}
    full["window"] = (-1024.0, 3071.0)
    full |= {"images": "i", "separator": "|", "classes": Path("n"), "synonyms": Path("y")}
    plain = dict.fromkeys(full) | {"then": [], "settings": (), "accept": ()}
    full |= {"then": ["deeplab", "mask-rcnn"], "settings": ["labels.background=0.3", "seed=1"]}
    full["accept"] = ["captions"]
    assert seen == [
        ((None, OUT), {"shards": SHARDS, **plain}),
        (("d", "o"), {"shards": 9, **full}),
    ]
    assert "5 images = 4 labels + 1 errors" in out
    assert "labels  /out/labels/*.parquet" in out and "errors  /out/errors/*.parquet" in out
    assert "irnet-ray show /out" in out


def test_label_compares_scenes_with_their_truth(main: Main, monkeypatch: pytest.MonkeyPatch) -> None:
    class Figures:
        def table(self) -> str:
            return "the table"

    monkeypatch.setattr(api, "label", lambda *_, **__: api.LabelResult("/out", "0", 5, 5, 0, 9, "/truth.json", EMPTY))
    monkeypatch.setattr("irnet_ray.commands.evaluate.evaluate", lambda out, truth: Figures())
    code, out, _ = main("label")
    assert code == 0 and "/truth.json" in out and out.endswith("the table\n")
    assert "errors  /out" not in out


def test_a_run_without_any_label_is_a_failure(main: Main, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(api, "label", lambda *_, **__: api.LabelResult("/out", "0", 5, 0, 5, 0, None, EMPTY))
    code, out, err = main("label")
    assert code == 2 and "5 images = 0 labels + 5 errors" in out
    assert out.endswith("\n\nerrors: unreadable 5\n") and "report  /out/report.json\n" in out
    assert err == "irnet-ray: No image could be labeled: the errors table says why.\n"


def test_config_prints_every_knob(main: Main, tmp_path: Path) -> None:
    code, out, _ = main("config")
    lines = out.splitlines()
    assert code == 0 and lines[0].split() == ["key", "value", "unit", "source", "meaning"]
    for line, (key, value, unit, source, meaning) in zip(lines[1:], describe(Config()), strict=True):
        assert line.startswith(f"{key} ") and line.endswith(meaning)
        assert value in line and unit in line and source in line
    (tmp_path / "run.yaml").write_text("seed: 77\n")
    shown = main("config", "--backbone", "lite0", "--config", str(tmp_path / "run.yaml"))[1]
    values = {line.split()[0]: line.split()[1] for line in shown.splitlines()}
    assert (values["seed"], json.loads(values["backbone"])) == ("77", "lite0")


def test_show_prints_where_the_picture_is(main: Main, monkeypatch: pytest.MonkeyPatch) -> None:
    seen: list[tuple[Any, ...]] = []

    def show(*arguments: Any) -> Path:
        seen.append(arguments)
        return Path("/out/show.png")

    monkeypatch.setattr("irnet_ray.commands.show.show", show)
    assert main("show", "out")[1] == "/out/show.png\n"
    main("show", "out", "--image", "a", "--image", "b", "--limit", "3", "--to", "x.png")
    assert seen == [("out", [], SHOW_IMAGES, None), ("out", ["a", "b"], 3, Path("x.png"))]


def test_evaluate_prints_its_tables_and_writes_its_figures(
    main: Main, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    seen: list[tuple[tuple[Any, ...], dict[str, Any]]] = []

    class Figures:
        def table(self) -> str:
            return "the tables"

        def to_json(self) -> dict[str, Any]:
            return {"images": 7}

    def evaluate(*positional: Any, **named: Any) -> Figures:
        seen.append((positional, named))
        return Figures()

    monkeypatch.setattr("irnet_ray.commands.evaluate.evaluate", evaluate)
    figures = tmp_path / "figures.json"
    assert main("evaluate", "o", "--truth", "t")[:2] == (0, "the tables\n")
    options = f"--ablation --json {figures} --workers 2 --address a --synonyms y"
    assert main("evaluate", "o", "--truth", "t", *options.split())[0] == 0
    paths = ("o", Path("t"))
    assert seen == [
        ((*paths, False, False), {"synonyms": None, "address": None, "workers": None}),
        ((*paths, True, False), {"synonyms": Path("y"), "address": "a", "workers": 2}),
    ]
    assert json.loads(figures.read_text()) == {"images": 7}
    code, _, said = main("evaluate", "o", "--truth", "t", "--json", str(tmp_path / "absent" / "figures.json"))
    assert code == 2 and said.startswith("irnet-ray: Cannot write")


def test_calibrate_prints_the_table_the_config_and_the_next_command(
    main: Main, monkeypatch: pytest.MonkeyPatch
) -> None:
    seen: list[tuple[Any, ...]] = []

    def found_it(*arguments: Any, synonyms: Any) -> Calibration:
        seen.append(arguments)
        value = 0.4 if arguments[2] else 0.3
        knob = Knob("seeds.foreground", 0.3, value, value, (value,) * 5, 0.5, 0.6)
        return Calibration([knob], 20, Path("/out/calibrated.yaml"), "irnet-ray label --config c", [])

    monkeypatch.setattr("irnet_ray.commands.calibrate.calibrate", found_it)
    code, out, _ = main("calibrate", "o", "--truth", "t.json", "--to", "c.yaml")
    assert code == 0 and out.startswith("knob ")
    assert out.endswith("\n\nconfig  /out/calibrated.yaml\nnext    irnet-ray label --config c\n")
    said = main("calibrate", "o", "--truth", "t.json")[1]
    assert said.endswith("\nNo threshold gains anything: the config is the run's own.\n")
    assert seen == [("o", Path("t.json"), Path("c.yaml")), ("o", Path("t.json"), None)]


def command(*arguments: Any) -> tuple[int, str, str]:
    """Run the command in another process, in which importing torch or Ray fails."""
    code = "import sys; sys.modules.update(torch=None, ray=None); from irnet_ray.cli import main; main()"
    environment = {**os.environ, "PYTHONPATH": str(Path(__file__).resolve().parents[2])}
    words = [sys.executable, "-c", code, *map(str, arguments)]
    done = subprocess.run(words, capture_output=True, text=True, env=environment)
    return done.returncode, done.stdout, done.stderr


def test_export_needs_neither_torch_nor_ray_and_refuses_with_one_sentence(tmp_path: Path) -> None:
    mask, out = box((6, 8), (0, 0, 6, 3)), tmp_path / "new"
    pair = [instance(mask, "dog", 0.75, 0.75), instance(mask, "cat", 0.5, 0.25)]
    run = write_run(tmp_path / "run", [image(f"{number}.jpg", pair) for number in range(30)], failed=["broken.jpg"])
    options = ["--out", out, "--min-quality", 0.5, "--min-score", 0.25]
    code, said, wrong = command("export", run / "labels", "--format", "voc", *options)
    assert (code, wrong) == (0, "")
    lines = said.splitlines()
    assert lines[:2] == ["30 images, 30 annotations, 3 classes", "left out  30 of quality below 0.5"]
    assert lines[-1] == f"written   {out}/VOC" and (out / "VOC" / "labels.txt").is_file()
    code, said, wrong = command("export", run, "--format", "coco", "--out", out)
    assert (code, said) == (2, "")
    assert wrong == f"irnet-ray: {out} is not empty: name a new folder, or empty this one.\n"
    code, said, wrong = command("export", run, "--format", "png", "--out", tmp_path / "other")
    assert (code, said) == (2, "")
    assert wrong == "irnet-ray: Unknown format 'png': the formats are coco, voc, yolo.\n"
