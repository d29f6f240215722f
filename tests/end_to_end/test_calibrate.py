"""`irnet-ray calibrate` on a finished run, and the next command that it prints."""

from __future__ import annotations

import json
import shlex
from pathlib import Path

from irnet_ray.commands.plan import Plan
from irnet_ray.config.load import Config, load_config
from irnet_ray.inputs.folder import read_folder
from irnet_ray.runs.folder import Folder
from irnet_ray.stages.graph import STAGES
from tests.end_to_end.conftest import SHARDS, Run
from tests.end_to_end.conftest import irnet_ray as command

IMAGES = 10


def truth_of(run: Run, path: Path, images: int) -> Path:
    """The truth of the first scenes."""
    content = json.loads((run.data / "truth.json").read_text())
    content["images"] = sorted(content["images"], key=lambda image: image["file_name"])[:images]
    kept = {image["id"] for image in content["images"]}
    content["annotations"] = [a for a in content["annotations"] if a["image_id"] in kept]
    path.write_text(json.dumps(content))
    return path


def test_its_config_labels_the_same_images_with_other_thresholds(run: Run, tmp_path: Path) -> None:
    to = tmp_path / "few words.yaml"
    done = command("calibrate", run.out, "--truth", truth_of(run, tmp_path / "few.json", IMAGES), "--to", to)
    assert done.returncode == 0, done.stderr
    assert "Traceback" not in done.stderr
    lines = [line for line in done.stdout.splitlines() if not line.startswith("calibrate: ")]  # progress
    assert [line.split()[0] for line in lines[:4]] == [
        "knob",
        "seeds.foreground",
        "seeds.background",
        "labels.background",
    ]
    assert all(line.split()[-1] == str(IMAGES) for line in lines[1:4])
    assert f"config  {to}" in lines

    own = Config.model_validate_json((run.out / "config.json").read_text())
    chosen = load_config(to, {})
    assert [f"{chosen.seeds.foreground:g}", f"{chosen.seeds.background:g}", f"{chosen.labels.background:g}"] == [
        line.split()[2] for line in lines[1:4]
    ]
    seeds = {"foreground": own.seeds.foreground, "background": own.seeds.background}
    labels = {"background": own.labels.background}
    back = {"seeds": chosen.seeds.model_copy(update=seeds), "labels": chosen.labels.model_copy(update=labels)}
    assert chosen.model_copy(update=back) == own

    if chosen == own:
        assert lines[-1] == "No threshold gains anything: the config is the run's own."
        return
    words = shlex.split(lines[-1])
    assert words[:3] == ["next", "irnet-ray", "label"]
    options = dict(zip(words[3::2], words[4::2], strict=True))
    assert options == {
        "--config": str(to),
        "--data": str(run.data),
        "--out": str(run.out),
        "--shards": str(SHARDS),
    }
    # The next run reuses this run's classifier.
    plan = Plan(Folder(str(run.out)), chosen, read_folder(run.data, SHARDS), SHARDS)
    assert plan.is_done(STAGES["classifier"]) and not plan.is_done(STAGES["labels"])
    assert plan.is_done(STAGES["irnet"]) == (chosen.seeds == own.seeds)


def test_too_few_images_are_refused(run: Run, tmp_path: Path) -> None:
    done = command("calibrate", run.out, "--truth", truth_of(run, tmp_path / "few.json", 9))
    assert done.returncode == 2 and done.stdout == ""
    assert done.stderr.startswith("irnet-ray: ") and done.stderr.count("\n") == 1
    assert "share 9 images: annotate at least 10" in done.stderr
    assert not (run.out / "calibrated.yaml").exists()
