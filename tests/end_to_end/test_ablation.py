"""The paper's simpler methods on a finished run: computed once, and only for the requested images."""

from __future__ import annotations

import io
import json
from pathlib import Path

import pytest
from rich.console import Console

from irnet_ray import tables
from irnet_ray.commands.ablation import ablation_rows
from irnet_ray.masks import decode_png
from tests.end_to_end.conftest import BROKEN, Run
from tests.engine.processes import Marked

WANTED = ["scene_00007.png", "scene_00002.png", "scene_00003.png"]
CODE = """
import json, sys
from irnet_ray.commands.ablation import ablation_rows
rows = ablation_rows(sys.argv[1], [*sys.argv[2:], "unknown.png"], workers=2)
print(json.dumps([[row["image_id"], len(row["boundary_instances"])] for row in rows]))
"""


def test_results_are_computed_once_and_for_the_requested_images(
    run: Run, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    with Marked("-c", CODE, str(run.out), BROKEN, *WANTED, log=tmp_path / "log") as comparing:
        printed = comparing.finish().splitlines()
    assert "affinitynet: 12 iterations, background " in "\n".join(printed)
    assert any(line.startswith("ablation: 4 images computed, 3 rows, 1 errors, ") for line in printed)

    def started(address: str | None) -> None:
        raise AssertionError("Ray starts though everything is done")

    monkeypatch.setattr("irnet_ray.engine.session.session", started)
    again = io.StringIO()
    rows = list(ablation_rows(run.out, [BROKEN, *WANTED], console=Console(file=again)))
    assert again.getvalue() == ""
    assert sorted(row["image_id"] for row in rows) == sorted(WANTED)
    assert json.loads(printed[-1]) == [[row["image_id"], len(row["boundary_instances"])] for row in rows]
    for row in rows:
        assert list(row) == tables.ABLATION.names
        semantic = decode_png(row["affinitynet_semantic"])
        assert semantic.shape == (row["height"], row["width"]) and semantic.max() <= len(row["tags"])
    assert any(row["boundary_instances"] for row in rows)
    folders = sorted(path.name.split("-")[0] for path in (run.out / "stages").iterdir())
    assert (folders.count("affinitynet"), folders.count("ablation")) == (1, 1)
    # Other images need another result, from the same AffinityNet.
    with pytest.raises(AssertionError, match="Ray starts"):
        ablation_rows(run.out, WANTED[:1])
