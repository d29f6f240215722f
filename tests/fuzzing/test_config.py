"""Any config file gives a config or one sentence."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
import yaml
from hypothesis import example, given
from hypothesis import strategies as st

from irnet_ray.config.load import Config, load_config
from tests.fuzzing.sentences import FUZZ, damaged, outcome, write

WHOLE = yaml.safe_dump(load_config(None, {}).model_dump(mode="json")).encode()
SCALARS = st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=8) | st.dates()
VALUES = st.recursive(
    SCALARS,
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=5), inner, max_size=3),
    max_leaves=6,
)
SECTIONS = sorted(Config.model_fields)
KEYS = {name: sorted(type(value).model_fields) for name, value in load_config(None, {}) if hasattr(value, "model_dump")}


@st.composite
def contents(draw: st.DrawFn) -> dict[Any, Any]:
    """Known keys, and sometimes others, with any value."""
    made: dict[Any, Any] = {}
    for name in draw(st.lists(st.sampled_from(SECTIONS), max_size=3)):
        if name in KEYS and draw(st.booleans()):
            made[name] = {key: draw(VALUES) for key in draw(st.lists(st.sampled_from(KEYS[name]), max_size=3))}
        else:
            made[name] = draw(VALUES)
    if draw(st.booleans()):
        made[draw(SCALARS.filter(lambda key: key == key))] = draw(VALUES)
    return made


@pytest.fixture(scope="module")
def path(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("fuzz") / "config.yaml"


def check(path: Path, data: bytes, preset: str | None = None) -> Config | None:
    write(path, data)
    overrides = {"backbone": None, "weights": None, "seeds": {"method": None}}  # as the command passes them
    found = outcome(lambda: load_config(path, overrides, preset=preset))
    assert found is None or load_config(None, found.model_dump(mode="json")) == found
    return found


BOMB = "a: &a [x,x,x,x,x,x,x,x]\n" + "".join(
    f"{new}: &{new} [{','.join([f'*{old}'] * 8)}]\n" for old, new in zip("abcdefghi", "bcdefghij", strict=True)
)


@FUZZ
@given(data=st.binary(max_size=80) | st.text(max_size=80).map(lambda text: text.encode("utf-8", "surrogatepass")))
@example(data=b"irnet: {epochs: !!int ''}")
@example(data=b"irnet: {epochs: !!bool maybe}")
@example(data=b"irnet: {rate: !!float ''}")
@example(data=b"seed: !!timestamp soon")
@example(data=b"seed: 2001-99-99")
@example(data=b"seed: " + b"9" * 6000)
@example(data=b"irnet: {epochs: -0x" + b"f" * 6000 + b"}")
@example(data=b"irnet: &a {epochs: *a}")
@example(data=b"&a {irnet: *a}")
@example(data=b'weights: "\\ud800"')
@example(data=b'weights: "\\0"')
@example(data=b"? [1, 2]\n: 3")
@example(data=b"{" * 600)
@example(data=f"{BOMB}irnet: {{epochs: *j}}".encode())
@example(data=b"irnet:\n  epochs: &b [1]\n  rate: *b\n")
def test_any_bytes(path: Path, data: bytes) -> None:
    check(path, data)


@FUZZ
@given(content=contents(), form=st.sampled_from(["yaml", "json"]), preset=st.sampled_from([None, "paper"]))
@example(content={"seeds": 3}, form="yaml", preset=None)
@example(content={"seeds": []}, form="json", preset="paper")
def test_any_content(path: Path, content: dict[Any, Any], form: str, preset: str | None) -> None:
    dumped = yaml.safe_dump(content) if form == "yaml" else json.dumps(content, default=str, skipkeys=True)
    found = check(path, dumped.encode(), preset)
    for name, value in content.items():
        if name in KEYS and not isinstance(value, dict):  # a value that is not a section is not ignored
            assert found is None


@FUZZ
@given(data=damaged(WHOLE))
def test_damaged_files(path: Path, data: bytes) -> None:
    check(path, data)
