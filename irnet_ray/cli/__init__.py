"""The `irnet-ray` command: parse, call one function, print. Torch and Ray are imported only by the work itself."""

from __future__ import annotations

import sys

# Importing a module registers its verbs; `--help` lists them in this order.
from irnet_ray.cli import inspecting, labeling, relabeling, learning, runs, cluster  # isort: skip
from irnet_ray.cli.root import app
from irnet_ray.errors import UserError

__all__ = ["app", "cluster", "inspecting", "labeling", "learning", "main", "relabeling", "runs"]


def main() -> None:
    """Run the command. Bad input ends in one sentence and exit code 2, other failures in exit code 1."""
    try:
        app()
    except UserError as error:
        print(f"irnet-ray: {error}", file=sys.stderr)
        sys.exit(2)
    except (RuntimeError, OSError) as error:
        print(f"irnet-ray: {error}", file=sys.stderr)
        sys.exit(1)
    except SystemExit as end:
        if end.code == 130:  # typer catches Ctrl-C and exits with this code
            print("irnet-ray: stopped; run the same command to continue.", file=sys.stderr)
        raise
