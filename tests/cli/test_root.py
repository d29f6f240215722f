"""What all verbs share: exit codes, and the version."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest

import irnet_ray
from irnet_ray.commands import label as api
from irnet_ray.errors import UserError

Main = Callable[..., tuple[int, str, str]]


@pytest.mark.parametrize(
    ("error", "code", "said"),
    [
        (UserError("No such thing."), 2, "irnet-ray: No such thing.\n"),
        (RuntimeError("seeds: stopped."), 1, "irnet-ray: seeds: stopped.\n"),
        (OSError(28, "No space left on device"), 1, "irnet-ray: [Errno 28] No space left on device\n"),
        (KeyboardInterrupt(), 130, "irnet-ray: stopped; run the same command to continue.\n"),
    ],
)
def test_exit_codes_tell_bad_input_from_a_failure(
    main: Main, monkeypatch: pytest.MonkeyPatch, error: BaseException, code: int, said: str
) -> None:
    def label(*_: Any, **__: Any) -> None:
        raise error

    monkeypatch.setattr(api, "label", label)
    assert main("label") == (code, "", said)


def test_a_bug_shows_its_traceback(main: Main, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(api, "label", lambda *_, **__: None.nonsense)  # type: ignore[attr-defined]
    with pytest.raises(AttributeError):
        main("label")


@pytest.mark.parametrize("arguments", [["label", "--shard", "3"], ["label", "--shards", "many"], ["lable"], ["show"]])
def test_arguments_that_cannot_be_parsed_exit_with_2(main: Main, arguments: list[str]) -> None:
    code, out, err = main(*arguments)
    assert code == 2 and out == "" and err and "Traceback" not in err


def test_the_version_is_printed(main: Main) -> None:
    assert main("--version") == (0, f"irnet-ray {irnet_ray.__version__}\n", "")
