"""Images in a store are read with the timeouts and retries that a run directory is written with."""

from __future__ import annotations

from pathlib import Path

import pyarrow.fs as pafs
import pytest

from irnet_ray.inputs.decode import ImageError, decode_rgb
from irnet_ray.inputs.folder import read_folder
from irnet_ray.storage import object_store
from irnet_ray.storage.files import open_binary
from tests.inputs.formats import digest, png, write
from tests.inputs.test_manifest import parquet
from tests.inputs.test_webdataset import sample, tar
from tests.object_store.proxy import Fault, Proxy, Request


@pytest.fixture
def data(bucket: str, store: Proxy, tmp_path: Path) -> str:
    """A folder in the bucket with a few kinds of input."""
    write(tmp_path / "tagged", "a#1.png", "images/b c%20?.png")
    (tmp_path / "tagged" / "tags.csv").write_text("image,tags\na#1.png,dog\nb c%20?.png,cat;dog\n")
    parquet(tmp_path / "bytes" / "a.parquet", {"bytes": [png(3), png(4)], "tags": ["dog", "cat"]}, row_group_size=1)
    (tmp_path / "tars").mkdir()
    tar(tmp_path / "tars" / "0.tar", [*sample(0), *sample(1)])
    filesystem, path = object_store.connect(f"s3://{bucket}/data")
    pafs.copy_files(str(tmp_path), path, pafs.LocalFileSystem(), filesystem)
    store.log.clear()
    return f"s3://{bucket}/data"


def widths(where: str) -> list[int]:
    rows = read_folder(where, 2).to_pylist()
    for row in rows:
        assert row["content"] == digest(png(row["width"] - 20))
        assert decode_rgb(row["uri"]).shape == (10, row["width"], 3)
    return [row["width"] for row in rows]


@pytest.mark.parametrize(("where", "found"), [("tagged", [20, 21]), ("bytes", [23, 24]), ("tars", [20, 21])])
def test_refusals_and_lost_connections_are_tried_again(data: str, store: Proxy, where: str, found: list[int]) -> None:
    assert widths(f"{data}/{where}") == found
    failed: set[Request] = set()

    def fail(request: Request) -> Fault | None:
        """Each request fails once. pyarrow by itself gives up on a refusal that is longer than the object."""
        if request in failed:
            return None
        failed.add(request)
        return "slow down" if request.method == "GET" else "drop"

    store.faults, store.fault = 0, fail
    assert widths(f"{data}/{where}") == found
    assert store.faults == len(failed) > 1


def test_a_large_object_is_read_in_few_requests(bucket: str, store: Proxy) -> None:
    filesystem, path = object_store.connect(f"s3://{bucket}/large")
    object_store.put(filesystem, path, b"0123456789" * 300_000)
    store.log.clear()
    with open_binary(f"s3://{bucket}/large") as stream:
        assert stream.read() == b"0123456789" * 300_000
    assert len(store.asked("GET")) == 1
    store.log.clear()
    with open_binary(f"s3://{bucket}/large") as stream:
        assert sum(1 for _ in iter(lambda: stream.read(1000), b"")) == 3000
    assert len(store.asked("GET")) == 3


def test_an_image_that_is_out_of_reach_is_a_row_of_errors_after_so_many_attempts(
    data: str, store: Proxy, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("AWS_MAX_ATTEMPTS", "2")
    store.fault = lambda _: "slow down"
    with pytest.raises(ImageError, match="cannot be read: .*(SLOW_DOWN|503)") as caught:
        decode_rgb(f"{data}/tagged/a%231.png")
    assert caught.value.kind == "unreadable"
    assert [request.method for request in store.log] == ["HEAD", "HEAD"]
