"""The command only parses, calls one function and prints; exit codes say whose fault it was."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from irnet_ray import cli
from irnet_ray.commands import label as api
from irnet_ray.config.load import Config, describe
from irnet_ray.errors import UserError
from irnet_ray.report.classifier import known_tags
from irnet_ray.report.summary import Summary

EMPTY = {
    **Summary().to_json([]),
    "errors": 5,
    "errors_by_kind": {"unreadable": 5},
    "unusual": [],
    "classifier": known_tags(None, 0),
}
RESULT = api.LabelResult("/out", "0123", images=5, labels=4, errors=1, instances=9, truth=None, report=EMPTY)


@pytest.fixture
def main(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> Callable[..., tuple[int, str, str]]:
    """Run a command: exit code, standard output, standard error."""

    def run(*arguments: str) -> tuple[int, str, str]:
        monkeypatch.setattr("sys.argv", ["irnet-ray", *arguments])
        code = 0
        try:
            cli.main()
        except SystemExit as ended:
            code = int(ended.code or 0)
        return code, *capsys.readouterr()

    return run


Main = Callable[..., tuple[int, str, str]]


def test_label_hands_every_option_on(main: Main, monkeypatch: pytest.MonkeyPatch) -> None:
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
        *["--classifier", "pretrained", "--set", "labels.background=0.3", "--set", "seed=1"],
    )
    assert (code, err) == (0, "")
    full = {"backbone": "lite0", "weights": "w", "config": Path("c"), "seeds": "cam", "preset": "paper"}
    full["classifier"] = "pretrained"
    full |= {"workers": 2, "limit": 3, "address": "a"}
    plain = dict.fromkeys(full) | {"then": [], "settings": ()}
    full |= {"then": ["deeplab", "mask-rcnn"], "settings": ["labels.background=0.3", "seed=1"]}
    assert seen == [
        ((None, "irnet-out"), {"shards": 4, **plain}),
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


def test_a_run_without_one_label_is_no_success(main: Main, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(api, "label", lambda *_, **__: api.LabelResult("/out", "0", 5, 0, 5, 0, None, EMPTY))
    code, out, err = main("label")
    assert code == 2 and "5 images = 0 labels + 5 errors" in out
    assert out.endswith("\n\nerrors: unreadable 5\n") and "report  /out/report.json\n" in out
    assert err == "irnet-ray: No image could be labeled: the errors table says why.\n"


@pytest.mark.parametrize(
    ("error", "code", "said"),
    [
        (UserError("No such thing."), 2, "irnet-ray: No such thing.\n"),
        (RuntimeError("seeds: stopped."), 1, "irnet-ray: seeds: stopped.\n"),
        (OSError(28, "No space left on device"), 1, "irnet-ray: [Errno 28] No space left on device\n"),
        (KeyboardInterrupt(), 130, "irnet-ray: stopped; run the same command to continue.\n"),
    ],
)
def test_exit_codes_tell_a_person_s_mistake_from_a_failure(
    main: Main, monkeypatch: pytest.MonkeyPatch, error: BaseException, code: int, said: str
) -> None:
    def label(*_: Any, **__: Any) -> None:
        raise error

    monkeypatch.setattr(api, "label", label)
    assert main("label") == (code, "", said)


def test_a_bug_shows_its_traceback(main: Main, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(api, "label", lambda *_, **__: RESULT.nonsense)  # type: ignore[attr-defined]
    with pytest.raises(AttributeError):
        main("label")


@pytest.mark.parametrize("arguments", [["label", "--shard", "3"], ["label", "--shards", "many"], ["lable"], ["show"]])
def test_what_cannot_be_parsed_is_a_mistake_too(main: Main, arguments: list[str]) -> None:
    code, out, err = main(*arguments)
    assert code == 2 and out == "" and err and "Traceback" not in err


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
    assert seen == [("out", [], 12, None), ("out", ["a", "b"], 3, Path("x.png"))]


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
    options = f"--ablation --json {figures} --workers 2 --address a"
    assert main("evaluate", "o", "--truth", "t", *options.split())[0] == 0
    paths = ("o", Path("t"))
    assert seen == [
        ((*paths, False, False), {"address": None, "workers": None}),
        ((*paths, True, False), {"address": "a", "workers": 2}),
    ]
    assert json.loads(figures.read_text()) == {"images": 7}
    code, _, said = main("evaluate", "o", "--truth", "t", "--json", str(tmp_path / "absent" / "figures.json"))
    assert code == 2 and said.startswith("irnet-ray: Cannot write")
