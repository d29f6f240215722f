"""The command `inspect`: lines for people, JSON for machines, and its options."""

from __future__ import annotations

import json
from pathlib import Path

from irnet_ray.commands.inspect import inspect
from tests.cli.conftest import Main
from tests.inputs.formats import tagged, write


def test_it_prints_lines_or_json(main: Main, tmp_path: Path) -> None:
    data = tagged(tmp_path, ["a.png", "b.png"], "a.png,dog\nb.png,dog\n")
    code, said, _ = main("inspect", str(data))
    assert code == 0 and said.splitlines() == inspect(data).lines() and "stop     no-absence: " in said
    for limit, images in (((), 2), (("--limit", "1"), 1)):
        code, said, _ = main("inspect", str(data), "--json", *limit)
        found = json.loads(said)
        assert code == 0 and found["stops"] == ["no-absence"] and found["images"] == images
        assert found["suspicions"][0]["name"] == "no-absence"
        assert found["account"]["seen"] == 3 and found["data"] == str(data)


def test_what_cannot_be_read_is_said_in_a_sentence(main: Main, tmp_path: Path) -> None:
    code, _, said = main("inspect", str(tmp_path / "nowhere"))
    assert code == 2 and "nowhere does not exist" in said


def test_options_are_passed_on(main: Main, tmp_path: Path) -> None:
    write(tmp_path / "photos", "a.png", "b.png")
    (tmp_path / "list.csv").write_text('image,tags\na,"dog, kitty"\nb,"Cow, sky"\n')
    (tmp_path / "classes.txt").write_text("cow\ncat\ndog\n")
    (tmp_path / "synonyms.csv").write_text("kitty,cat\nsky,\n")
    options = {"images": "photos", "classes": "classes.txt", "synonyms": "synonyms.csv"}
    named = [text for name, file in options.items() for text in (f"--{name}", str(tmp_path / file))]
    code, said, _ = main("inspect", str(tmp_path / "list.csv"), *named, "--separator", ",", "--json")
    assert code == 0 and json.loads(said)["images_per_tag"] == {"dog": 1, "cat": 1, "cow": 1}
