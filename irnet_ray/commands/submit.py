"""Run a command on a cluster through its job server: send this code, follow the log, return the exit code."""

from __future__ import annotations

import asyncio
import logging
import os
import shlex
import socket
import time
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING
from urllib.parse import urlsplit

from irnet_ray._version import __version__
from irnet_ray.errors import UserError, reason

if TYPE_CHECKING:
    from ray.job_submission import JobSubmissionClient

# Ray's job client reads these in this order. They override the address that it is called with.
ADDRESSES = ("RAY_API_SERVER_ADDRESS", "RAY_ADDRESS")
COMMAND_NOT_FOUND = 127  # exit code of a shell
# Loggers that announce each package, each upload and each closed connection.
QUIET = (
    "ray._private.runtime_env.packaging",
    "ray.dashboard.modules.dashboard_sdk",
    "ray.dashboard.modules.job.sdk",
)


def submit(verb: str, arguments: Sequence[str], address: str | None, verbs: Mapping[str, bool]) -> int:
    """Run `irnet-ray VERB ARGUMENTS` on the head of a cluster and print its log until it ends.

    Args:
        verb: the command's name.
        arguments: its arguments, passed on unchanged; paths are paths on the cluster.
        address: the job server, `http://head:8265`; None for `RAY_API_SERVER_ADDRESS`, else `RAY_ADDRESS`.
        verbs: the commands that can be submitted, and whether each has an option `--address`.

    Returns:
        The job's exit code; 1 if it was stopped, or ended without an exit code.

    Raises:
        UserError: no such command, no address, or no job server there that accepts the job.
        RuntimeError: interrupted, or the connection was lost; the job keeps running.
    """
    if verb not in verbs:
        raise UserError(f"No command {verb!r} can be submitted: choose one of {', '.join(verbs)}.")
    address = _address(address)
    client = _client(address)
    command = ["irnet-ray", verb, *arguments, *(["--address", "auto"] if verbs[verb] else [])]
    job = _send(client, address, shlex.join(command))
    print(f"job     {job} at {address}: {shlex.join(command)}", flush=True)
    by_hand = f"`ray job logs --follow --address {address} {job}`"
    try:
        asyncio.run(_print_log(client, job))
        return _result(client, job)
    except KeyboardInterrupt:
        raise RuntimeError(
            f"{job} keeps running: follow it with {by_hand}, stop it with `ray job stop --address {address} {job}`."
        ) from None
    except (OSError, RuntimeError) as error:  # nearly all errors of aiohttp and requests are OSErrors
        raise RuntimeError(f"Lost the connection to {job}, which may still run: see {by_hand}. ({error})") from error


def _address(named: str | None) -> str:
    found = named or next((os.environ[name] for name in ADDRESSES if os.environ.get(name)), None)
    if not found:
        raise UserError("No job server: name the head's with --address http://HEAD:8265, or in RAY_ADDRESS.")
    try:
        parts = urlsplit(found)
        usable = parts.scheme in ("http", "https") and parts.hostname and parts.port != 0
    except ValueError:
        usable = False
    if not usable:
        raise UserError(f"{found} is not the address of a job server, which looks like http://HEAD:8265.")
    return found.rstrip("/")


def _client(address: str) -> JobSubmissionClient:
    """A client of the job server at `address`. Raises UserError if no server answers."""
    from ray.exceptions import AuthenticationError
    from ray.job_submission import JobSubmissionClient

    for name in QUIET:
        logging.getLogger(name).setLevel(logging.WARNING)
    os.environ[ADDRESSES[0]] = address
    parts = urlsplit(address)
    try:
        # Without this check, the client would wait for minutes for a host that never answers.
        socket.create_connection((parts.hostname, parts.port or (443 if parts.scheme == "https" else 80)), 10).close()
        return JobSubmissionClient(address)
    except AuthenticationError as error:
        raise UserError(
            f"The head at {address} requires a token: set RAY_AUTH_MODE=token and write it to ~/.ray/auth_token."
        ) from error
    except (OSError, RuntimeError, ValueError) as error:
        raise UserError(f"No Ray job server answers at {address}: {reason(error)}.") from error


def _send(client: JobSubmissionClient, address: str, command: str) -> str:
    """Submit the command with this package's code, which takes precedence over what the nodes have installed."""
    environment = {"py_modules": [str(Path(__file__).parents[1])], "excludes": ["__pycache__/"]}
    for tries_left in reversed(range(30)):
        try:
            return client.submit_job(entrypoint=command, runtime_env=environment, metadata={"irnet-ray": __version__})
        except (OSError, RuntimeError, ValueError) as error:
            said = reason(error)
            if "try again later" not in said or not tries_left:  # it says so while the head is starting
                raise UserError(f"The job server at {address} refused the job: {said}.") from error
        time.sleep(2)
    raise AssertionError


async def _print_log(client: JobSubmissionClient, job: str) -> None:
    async for lines in client.tail_job_logs(job):
        print(lines, end="", flush=True)


def _result(client: JobSubmissionClient, job: str) -> int:
    """Exit code of a job whose log has ended. Waits for the job, since a proxy may have ended the log early."""
    info = client.get_job_info(job)
    while not info.status.is_terminal():
        time.sleep(1)
        info = client.get_job_info(job)
    if info.status == "SUCCEEDED":
        print(f"\njob     {job} succeeded", flush=True)
        return 0
    if info.status == "STOPPED":
        print(f"\njob     {job} was stopped", flush=True)
        return 1
    code = info.driver_exit_code
    why = f"exit code {code}" if code is not None else f"{info.message}".strip().splitlines()[0]
    if code == COMMAND_NOT_FOUND:
        why += ": irnet-ray must be installed on every node, and on the PATH of the head's Ray"
    print(f"\njob     {job} failed: {why}", flush=True)
    if not code:
        return 1
    return code if code > 0 else 128 - code  # a job killed by a signal gets the exit code that a shell gives
