"""Verbs on run directories print what the functions return."""

from __future__ import annotations

import json
from collections.abc import Callable

from irnet_ray.runs.versions import listed, table
from tests.versioned import A, B, C, Versioned, names

Main = Callable[..., tuple[int, str, str]]


def test_the_commands_print_and_exit(made: Versioned, main: Main) -> None:
    out = str(made.out)
    assert main("versions", out) == (0, table(listed(out)) + "\n", "")
    assert [row["version"] for row in json.loads(main("versions", out, "--json")[1])] == ["a", "b", "c"]
    code, printed, _ = main("rollback", out)
    assert code == 0 and printed.startswith("current b, published 20") and printed.endswith("(was c)\n")
    code, printed, _ = main("prune", out, "--keep", "1", "--dry-run")
    assert code == 0 and "would remove  stages/labels-a  " in printed and "stages/labels-b" not in printed
    assert made.stages == names(A, B, C)
    code, printed, _ = main("prune", out, "--keep", "1")
    assert code == 0 and printed.splitlines()[-1].startswith("removed 1 version and 3 stage folders, ")
    assert main("rollback", out, "zz")[::2] == (
        2,
        f"irnet-ray: No version in {out} begins with 'zz': choose one of b, c.\n",
    )
    assert main("prune", out)[0] == 2


def test_status_prints_lines_or_json(made: Versioned, main: Main) -> None:
    code, printed, _ = main("status", str(made.out))
    assert code == 0 and printed.startswith("running     no\n") and "finished    c, published 20" in printed
    assert json.loads(main("status", str(made.out), "--json")[1])["finished"]["version"] == "c"
    code, _, said = main("status", str(made.out.parent))
    assert code == 2 and "is no run directory" in said and said.count("\n") == 1
