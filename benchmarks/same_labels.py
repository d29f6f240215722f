"""Whether two runs hold the same labels: python -m benchmarks.same_labels OUT OTHER

Every row is compared, byte for byte, except for the columns `uri`, which says where an image lies, and `fingerprint`,
which says what made the row. Ends with exit code 1 where a row differs or is in one run only.
"""

from __future__ import annotations

import argparse
import sys

import pyarrow as pa

from irnet_ray.runs.run import FinishedRun

ASIDE = ["uri", "fingerprint"]


def labels(out: str) -> dict[str, dict[str, object]]:
    """Rows of the labels of a run by image id, without the columns that are not compared."""
    rows = FinishedRun.open(out).shards("labels").rows
    table = pa.concat_tables([rows.read_table(name) for name in rows.files()]).drop_columns(ASIDE)
    return {row["image_id"]: row for row in table.to_pylist()}


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("out")
    parser.add_argument("other")
    options = parser.parse_args()
    one, other = labels(options.out), labels(options.other)
    common = sorted(one.keys() & other.keys())
    differing = [image_id for image_id in common if one[image_id] != other[image_id]]
    apart = sorted(one.keys() ^ other.keys())
    print(f"{len(common) - len(differing)} of {len(common)} labels are equal; {len(apart)} are in one run only")
    for image_id in (*differing[:10], *apart[:10]):
        print(f"  {image_id}")
    return 1 if differing or apart else 0


if __name__ == "__main__":
    sys.exit(main())
