"""One local Ray, shared by all tests of this folder that need it in their own process."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from irnet_ray.engine.session import Devices, session


@pytest.fixture(scope="package")
def devices() -> Iterator[Devices]:
    with pytest.MonkeyPatch.context() as environment:
        environment.delenv("RAY_ADDRESS", raising=False)
        environment.setenv("CUDA_VISIBLE_DEVICES", "")
        with session(None) as found:
            yield found
