"""Loading a config: strict about keys, types and ranges; layers override each other in a fixed order."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
import yaml

from irnet_ray.config.load import PAPER, SCENES, Config, describe, load_config, recorded_config
from irnet_ray.errors import UserError
from irnet_ray.networks.backbones import BACKBONES


def written(folder: Path, content: Any) -> Path:
    path = folder / "run.yaml"
    path.write_text(content if isinstance(content, str) else yaml.safe_dump(content))
    return path


@pytest.mark.parametrize(
    ("content", "key"),
    [
        ({"backbon": "lite0"}, "backbon"),
        ({"irnet": {"epoch": 3}}, "irnet.epoch"),
        ({"labels": {"walk": {"beta": 1}}}, "labels.walk"),
    ],
)
def test_an_unknown_key_is_refused_by_name(tmp_path: Path, content: Any, key: str) -> None:
    path = written(tmp_path, content)
    with pytest.raises(UserError) as caught:
        load_config(path, {})
    assert f"Unknown key {key!r} in config {path}" in str(caught.value)
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize(
    ("content", "key"),
    [
        ({"backbone": "vgg16"}, "backbone"),
        ({"seed": -1}, "seed"),
        ({"unit_size": 0}, "unit_size"),
        ({"image_seconds": 0}, "image_seconds"),
        ({"max_side": "large"}, "max_side"),
        ({"irnet": 5}, "irnet"),
        ({"irnet": {"crop": 321}}, "irnet.crop"),
        ({"irnet": {"rescale": [1.5, 0.5]}}, "irnet.rescale"),
        ({"irnet": {"rescale": [0, 1]}}, "irnet.rescale"),
        ({"classifier": {"epochs": 1.5}}, "classifier.epochs"),
        ({"classifier": {"rate": float("inf")}}, "classifier.rate"),
        ({"classifier": {"resize": [640, 320]}}, "classifier.resize"),
        ({"classifier": {"resize": [320]}}, "classifier.resize"),
        ({"seeds": {"scales": []}}, "seeds.scales"),
        ({"seeds": {"scales": [1.0, 0.0]}}, "seeds.scales"),
        ({"seeds": {"scales": [1.0, "big"]}}, "seeds.scales"),
        ({"seeds": {"foreground": 1.5}}, "seeds.foreground"),
        ({"seeds": {"foreground": 0.1, "background": 0.2}}, "seeds"),
        ({"labels": {"steps": None}}, "labels.steps"),
        ({"backbone": ["lite0"]}, "backbone"),
    ],
)
def test_a_wrong_value_is_refused_by_name(tmp_path: Path, content: Any, key: str) -> None:
    with pytest.raises(UserError) as caught:
        load_config(written(tmp_path, content), {})
    assert f"Bad value for '{key}" in str(caught.value)
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize(
    ("content", "said"),
    [("[1, 2]", "holds a list"), ("just words", "holds a str"), ("a: [1", "is not YAML or JSON")],
)
def test_a_file_that_is_no_mapping_is_refused(tmp_path: Path, content: str, said: str) -> None:
    with pytest.raises(UserError, match=said) as caught:
        load_config(written(tmp_path, content), {})
    assert "\n" not in str(caught.value)


def test_files_that_cannot_be_read_are_refused(tmp_path: Path) -> None:
    with pytest.raises(UserError, match="No config file at"):
        load_config(tmp_path / "absent.yaml", {})
    with pytest.raises(UserError, match="No config file at"):
        load_config(tmp_path, {})
    (tmp_path / "binary").write_bytes(b"\xff\xfe\x00")
    with pytest.raises(UserError, match="is not YAML or JSON"):
        load_config(tmp_path / "binary", {})


def test_an_empty_file_keeps_every_default(tmp_path: Path) -> None:
    assert load_config(written(tmp_path, ""), {}) == load_config(None, {}) == Config()


def test_json_is_read_too(tmp_path: Path) -> None:
    path = tmp_path / "run.json"
    path.write_text(json.dumps({"irnet": {"epochs": 7}}))
    assert load_config(path, {}).irnet.epochs == 7


def test_small_numbers_may_be_written_as_people_write_them(tmp_path: Path) -> None:
    # YAML 1.1 takes 1e-4 for a string.
    assert load_config(written(tmp_path, "irnet: {weight_decay: 1e-4}"), {}).irnet.weight_decay == 1e-4


def test_layers_override_each_other_in_order(tmp_path: Path) -> None:
    path = written(tmp_path, {"backbone": "resnet50", "seed": 3, "irnet": {"crop": 64}})
    assert load_config(path, {"seed": None}).seed == 3
    chosen = load_config(path, {"backbone": "lite0", "seed": 4}, scenes=True)
    assert (chosen.backbone, chosen.seed) == ("lite0", 4)  # over the file
    assert chosen.irnet.crop == 64  # the file over scenes
    assert chosen.irnet.min_iterations == SCENES["irnet"]["min_iterations"]  # scenes over the small backbone
    assert chosen.classifier.crop == SCENES["classifier"]["crop"]
    assert chosen.irnet.batch_size == BACKBONES["lite0"].defaults["irnet"]["batch_size"]  # over the defaults
    assert load_config(path, {}).irnet.batch_size == Config().irnet.batch_size


def test_a_preset_is_under_the_file_and_over_the_defaults(tmp_path: Path) -> None:
    assert load_config(None, {}, preset="paper").seeds.method == "cam"
    assert load_config(None, {}).seeds.method != "cam"
    path = written(tmp_path, {"seeds": {"method": "correlation"}})
    assert load_config(path, {}, preset="paper").seeds.method == "correlation"
    assert load_config(path, {"seeds": {"method": "prototypes"}}, preset="paper").seeds.method == "prototypes"
    assert load_config(path, {"seeds": {"method": None}}).seeds.method == "correlation"
    small = load_config(None, {"backbone": "lite0"}, preset="paper")
    published = {"contrast": 0.0, "background_rise": 0.0}
    assert small.irnet == load_config(None, {"backbone": "lite0"}).irnet.model_copy(update=published)


def test_a_record_of_an_older_release_keeps_its_meaning() -> None:
    record = Config().model_dump(mode="json")
    assert recorded_config(record) == Config()
    del record["irnet"]["contrast"], record["irnet"]["background_rise"], record["labels"]["centroid_share"]
    assert recorded_config(record).irnet == load_config(None, {}, preset="paper").irnet
    assert recorded_config(record).labels == Config().labels.model_copy(update={"centroid_share": 0.0})


def test_an_unknown_preset_is_refused_by_name() -> None:
    with pytest.raises(UserError, match="No preset 'papers': choose one of paper"):
        load_config(None, {}, preset="papers")


def test_layers_of_defaults_are_valid() -> None:
    for layer in (BACKBONES["lite0"].defaults, SCENES, PAPER):
        for section, knobs in layer.items():
            read = Config.model_validate({section: knobs})
            assert getattr(read, section) != getattr(Config(), section)


def test_a_config_is_written_and_read_back() -> None:
    chosen = load_config(None, {"backbone": "lite0"})
    assert Config.model_validate(json.loads(json.dumps(chosen.model_dump(mode="json")))) == chosen


def test_weights_stay_where_they_were_named(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    assert load_config(None, {"weights": "own.pth"}).weights == str(tmp_path / "own.pth")


def test_every_knob_says_its_unit_source_and_meaning() -> None:
    rows = describe(Config())
    keys = [row[0] for row in rows]
    assert len(keys) == len(set(keys)) > 30
    for key, value, unit, source, meaning in rows:
        assert unit and meaning and isinstance(source, str), key
        assert not meaning.endswith("."), key
        json.loads(value)
    shown = {row[0]: row[1] for row in describe(load_config(None, {"backbone": "lite0"}))}
    crop = BACKBONES["lite0"].defaults["irnet"]["crop"]
    assert (shown["backbone"], shown["irnet.crop"]) == ('"lite0"', str(crop))


# Single knobs, as `--set` takes them


def test_single_knobs_win_over_file_and_options(tmp_path: Path) -> None:
    path = written(tmp_path, {"labels": {"background": 0.2, "beta": 8.0}})
    settings = ["labels.background=0.3", "seeds.scales=[1, 2]", "weights=null", "backbone=lite0", "seeds.method=cam"]
    found = load_config(path, {"seeds": {"method": "correlation"}}, settings=settings)
    assert (found.labels.background, found.labels.beta) == (0.3, 8.0)
    assert found.seeds.scales == (1.0, 2.0) and found.seeds.method == "cam"
    assert found.irnet.crop == load_config(None, {"backbone": "lite0"}).irnet.crop  # a backbone has its own defaults


@pytest.mark.parametrize(
    ("setting", "said"),
    [
        ("labels.backgrund=0.3", "Unknown key 'labels.backgrund' in --set: `irnet-ray config` lists every key."),
        ("labels.background=2", "Bad value for 'labels.background' in --set: "),
        ("labels=5", "Bad value for 'labels' in --set: "),
        ("labels.background", "--set takes KEY=VALUE, such as labels.background=0.3, but got 'labels.background'."),
        ("=3", "--set takes KEY=VALUE"),
        ("labels.=3", "--set takes KEY=VALUE"),
        ("labels.background=[", "--set labels.background=[: the value is not YAML"),
        ("seeds.method=cams", "must be one of cam, correlation, prototypes, got 'cams'"),
    ],
)
def test_a_wrong_single_knob_is_refused_by_its_option(tmp_path: Path, setting: str, said: str) -> None:
    path = written(tmp_path, {"labels": {"beta": 8.0}})
    with pytest.raises(UserError) as caught:
        load_config(path, {}, settings=[setting])
    assert said in str(caught.value) and "\n" not in str(caught.value)


def test_a_wrong_value_in_the_file_is_not_blamed_on_single_knobs(tmp_path: Path) -> None:
    path = written(tmp_path, {"labels": {"beta": -1}})
    with pytest.raises(UserError, match=f"'labels.beta' in config {path}"):
        load_config(path, {}, settings=["labels.background=0.3"])


@pytest.mark.parametrize("settings", [["labels=&a {b: *a}"] * 2, [".".join("a" * 5000) + "=1"]])
def test_values_nested_without_end_are_refused(settings: list[str]) -> None:
    with pytest.raises(UserError, match=r"--set (nests values without end|labels)|Unknown key"):
        load_config(None, {}, settings=settings)


@pytest.mark.parametrize("setting", ["seed=4294967296", "labels.radius=65", "irnet.radius=65"])
def test_numbers_that_no_machine_could_work_with_are_refused(setting: str) -> None:
    with pytest.raises(UserError, match=r"Bad value for .*less than"):
        load_config(None, {}, settings=[setting])
