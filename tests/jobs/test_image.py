"""The image's Dockerfile, read: there is no engine to build it with."""

from __future__ import annotations

import re
from pathlib import Path

from tests.jobs.commands import SECRET

ROOT = Path(__file__).resolve().parents[2]


def stages() -> list[list[tuple[str, str]]]:
    """(instruction, arguments) of each stage; continued lines are joined."""
    text = re.sub(r"\\\n", " ", (ROOT / "Dockerfile").read_text())
    lines = [line.split(None, 1) for line in text.splitlines() if line.strip() and not line.startswith("#")]
    found: list[list[tuple[str, str]]] = []
    for instruction, arguments in lines:
        if instruction == "FROM":
            found.append([])
        found[-1].append((instruction, " ".join(arguments.split())))
    return found


def test_both_stages_stand_on_one_pinned_slim_python() -> None:
    bases = [stage[0][1].split()[0] for stage in stages()]
    assert len(bases) == 2 and len(set(bases)) == 1
    assert re.fullmatch(r"python:3\.\d+\.\d+-slim-[a-z]+", bases[0])


def test_it_runs_as_nobody_in_particular() -> None:
    last = stages()[-1]
    users = [arguments for instruction, arguments in last if instruction == "USER"]
    assert users == ["1000"]
    assert not [arguments for instruction, arguments in last[last.index(("USER", "1000")) :] if instruction == "RUN"]


def test_the_compiler_stays_behind() -> None:
    build, last = (" ".join(arguments for _, arguments in stage) for stage in stages())
    assert "g++" in build and "g++" not in last and "pip install" not in last


def test_dependencies_are_a_layer_below_the_code_and_at_tested_versions() -> None:
    build = stages()[0]
    copies = [number for number, (instruction, _) in enumerate(build) if instruction == "COPY"]
    assert build[copies[0]][1] == "pyproject.toml constraints.txt ./"
    installs = [number for number, (_, arguments) in enumerate(build) if "pip install" in arguments]
    code = next(number for number in copies if "irnet_ray" in build[number][1])
    assert copies[0] < installs[0] < code < installs[1]
    assert "-c constraints.txt -r requirements.txt" in build[installs[0]][1]


def test_nothing_is_fetched_by_url_and_nothing_secret_is_kept() -> None:
    text = (ROOT / "Dockerfile").read_text()
    assert not re.search(r"^ADD\b|https?://|curl\b", text, re.MULTILINE)
    assert not re.search(r"^ARG\b", text, re.MULTILINE) and not SECRET.search(text)


def test_what_is_copied_is_there_and_let_through() -> None:
    ignored = (ROOT / ".dockerignore").read_text().splitlines()
    allowed = {line[1:] for line in ignored if line.startswith("!")}
    assert "*" in ignored
    copied = {
        source
        for stage in stages()
        for instruction, arguments in stage
        if instruction == "COPY" and not arguments.startswith("--from")
        for source in arguments.split()[:-1]
    }
    assert copied == allowed
    assert all((ROOT / source).exists() for source in copied)
