"""How a URI becomes a file system. No server: tests/object_store talks to one."""

from __future__ import annotations

import pickle
import time
from collections.abc import Iterator
from pathlib import Path

import pyarrow.fs as pafs
import pytest

from irnet_ray.storage import object_store
from irnet_ray.storage.object_store import S3, connect, patiently


@pytest.fixture(autouse=True)
def environment(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """No credentials but these, and no machine that is asked for some."""
    monkeypatch.setenv("AWS_EC2_METADATA_DISABLED", "true")
    monkeypatch.setenv("AWS_ACCESS_KEY_ID", "testing")
    monkeypatch.setenv("AWS_SECRET_ACCESS_KEY", "testing")
    monkeypatch.setenv("AWS_ENDPOINT_URL", "http://127.0.0.1:9")
    for name in ("AWS_ENDPOINT_URL_S3", "AWS_MAX_ATTEMPTS", "AWS_REGION", "AWS_DEFAULT_REGION"):
        monkeypatch.delenv(name, raising=False)
    yield


def test_a_path_is_decoded_and_a_store_is_connected_once() -> None:
    first, path = connect("s3://bucket/a%20b/c%23d/?region=eu-west-1")
    second, other = connect("s3://bucket/e?region=eu-west-1")
    assert (path, other) == ("bucket/a b/c#d", "bucket/e")
    assert isinstance(first, S3) and first is second and first.region == "eu-west-1"
    assert connect("s3://bucket/e")[0].region == "us-east-1"
    assert pickle.loads(pickle.dumps(first)) is first


def test_the_environment_of_each_process_decides(monkeypatch: pytest.MonkeyPatch) -> None:
    made: list[dict[str, object]] = []
    monkeypatch.setattr(object_store, "S3", lambda base, **options: made.append(options) or options)
    object_store._s3.cache_clear()
    monkeypatch.setenv("AWS_ENDPOINT_URL_S3", "http://127.0.0.1:10")
    monkeypatch.setenv("AWS_MAX_ATTEMPTS", "3")
    connect("s3://bucket/a")
    connect("s3://bucket/a?scheme=http&endpoint_override=127.0.0.1:11")
    object_store._s3.cache_clear()
    assert [options["endpoint_override"] for options in made] == ["http://127.0.0.1:10", "127.0.0.1:11"]
    assert all(options["request_timeout"] == object_store.SILENT_SECONDS for options in made)
    assert all(options["connect_timeout"] == object_store.CONNECT_SECONDS for options in made)


def test_other_stores(tmp_path: Path) -> None:
    filesystem, path = connect(f"file://{tmp_path}/a%20b")
    assert isinstance(filesystem, pafs.LocalFileSystem) and path == f"{tmp_path}/a b"
    filesystem, path = connect(f"fsspec+memory://{tmp_path.name}/a/b%3Fc")
    assert isinstance(filesystem, pafs.PyFileSystem) and path == f"/{tmp_path.name}/a/b?c"


@pytest.mark.parametrize(
    ("uri", "why"),
    [
        ("s3:///run", "it names no bucket"),
        ("s3://key:secret@bucket/run", "it names no bucket"),
        ("s3://bucket/run?nonsense=1", "nonsense"),
        ("s3://bucket/run?tls_verify_certificates=false", "options of S3 are endpoint_override, region, scheme"),
        ("ftp://host/run", "Unrecognized filesystem type"),
        ("s3://[bucket/run", "Invalid IPv6 URL"),
    ],
)
def test_a_uri_that_names_no_store(uri: str, why: str) -> None:
    with pytest.raises(OSError, match=why):
        connect(uri)


@pytest.mark.parametrize("attempts", ["0", "many", "-1"])
def test_a_wrong_number_of_attempts(attempts: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("AWS_MAX_ATTEMPTS", attempts)
    with pytest.raises(OSError, match="AWS_MAX_ATTEMPTS must be a number of attempts"):
        connect("s3://bucket/run")


def test_only_a_refusal_that_pyarrow_misreads_is_retried(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(time, "sleep", lambda _: None)
    monkeypatch.setenv("AWS_MAX_ATTEMPTS", "3")
    tried: list[str] = []

    def read(message: str, good_after: int) -> str:
        tried.append(message)
        if len(tried) > good_after:
            return "read"
        raise OSError(message)

    assert patiently(lambda: read("Unable to write to response stream", 2)) == "read"
    tried.clear()
    with pytest.raises(OSError, match="response stream"):
        patiently(lambda: read("Unable to write to response stream", 3))
    assert len(tried) == 3
    tried.clear()
    with pytest.raises(OSError, match="access denied"):
        patiently(lambda: read("access denied", 1))
    assert len(tried) == 1
    monkeypatch.setenv("AWS_MAX_ATTEMPTS", "many")
    assert patiently(lambda: "a local file") == "a local file"
