"""Object stores by URI, `s3://bucket/run` or `gs://bucket/run`: how to reach one, and how to commit an object.

What follows '?' in a URI are options of pyarrow.fs, such as `s3://bucket/run?region=eu-west-1`. Each process finds
credentials in its own environment.
"""

from __future__ import annotations

import contextlib
import os
import random
import time
import uuid
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from functools import lru_cache
from typing import Any, TypeVar
from urllib.parse import parse_qsl, quote, unquote, urlsplit

import pyarrow as pa
import pyarrow.fs as pafs

from irnet_ray.errors import reason

ATTEMPTS = 8  # per request; the waits between them double from about half a second up to 20 s
CONNECT_SECONDS = 10.0
SILENT_SECONDS = 30.0  # without a byte, until a request counts as lost; the SDK's own 3 s give up on busy stores
ONE_REQUEST = 10 << 20  # bytes from which on pyarrow uploads in parts
MOST = 5 << 30  # bytes that S3 copies in one request
# pyarrow takes a few more in a URI, but not together with timeouts and retries.
OPTIONS = frozenset({"region", "scheme", "endpoint_override", "tls_ca_file_path"})

T = TypeVar("T")


def connect(location: str) -> tuple[pafs.FileSystem, str]:
    """The file system of a URI, and the path in it. Raises OSError for a URI of no known store."""
    try:
        parts = urlsplit(location)
        base = f"{parts.scheme}://{parts.netloc}/" + (f"?{parts.query}" if parts.query else "")
        if parts.scheme != "s3":
            filesystem, root = _other(base)
        elif not parts.netloc or "@" in parts.netloc:
            raise ValueError("it names no bucket")
        else:
            filesystem, root = _s3(base, *_environment()), parts.netloc
    except (pa.ArrowException, ValueError, ImportError) as error:
        raise OSError(reason(error)) from error
    return filesystem, root.rstrip("/") + unquote(parts.path).rstrip("/")


@lru_cache(maxsize=64)
def _other(base: str) -> tuple[pafs.FileSystem, str]:
    # Connecting costs more than reading a small file, so each process connects once per bucket.
    return pafs.FileSystem.from_uri(base)


class S3(pafs.S3FileSystem):
    """S3 with our timeouts and retries. Unpickled in another process it connects again, with the credentials there."""

    def __init__(self, base: str, **options: Any) -> None:
        self.base = base
        super().__init__(**options)

    def __reduce__(self) -> Any:
        return _connect_s3, (self.base,)


def _connect_s3(base: str) -> S3:
    return _s3(base, *_environment())


def _environment() -> tuple[str | None, int]:
    """Endpoint and number of attempts, from the variables that Amazon's own tools read."""
    endpoint = os.environ.get("AWS_ENDPOINT_URL_S3") or os.environ.get("AWS_ENDPOINT_URL")
    attempts = os.environ.get("AWS_MAX_ATTEMPTS", str(ATTEMPTS))
    if not attempts.isdigit() or not int(attempts):
        raise ValueError(f"AWS_MAX_ATTEMPTS must be a number of attempts, got {attempts!r}")
    return endpoint, int(attempts)


@lru_cache(maxsize=64)
def _s3(base: str, endpoint: str | None, attempts: int) -> S3:
    given = dict(parse_qsl(urlsplit(base).query))
    asked = base
    if "region" not in given and (given.get("endpoint_override") or endpoint):
        # Only Amazon knows a bucket's region. pyarrow would ask other servers for it too, without our retries.
        region = os.environ.get("AWS_REGION") or os.environ.get("AWS_DEFAULT_REGION") or "us-east-1"
        asked += f"{'&' if given else '?'}region={quote(region)}"
    # This call refuses options that pyarrow does not know, and finds the region of a bucket at Amazon.
    plain, _ = pafs.S3FileSystem.from_uri(asked)
    if lost := given.keys() - OPTIONS:
        raise ValueError(f"options of S3 are {', '.join(sorted(OPTIONS))}, and not {', '.join(sorted(lost))}")
    known = {name: given[name] for name in ("scheme", "tls_ca_file_path") if name in given}
    return S3(
        base,
        region=plain.region,
        endpoint_override=given.get("endpoint_override") or endpoint,
        connect_timeout=CONNECT_SECONDS,
        request_timeout=SILENT_SECONDS,
        retry_strategy=pafs.AwsStandardS3RetryStrategy(max_attempts=attempts),
        # Without these two options pyarrow uploads even one byte in parts: three requests, from its own thread.
        allow_delayed_open=True,
        background_writes=False,
        **known,
    )


def put(filesystem: pafs.FileSystem, path: str, data: bytes) -> None:
    """Commit an object: all of `data` appears under its name in one request, or nothing does.

    Up to 10 MiB that request is the upload itself. A larger object is uploaded in parts under a hidden name and copied
    once it is whole, because pyarrow completes an upload even after a part was refused: closing the stream publishes
    the parts before it.

    Raises OSError.
    """
    # In a thread, because Ctrl-C interrupts only the main thread: between opening and writing it would leave an empty
    # object.
    with ThreadPoolExecutor(1) as thread:
        thread.submit(_put if len(data) < ONE_REQUEST else _put_large, filesystem, path, data).result()


def _put(filesystem: pafs.FileSystem, path: str, data: bytes) -> None:
    stream = filesystem.open_output_stream(path)
    stream.write(data)
    stream.close()


def _put_large(filesystem: pafs.FileSystem, path: str, data: bytes) -> None:
    if len(data) > MOST:
        raise OSError(f"{len(data):,} bytes are more than the 5 GiB that a store copies at once: use more shards")
    folder, _, _ = path.rpartition("/")
    temporary, failure = f"{folder}/.{uuid.uuid4().hex}.tmp", ""
    try:
        try:
            _put(filesystem, temporary, data)
        except OSError as error:
            failure = reason(error)
        # If the store's last answer is lost, a completed upload looks like a failed one.
        if filesystem.get_file_info(temporary).size != len(data):
            raise OSError(failure or f"{temporary} is not whole")
        filesystem.copy_file(temporary, path)
    finally:
        with contextlib.suppress(OSError):
            filesystem.delete_file(temporary)


def patiently(read: Callable[[], T]) -> T:
    """The result of `read`, retried in the one case that pyarrow does not retry: a refusal longer than the object.

    Such an answer does not fit into the buffer for the object's bytes, and pyarrow takes that for an error of its own.
    """
    attempts = 0
    while True:
        try:
            return read()
        except OSError as error:
            attempts += 1
            if "response stream" not in str(error) or attempts >= _environment()[1]:
                raise
        time.sleep(random.uniform(0, min(20, 2 ** (attempts - 1))))  # nosec B311 - no secret


def is_out_of_reach(error: OSError) -> bool:
    """Whether an error comes from the store and not from a file: pyarrow raises OSError for damaged files as well."""
    return "AWS Error" in str(error) or "google::cloud::Status" in str(error)
