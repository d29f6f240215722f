"""Stands in for `irnet-ray label` in a test of chaos: goes through its stages, and publishes prepared tables.

STANDIN_GOOD names the folder of the tables, and STANDIN_BAD that for a run in which a worker died. The workers are
sleeping processes with the titles of Ray's workers. It imports little, because it is started many times.
"""

import os
import shutil
import subprocess
import sys
import time
from pathlib import Path

SECONDS = 0.6  # per stage
WORKERS = {
    "classifier": ["ray::RayTrainWorker"],
    "prototypes": ["ray::MapWorker(Map(_Network))", "ray::Map(_Load)"],
    "seeds": ["ray::MapWorker(Map(_Network))", "ray::Map(_Load)"],
    "irnet": ["ray::RayTrainWorker"],
    "labels": ["ray::MapWorker(Map(_Network))", "ray::Map(_Finish)->Write"],
}


def worker(title: str) -> "subprocess.Popen[bytes]":
    return subprocess.Popen(["bash", "-c", f"exec -a '{title}' sleep 600"])


def stage(folder: Path, images: Path, titles: list[str]) -> bool:
    """Run a stage. Returns whether all workers lived until its end."""
    lived, workers = True, [worker(title) for title in titles]
    for image in images.iterdir():
        image.read_bytes()
    until = time.monotonic() + SECONDS
    while time.monotonic() < until:
        for place, process in enumerate(workers):
            if process.poll() is not None:
                lived, workers[place] = False, worker(titles[place])
        time.sleep(0.02)
    for process in workers:
        process.kill()
        process.wait()
    (folder / "rows").mkdir(parents=True)
    for name in ("part-0", "part-1"):
        (folder / "rows" / name).touch()
    (folder / "weights.safetensors").touch()
    return lived


def main() -> None:
    data, out = (Path(sys.argv[sys.argv.index(name) + 1]) for name in ("--data", "--out"))
    time.sleep(SECONDS)
    print("devices: none", flush=True)
    for name, titles in WORKERS.items():
        folder = out / "stages" / f"{name}-0"
        if not folder.exists() and not stage(folder, data / "images", titles):
            (out / "harmed").touch()
    tables = os.environ["STANDIN_BAD" if (out / "harmed").exists() else "STANDIN_GOOD"]
    time.sleep(SECONDS)
    shutil.copytree(tables, out, dirs_exist_ok=True)


main()
