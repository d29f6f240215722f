"""A training whose output cannot be written stops with one sentence, and continues once there is room."""

from __future__ import annotations

from pathlib import Path

from tests.engine import toy_training as toy
from tests.engine.mounts import mounted
from tests.engine.processes import PATIENCE, Marked
from tests.engine.test_training import check, drawn

SCRIPT = Path(toy.__file__)


def test_a_full_disk_stops_a_training_and_the_next_goes_on_from_the_last_checkpoint(tmp_path: Path) -> None:
    stage = tmp_path / "indexed"
    with mounted(stage, "8m"):
        (tmp_path / "fill").write_text("indexed 1 5")  # in the second of four epochs
        with Marked(SCRIPT, tmp_path, "indexed", log=tmp_path / "first.log") as first:
            code = first.driver.wait(PATIENCE)
        said = (tmp_path / "first.log").read_text().strip().splitlines()[-1]
        assert code == 1, said
        assert said.startswith(f"irnet_ray.errors.UserError: Cannot write to {stage}/training/indexed/epoch-00001: ")
        assert "no space is left; make room there" in said
        # The epoch was done once: what is not written is not tried again.
        assert [len(process) for process in toy.calls(tmp_path, "indexed", 0)] == [6]
        assert not (stage / "weights.safetensors").exists()

        (stage / "ballast").unlink()
        (tmp_path / "fill").unlink()
        with Marked(SCRIPT, tmp_path, "indexed", log=tmp_path / "second.log") as second:
            printed = second.finish()
        assert printed.startswith("indexed: starting 2 workers\n")  # before anything can be counted
        check(stage, drawn(tmp_path, "indexed", starts=[0, 3]))
