"""A corpus of bad input, made by code: every kind and its outcome. `python -m tests.bad_input` prints the table.

What a run meets is a photo (`IMAGES`), a folder with its tags (`FOLDERS`), or knobs and weights (`SETTINGS`). It gets
a label, a row of errors with its `kind`, or exit code 2 with one sentence before anything is computed.
"""

from __future__ import annotations

import pickle
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from tests.bad_folders import FOLDERS
from tests.bad_images import IMAGES, of_bytes


@dataclass(frozen=True)
class BadSetting:
    """A file for an option, with bad content."""

    kind: str
    option: str
    make: Callable[[Path], None]
    refused: str

    @property
    def outcome(self) -> str:
        return f"exit 2: “… {self.refused} …”"


class _Code:
    """Code in a pickle, which must never run: it would write a file."""

    def __init__(self, trace: Path) -> None:
        self.trace = trace

    def __reduce__(self) -> tuple[object, tuple[str, str]]:
        return open, (str(self.trace), "w")


def _text(content: str) -> Callable[[Path], None]:
    return lambda path: path.write_text(content) and None


def _code(path: Path) -> None:
    path.write_bytes(pickle.dumps({"w": _Code(path.with_suffix(".trace"))}))


def _other_network(path: Path) -> None:
    import torch

    torch.save({"w": torch.zeros(1)}, path)


def _not_finite(path: Path) -> None:
    import torch

    from irnet_ray.networks.backbones import BACKBONES

    state = BACKBONES["lite0"].weights()
    first = next(name for name, tensor in state.items() if tensor.is_floating_point())
    state[first][(0,) * state[first].ndim] = float("nan")
    torch.save(state, path)


CONFIG, WEIGHTS, CLASSES, SYNONYMS = "--config", "--weights", "--classes", "--synonyms"
SETTINGS = [
    BadSetting("config: no such file", CONFIG, lambda path: None, "No config file"),
    BadSetting("config: a folder", CONFIG, lambda path: path.mkdir(), "No config file"),
    BadSetting("config: unknown key", CONFIG, _text("irnet: {epoch: 3}"), "Unknown key 'irnet.epoch'"),
    BadSetting("config: a word for a number", CONFIG, _text("irnet: {epochs: many}"), "Bad value for 'irnet.epochs'"),
    BadSetting("config: out of range", CONFIG, _text("max_side: 3"), "Bad value for 'max_side'"),
    BadSetting("config: not a number", CONFIG, _text("irnet: {rate: .nan}"), "Bad value for 'irnet.rate'"),
    BadSetting("config: infinity", CONFIG, _text("classifier: {rate: .inf}"), "Bad value for 'classifier.rate'"),
    BadSetting("config: a window upside down", CONFIG, _text("window: [4095, 0]"), "Bad value for 'window'"),
    BadSetting("config: a number for a section", CONFIG, _text("irnet: 3"), "Bad value for 'irnet'"),
    BadSetting("config: a list", CONFIG, _text("[1, 2]"), "expected sections and keys"),
    BadSetting("config: not text", CONFIG, of_bytes(b"\x89PNG\xff\xfe\0"), "is not YAML or JSON"),
    BadSetting("config: broken YAML", CONFIG, _text("irnet: {epochs: 3"), "is not YAML or JSON"),
    BadSetting("config: Python objects", CONFIG, _text("!!python/object/apply:os.getcwd []"), "is not YAML or JSON"),
    BadSetting("config: nested without end", CONFIG, _text("[" * 5000), "is not YAML or JSON"),
    BadSetting("weights: no such file", WEIGHTS, lambda path: None, "No weights file at"),
    BadSetting("weights: a folder", WEIGHTS, lambda path: path.mkdir(), "No weights file at"),
    BadSetting("weights: text", WEIGHTS, _text("hello"), "cannot be read as weights"),
    BadSetting("weights: a pickle with code (never run)", WEIGHTS, _code, "cannot be read as weights"),
    BadSetting("weights: of another network", WEIGHTS, _other_network, "weights of another network"),
    BadSetting("weights: not finite", WEIGHTS, _not_finite, "is not finite everywhere"),
    BadSetting("classes: no such file", CLASSES, lambda path: None, "does not exist"),
    BadSetting("classes: no name", CLASSES, _text("\n"), "names no class"),
    BadSetting("classes: a name twice", CLASSES, _text("cat\ndog\ncat\n"), "names cat twice"),
    BadSetting("classes: not text", CLASSES, of_bytes(b"\x89PNG\xff"), "is not UTF-8 text"),
    BadSetting("synonyms: ids for classes", SYNONYMS, _text("spelling,id\nhound,18\n"), "has the columns spelling, id"),
    BadSetting("synonyms: of two classes", SYNONYMS, _text("pet,cat\npet,dog\n"), "a spelling of 'cat' and of 'dog'"),
    BadSetting("synonyms: of a spelling", SYNONYMS, _text("a,b\nb,c\n"), "name the last class at once"),
]


def table() -> str:
    """All kinds with their outcomes, in Markdown."""
    titles = {"An image": IMAGES, "A folder and its tags": FOLDERS, "Knobs, weights and classes": SETTINGS}
    parts = []
    for title, kinds in titles.items():
        rows = [f"| {bad.kind} | {bad.outcome} |" for bad in kinds]
        parts.append("\n".join([f"| {title} | what it gets |", "|---|---|", *rows]))
    return "\n\n".join(parts)


if __name__ == "__main__":
    print(table())
