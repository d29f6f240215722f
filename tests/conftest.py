"""What several tests share."""

from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest

REFERENCE = Path(__file__).parent / "reference"


@pytest.fixture(scope="session")
def reference() -> Callable[[str], dict[str, np.ndarray]]:
    """Load a reference file by its name: reference("label_24x32")["edge"]. See tests/reference/README.md."""

    def load(name: str) -> dict[str, np.ndarray]:
        with np.load(REFERENCE / f"{name}.npz") as arrays:
            return dict(arrays)

    return load
