"""Fixtures that several tests share."""

from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest

from tests import versioned

REFERENCE = Path(__file__).parent / "reference"


@pytest.fixture(scope="session")
def reference() -> Callable[[str], dict[str, np.ndarray]]:
    """Load a reference file by its name: reference("label_24x32")["edge"]. See tests/reference/README.md."""

    def load(name: str) -> dict[str, np.ndarray]:
        with np.load(REFERENCE / f"{name}.npz") as arrays:
            return dict(arrays)

    return load


@pytest.fixture(scope="module")
def source(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A finished run of a few scenes."""
    from tests.labelled import labelled_scenes

    return labelled_scenes(tmp_path_factory.mktemp("source"), versioned.COUNT, (64, 64))


@pytest.fixture
def made(tmp_path: Path, source: Path) -> versioned.Versioned:
    """Three versions: a and b share everything up to the classifier; c is the current one."""
    made = versioned.Versioned(tmp_path / "out", source)
    for marks in (versioned.A, versioned.B, versioned.C):
        made.publish(*marks)
    return made
