"""Raise where Ray would be started: for tests of what a command checks before."""

from __future__ import annotations

import pytest


class StartedError(Exception):
    """Every check has passed, and Ray would be started now."""


@pytest.fixture
def no_ray(monkeypatch: pytest.MonkeyPatch) -> None:
    """Ray's start raises instead; a test that reaches it has passed every check."""

    def started(address: str | None) -> None:
        raise StartedError(address)

    monkeypatch.setattr("irnet_ray.engine.session.session", started)
