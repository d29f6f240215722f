"""The `irnet-ray` command: parse, call one function, print. Torch and Ray are imported only by the work itself."""

from __future__ import annotations

import sys

# Each registers its verbs; the help lists them in this order.
from irnet_ray.cli import inspecting, labeling, relabeling, learning, runs, cluster  # isort: skip
from irnet_ray.cli.root import app
from irnet_ray.errors import UserError

__all__ = ["app", "cluster", "inspecting", "labeling", "learning", "main", "relabeling", "runs"]


def main() -> None:
    """Run the command; a person's mistake ends in one sentence and exit code 2."""
    try:
        app()
    except UserError as error:
        print(f"irnet-ray: {error}", file=sys.stderr)
        sys.exit(2)
    except (RuntimeError, OSError) as error:
        print(f"irnet-ray: {error}", file=sys.stderr)
        sys.exit(1)
    except SystemExit as end:
        if end.code == 130:  # typer's for Ctrl-C, which it keeps to itself
            print("irnet-ray: stopped; run the same command to go on.", file=sys.stderr)
        raise
