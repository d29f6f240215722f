"""Links in the documents lead somewhere, and the README keeps the marked commands that others read from it."""

from __future__ import annotations

import re
import subprocess
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[1]
DOCS = sorted({*ROOT.glob("*.md"), *(ROOT / "docs").glob("*.md"), *(ROOT / "benchmarks").glob("*.md")})
FENCED = re.compile(r"^```.*?^```$", re.MULTILINE | re.DOTALL)
LINK = re.compile(r"\]\(([^)\s]+)\)")


def name(path: Path) -> str:
    return str(path.relative_to(ROOT))


def text(path: Path) -> str:
    """A document without its fenced blocks."""
    return FENCED.sub("", path.read_text(encoding="utf-8"))


def anchors(path: Path) -> set[str]:
    """The anchors that GitHub gives a document's headings."""
    headings = re.findall(r"^#+ (.*)$", text(path), re.MULTILINE)
    return {re.sub(r"[^\w\- ]", "", heading.lower()).replace(" ", "-") for heading in headings}


def broken(path: Path) -> list[str]:
    """Relative links of a document that lead to no file, or to no heading of one."""
    lost = []
    for link in LINK.findall(text(path)):
        if "://" in link:
            continue
        file, _, anchor = link.partition("#")
        target = (path.parent / file).resolve() if file else path
        if not target.exists() or (anchor and anchor not in anchors(target)):
            lost.append(link)
    return lost


@pytest.mark.parametrize("path", DOCS, ids=name)
def test_relative_links_lead_somewhere(path: Path) -> None:
    assert not broken(path)


def test_a_lost_file_and_a_lost_heading_are_found(tmp_path: Path) -> None:
    page = tmp_path / "page.md"
    page.write_text("# Its `title`\n\n[a](page.md#its-title) [b](#other) [c](gone.md) [d](https://example.org)\n")
    assert broken(page) == ["#other", "gone.md"]


def test_the_readme_leads_to_every_document() -> None:
    readme = ROOT / "README.md"
    linked = {(ROOT / link.partition("#")[0]).resolve() for link in LINK.findall(text(readme)) if "://" not in link}
    assert {name(path) for path in DOCS} - {name(path) for path in linked if path.is_relative_to(ROOT)} == {"README.md"}


@pytest.mark.parametrize("marker", ["run-command", "test-command"])
def test_the_readme_has_each_marked_command_once(marker: str) -> None:
    readme = (ROOT / "README.md").read_text(encoding="utf-8")
    (command,) = re.findall(rf"^<!-- {marker} -->\n```bash\n(.+?)\n```$", readme, re.MULTILINE | re.DOTALL)
    assert command.startswith("pip install -c constraints.txt") and "\n" not in command
    # The shell accepts it, without running it.
    assert subprocess.run(["bash", "-n", "-c", command]).returncode == 0


@pytest.mark.parametrize("page", ["docs/architecture.md", "CONTRIBUTING.md"])
def test_files_that_a_page_names_are_there(page: str) -> None:
    named = set(re.findall(r"`([\w.-]+(?:/[\w.-]*)+)`", text(ROOT / page))) - {"irnet_ray/a/b.py", "tests/a/test_b.py"}
    assert named
    assert not [file for file in named if not (ROOT / file).exists() and not (ROOT / "irnet_ray" / file).exists()]
