"""Run directories of several versions, with real tables and stand-ins for weights, for tests of versions."""

from __future__ import annotations

import os
import shutil
from pathlib import Path
from typing import Any

from irnet_ray.config.load import Config
from irnet_ray.runs import records
from irnet_ray.runs.folder import Folder
from irnet_ray.runs.shards import Shards
from irnet_ray.runs.version import Version

STAGES = ("images", "classifier", "seeds", "irnet", "labels")
COUNT = 4  # images
A, B, C = (("i1", "c1", "s1", "n1", "a"), ("i1", "c1", "s2", "n2", "b"), ("i1", "c2", "s3", "n3", "c"))


def names(*versions: tuple[str, ...]) -> set[str]:
    """Names of the stage folders of versions."""
    return {f"{stage}-{mark}" for marks in versions for stage, mark in zip(STAGES, marks, strict=True)}


class Versioned:
    """A run directory whose versions have the tables of a finished run with truth as labels."""

    def __init__(self, out: Path, source: Path) -> None:
        self.out, self.source = out, source
        self.folder = Folder(str(out))
        self.content: dict[str, Any] = Folder(str(source)).read_json("current.json")
        (out / "stages").mkdir(parents=True)

    def version(self, *marks: str) -> Version:
        """The version whose stage folders end in these marks, one for each of `STAGES`."""
        names = {stage: f"{stage}-{mark}" for stage, mark in zip(STAGES, marks, strict=True)}
        # Every version names it, also if its config does not run this stage.
        names["prototypes"] = f"prototypes-{marks[1]}"
        config = Config().model_dump(mode="json")
        config["seeds"]["method"] = "cam"
        return Version({**self.content, "version": marks[-1], "stages": names, "config": config})

    def make(self, version: Version) -> None:
        """Write the missing stage folders of a version."""
        for stage, name in version.stages.items():
            place = self.out / "stages" / name
            if stage == "prototypes" or place.exists():
                continue
            if stage in ("images", "labels"):
                shutil.copytree(self.source / "stages" / self.content["stages"][stage], place)
            elif stage == "seeds":
                shutil.copytree(self.source / "stages" / self.content["stages"]["labels"], place)
            else:
                place.mkdir()
                (place / "weights.safetensors").write_bytes(name.encode())
            if stage == "labels":
                Folder(str(place)).write_json("report.json", {"version": version.id})

    def publish(self, *marks: str) -> str:
        """Make and publish a version like a labeling run. Returns its id."""
        version = self.version(*marks)
        entries = {name: value for name, value in version.content.items() if name not in ("labels", "errors")}
        records.begin(self.folder, Version(entries))
        self.make(version)
        records.publish(self.folder, version)
        self.folder.write_json("report.json", {"version": version.id})
        return marks[-1]

    def begin(self, *marks: str) -> str:
        """A run that was killed in its labels, with one of two shards sealed."""
        version = self.version(*marks)
        records.begin(self.folder, version)
        self.make(version)
        part = next((self.out / "stages" / version.stages["labels"] / "rows").glob("*.parquet"))
        part.unlink()
        return marks[-1]

    def student(self, name: str, linked: bool = True) -> None:
        """Add a trained student. If linked, it is the run's model of its kind."""
        place = self.out / "stages" / name
        place.mkdir()
        for file in ("weights.safetensors", "model.json"):
            (place / file).write_text("{}")
        if linked:
            (self.out / "models").mkdir(exist_ok=True)
            os.symlink(f"../stages/{name}", self.out / "models" / name.rpartition("-")[0])

    @property
    def current(self) -> str:
        """Id of the current version."""
        return str(self.folder.read_json("current.json")["version"])

    @property
    def stages(self) -> set[str]:
        """Names in the folder `stages`."""
        return {path.name for path in (self.out / "stages").iterdir()}

    def check(self) -> None:
        """Check that every recorded version is complete, and that pointer and links lead to tables of one version."""
        known = [record for record in records.known(self.folder) if record.is_version]
        assert self.current in [record.id for record in known]
        for record in known:
            for stage, name in record.version.stages.items():
                if stage != "prototypes":
                    self.check_stage(name)
        for link in ("labels", "errors", "images", *(f"models/{p.name}" for p in (self.out / "models").glob("*"))):
            assert any((self.out / link).iterdir()), link

    def check_stage(self, name: str) -> None:
        shards = Shards(self.folder.folder("stages", name), self.content["shards"])
        if name.startswith(("classifier", "irnet")):
            assert shards.folder.exists("weights.safetensors"), name
        else:
            assert sum(shards.counts()) == self.content["images"], name
            assert shards.rows.files() == [shards.part(shard) for shard in range(shards.count)]
