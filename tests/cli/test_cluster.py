"""`submit`: which commands it offers."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest

Main = Callable[..., tuple[int, str, str]]


def test_every_command_but_this_one_can_be_submitted(main: Main) -> None:
    code, _, said = main("submit", "submit", "--address", "http://127.0.0.1:1")
    assert code == 2 and said.startswith("irnet-ray: No command 'submit' can be submitted: choose one of ")
    offered = said.partition("one of ")[2].rstrip(".\n").split(", ")
    assert {"label", "evaluate", "train", "predict", "config"} <= set(offered) and "submit" not in offered


def test_a_command_s_own_options_pass_unchanged(main: Main, monkeypatch: pytest.MonkeyPatch) -> None:
    seen: list[tuple[Any, ...]] = []

    def submit(*arguments: Any) -> int:
        seen.append(arguments)
        return 3

    monkeypatch.setattr("irnet_ray.commands.submit.submit", submit)
    assert main("submit", "label", "--data", "d", "--shards=8", "--address", "http://h:1")[0] == 3
    ((verb, arguments, address, joins),) = seen
    assert (verb, arguments, address) == ("label", ["--data", "d", "--shards=8"], "http://h:1")
    assert joins["label"] and joins["relabel"] and not joins["config"]  # whether a command has --address itself
