"""Speed ratios between the published method and ours, measured in turn in one run.

    python -m benchmarks [--json] [--quick] [--device cuda] [--run OUT] [--only NAME ...]

Every row first checks that both ways give the same result. On a CPU, times are the CPU time of this process with one
thread, so that other programs on the machine do not count; rows with several processes use wall time. Prints Markdown,
or one line of JSON per row.
"""

from __future__ import annotations

import argparse
import json
import sys
from collections.abc import Callable, Iterator

import torch

from benchmarks import speed_algorithms, speed_engine, speed_stages, speed_walk
from benchmarks.timing import Options, Row, machine
from irnet_ray.engine.cores import use_cores

ROWS: dict[str, Callable[[Options], Iterator[Row]]] = {
    "walk": speed_walk.dense,
    "memory": speed_walk.memory,
    "products": speed_walk.products,
    "loss": speed_algorithms.loss,
    "centroids": speed_algorithms.centroids,
    "crf": speed_algorithms.crf,
    "stages": speed_stages.stages,
    "label": speed_stages.label,
    "engine": speed_engine.engine,
}
HEAD = "| what | ours | baseline | ratio | quartiles | wanted | met | note |\n|---|---|---|---|---|---|---|---|"


def main() -> None:
    options, names, as_json = _parse()
    use_cores(1)
    torch.manual_seed(0)
    name = machine(options.device)
    print(json.dumps({"machine": name}) if as_json else f"{name}\n\n{HEAD}", flush=True)
    for each in names:
        for row in ROWS[each](options):
            print(json.dumps({**vars(row), "met": row.met}) if as_json else _line(row), flush=True)


def _parse() -> tuple[Options, list[str], bool]:
    parser = argparse.ArgumentParser(prog="python -m benchmarks", description=__doc__.splitlines()[0])
    parser.add_argument("--json", action="store_true", help="print one line of JSON for the machine, then one per row")
    parser.add_argument("--only", nargs="+", choices=ROWS, metavar="NAME", help=f"rows to run: {', '.join(ROWS)}")
    parser.add_argument("--quick", action="store_true", help="use smaller sizes: seconds instead of minutes")
    parser.add_argument("--device", choices=("cpu", "cuda"), default="cpu", help="device of the tensors")
    parser.add_argument("--repeats", type=int, default=7, help="how often to time each pair")
    parser.add_argument("--run", metavar="OUT", help="finished run to use; without it, scenes are labeled first")
    given = parser.parse_args()
    if given.device == "cuda" and not torch.cuda.is_available():
        sys.exit("No CUDA device is available: leave out --device cuda.")
    options = Options(torch.device(given.device), given.quick, max(1, given.repeats), given.run)
    return options, given.only or list(ROWS), given.json


def _line(row: Row) -> str:
    wanted = "" if row.target is None else f">= {row.target:g}"
    met = {None: "", True: "yes", False: "no"}[row.met]
    cells = [
        row.name,
        f"{row.ours:.3g} {row.unit}",
        f"{row.baseline:.3g} {row.unit}",
        f"{row.ratio:.3g}",
        f"{row.low:.3g} to {row.high:.3g}",
        wanted,
        met,
        row.note,
    ]
    return f"| {' | '.join(cells)} |"


if __name__ == "__main__":
    main()
