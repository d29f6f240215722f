"""`relabel` passes its options on and prints the result."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from irnet_ray.commands.defaults import RETRAIN_SHARE
from irnet_ray.commands.relabel import RelabelResult

Main = Callable[..., tuple[int, str, str]]


def test_relabel_passes_every_option_on_and_prints_where_things_are(
    main: Main, monkeypatch: pytest.MonkeyPatch
) -> None:
    seen: list[Any] = []
    figures = {"same": 1, "moved": 0, "retagged": 0, "changed": 0, "new": 2, "removed": 0}
    result = RelabelResult("/out", "v0", "v1", figures, (), 2, 3, labels=2, errors=1, instances=5, drift={})

    def run(*positional: Any, **named: Any) -> RelabelResult:
        seen.append((positional, named))
        return result

    monkeypatch.setattr("irnet_ray.commands.relabel.relabel", run)
    assert main("relabel", "o")[0] == 0
    options = "--data d --retrain --retrain-share 0.4 --keep 3 --dry-run --set labels.background=0.3 --workers 2"
    options += " --address a --accept captions --images i --separator , --classes n --synonyms y"
    code, said, _ = main("relabel", "o", *options.split())
    plain = {"retrain": False, "retrain_share": RETRAIN_SHARE, "keep": None, "dry_run": False, "workers": None}
    plain |= {"accept": (), "images": None, "separator": None, "classes": None, "synonyms": None}
    full = {"retrain": True, "retrain_share": 0.4, "keep": 3, "dry_run": True, "workers": 2, "accept": ["captions"]}
    full |= {"images": "i", "separator": ",", "classes": Path("n"), "synonyms": Path("y")}
    assert seen == [
        (("o", None), {**plain, "address": None, "settings": ()}),
        (("o", "d"), {**full, "address": "a", "settings": ["labels.background=0.3"]}),
    ]
    assert code == 0 and "3 images = 2 labels + 1 errors; 5 instances" in said and "drift   /out/drift.json" in said


def test_a_relabeling_without_any_label_is_a_failure(main: Main, monkeypatch: pytest.MonkeyPatch) -> None:
    result = RelabelResult("/out", "v0", "v1", {}, (), 2, 2, labels=0, errors=2, instances=0, drift={})
    monkeypatch.setattr("irnet_ray.commands.relabel.relabel", lambda *_, **__: result)
    code, _, said = main("relabel", "o")
    assert (code, said) == (2, "irnet-ray: No image could be labeled: the errors table says why.\n")
