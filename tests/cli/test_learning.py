"""`train` and `predict` pass their options on and print the result."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from irnet_ray.commands.defaults import SHARDS
from irnet_ray.commands.predict import PredictResult
from irnet_ray.commands.train import TrainResult

Main = Callable[..., tuple[int, str, str]]


def test_train_passes_every_option_on(main: Main, monkeypatch: pytest.MonkeyPatch) -> None:
    seen: list[Any] = []

    def train(*positional: Any, **named: Any) -> TrainResult:
        seen.append((positional, named))
        return TrainResult("/out/models/deeplab", 8, 40, {"total": 0.5, "mask_loss": 0.25})

    monkeypatch.setattr("irnet_ray.commands.train.train", train)
    assert main("train", "deeplab", "o")[0] == 0
    options = "--epochs 2 --iterations 3 --batch-size 4 --backbone lite0 --weights w --network v2 --min-score 0.1"
    more = "--min-quality 0.2 --background skip --hold-out t.json --config c --set seed=1 --workers 2 --address a"
    code, out, _ = main("train", "deeplab", "o", *options.split(), *more.split())
    knobs = {"epochs": 2, "min_iterations": 3, "batch_size": 4, "backbone": "lite0", "weights": "w", "network": "v2"}
    knobs |= {"min_score": 0.1, "min_quality": 0.2, "background": "skip"}
    named = {"config": Path("c"), "settings": ["seed=1"], "hold_out": Path("t.json"), "workers": 2, "address": "a"}
    plain = {**dict.fromkeys(named), "settings": (), "knobs": dict.fromkeys(knobs)}
    assert seen == [(("deeplab", "o"), plain), (("deeplab", "o"), {**named, "knobs": knobs})]
    assert code == 0 and "8 images, 40 iterations: total 0.500, mask loss 0.250\n" in out
    assert "model   /out/models/deeplab\n" in out


def test_predict_passes_every_option_on(main: Main, monkeypatch: pytest.MonkeyPatch) -> None:
    seen: list[Any] = []

    def predict(*positional: Any, **named: Any) -> PredictResult:
        seen.append((positional, named))
        return PredictResult("/out", images=5, predictions=4, errors=1, version="0")

    monkeypatch.setattr("irnet_ray.commands.predict.predict", predict)
    assert main("predict", "m", "--data", "d", "--out", "o")[0] == 0
    options = "--shards 9 --limit 3 --workers 2 --address a"
    code, out, _ = main("predict", "m", "--data", "d", "--out", "o", *options.split())
    plain = {"shards": SHARDS, "limit": None, "workers": None, "address": None}
    full = {"shards": 9, "limit": 3, "workers": 2, "address": "a"}
    assert seen == [(("m", "d", "o"), plain), (("m", "d", "o"), full)]
    assert code == 0 and "5 images = 4 predictions + 1 errors" in out and "errors  /out/errors/*.parquet" in out


def test_a_run_without_any_prediction_is_a_failure(main: Main, monkeypatch: pytest.MonkeyPatch) -> None:
    nothing = PredictResult("/out", images=5, predictions=0, errors=5, version="0")
    monkeypatch.setattr("irnet_ray.commands.predict.predict", lambda *_, **__: nothing)
    code, _, said = main("predict", "m", "--data", "d", "--out", "o")
    assert (code, said) == (2, "irnet-ray: No image could be predicted: the errors table says why.\n")
