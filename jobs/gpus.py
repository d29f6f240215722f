"""Ask the autoscaler for GPUs and wait until they have joined; run on the head.

    python jobs/gpus.py 8      # 8 GPUs, kept until told otherwise
    python jobs/gpus.py 0      # idle machines may go

irnet-ray plans with the GPUs that a cluster has when the command starts. An autoscaled cluster may have none yet.
"""

from __future__ import annotations

import sys
import time

import ray
from ray.autoscaler.sdk import request_resources


def main(wanted: int) -> None:
    ray.init(address="auto", log_to_driver=False, logging_level="ERROR")
    request_resources(bundles=[{"GPU": 1}] * wanted)
    said = None
    while wanted:
        there = int(ray.cluster_resources().get("GPU", 0))
        if there != said:
            print(f"{there} of {wanted} GPUs", flush=True)
        if there >= wanted:
            return
        said = there
        time.sleep(5)
    print("no GPUs are asked for any more")


if __name__ == "__main__":
    if len(sys.argv) != 2 or not sys.argv[1].isdigit():
        sys.exit(__doc__)
    main(int(sys.argv[1]))
