"""Object stores by URI, `s3://bucket/run` or `gs://bucket/run`: how they are reached, and how an object is committed.

What follows '?' in a URI are options, as pyarrow.fs knows them, and stays with every location below it:
`s3://bucket/run?region=eu-west-1`. Where credentials come from is for the environment of each process to say.
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

from irnet_ray.errors import UserError

ATTEMPTS = 8  # of a request; waits double from about half a second to at most 20 s between them
CONNECT_SECONDS = 10.0
SILENT_SECONDS = 30.0  # without a byte, after which a request counts as lost; the SDK's own 3 s lose busy stores
ONE_REQUEST = 10 << 20  # bytes from which on pyarrow uploads in parts
MOST = 5 << 30  # bytes that S3 copies in one request

T = TypeVar("T")


def is_uri(location: str) -> bool:
    """Whether a location is a URI and not a local path."""
    return "://" in location


def join(location: str, *names: str) -> str:
    """The location of a folder below a folder."""
    if not is_uri(location):
        return "/".join([location.rstrip("/"), *names])
    head, mark, options = location.partition("?")
    return "/".join([head.rstrip("/"), *names]) + mark + options


def split(location: str) -> tuple[str, str]:
    """The location of the folder above, and the last name."""
    head, mark, options = location.partition("?") if is_uri(location) else (location, "", "")
    above, _, name = head.rstrip("/").rpartition("/")
    return above + mark + options, name


def connect(location: str) -> tuple[pafs.FileSystem, str]:
    """The file system of a URI, and the path there. Raises UserError for a URI that names none."""
    parts = urlsplit(location)
    if "@" in parts.netloc:
        raise UserError(
            f"A URI with a password would be written into files: leave it out of {parts.scheme}://"
            f"{parts.netloc.rpartition('@')[2]}, and set AWS_ACCESS_KEY_ID and AWS_SECRET_ACCESS_KEY instead."
        )
    options = f"?{parts.query}" if parts.query else ""
    try:
        if parts.scheme != "s3":
            filesystem, path = pafs.FileSystem.from_uri(location)
            return filesystem, path.rstrip("/")
        if not parts.netloc:
            raise ValueError("it names no bucket")
        return _s3(f"s3://{parts.netloc}{options}", *_environment()), parts.netloc + unquote(parts.path).rstrip("/")
    except (OSError, pa.ArrowException, ValueError, ImportError) as error:
        raise UserError(f"{location} names no folder that can be used: {reason(error)}.") from error


class S3(pafs.S3FileSystem):
    """S3 with our patience. In another process it connects anew, with the credentials that are there."""

    def __init__(self, base: str, **options: Any) -> None:
        self.base = base
        super().__init__(**options)

    def __reduce__(self) -> Any:
        return _connect_s3, (self.base,)


def _connect_s3(base: str) -> S3:
    return _s3(base, *_environment())


def _environment() -> tuple[str | None, int]:
    """Endpoint and attempts by the variables that Amazon's own tools know."""
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
        # Only Amazon knows regions by bucket; a server that is asked for one is asked with less patience than ours.
        region = os.environ.get("AWS_REGION") or os.environ.get("AWS_DEFAULT_REGION") or "us-east-1"
        asked += f"{'&' if given else '?'}region={quote(region)}"
    # Refuses unknown options, and finds the region of a bucket of Amazon's.
    plain, _ = pafs.S3FileSystem.from_uri(asked)
    known = {name: given[name] for name in ("scheme", "tls_ca_file_path") if name in given}
    return S3(
        base,
        region=plain.region,
        endpoint_override=given.get("endpoint_override") or endpoint,
        connect_timeout=CONNECT_SECONDS,
        request_timeout=SILENT_SECONDS,
        retry_strategy=pafs.AwsStandardS3RetryStrategy(max_attempts=attempts),
        # Without these two pyarrow uploads even a byte in parts, three requests, from a thread of its own.
        allow_delayed_open=True,
        background_writes=False,
        **known,
    )


def put(filesystem: pafs.FileSystem, path: str, data: bytes) -> None:
    """Commit an object: all of `data` appears under its name by one request, or nothing does.

    Up to 10 MiB that is the upload itself. A larger object is uploaded in parts under a hidden name, and copied when it
    is whole: where a part is refused, pyarrow completes an upload with the parts before it as its stream is closed.

    Raises OSError.
    """
    # In a thread, which no Ctrl-C reaches: between opening and writing it would leave an empty object.
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
        # An answer that was lost on its way makes a completed upload look like a failed one.
        if filesystem.get_file_info(temporary).size != len(data):
            raise OSError(failure or f"{temporary} is not whole")
        filesystem.copy_file(temporary, path)
    finally:
        with contextlib.suppress(OSError):
            filesystem.delete_file(temporary)


def patiently(read: Callable[[], T]) -> T:
    """What `read` gives, tried again where pyarrow does not: a refusal that is longer than what was to be read.

    Such an answer does not fit where the bytes should go, which counts as an error of pyarrow's own.
    """
    for attempt in range(_environment()[1] - 1):
        try:
            return read()
        except OSError as error:
            if "response stream" not in str(error):
                raise
        time.sleep(random.uniform(0, min(20, 2**attempt)))  # nosec B311 - no secret
    return read()


def reason(error: BaseException) -> str:
    """What a store says of an error, in one line."""
    said = getattr(error, "strerror", None) or str(error) or type(error).__name__
    return " ".join(said.split()).rstrip(".")


def is_out_of_reach(error: OSError) -> bool:
    """Whether an error is the store's, and no file's: pyarrow raises OSError for damaged files as well."""
    return "AWS Error" in str(error) or "google::cloud::Status" in str(error)
