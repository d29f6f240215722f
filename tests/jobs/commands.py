"""Command lines found in manifests, parsed by the command itself."""

from __future__ import annotations

import re
import shlex
from typing import Any

import typer

from irnet_ray.cli import app


def parse(command: str) -> tuple[str, dict[str, Any]]:
    """Verb and options of an `irnet-ray` command line; fails where the command would not take it."""
    program, verb, *arguments = shlex.split(command)
    assert program.rsplit("/", 1)[-1] == "irnet-ray"
    context = typer.main.get_group(app).commands[verb].make_context(verb, arguments)
    return verb, {**context.params, "arguments": context.args}


# A token, key or password written out; its name alone, or a path to it, is none.
SECRET = re.compile(
    r"AKIA[0-9A-Z]{16}|BEGIN [A-Z ]*PRIVATE KEY|RAY_AUTH_TOKEN\b|(password|secret|api_key|access_key)\s*[:=]\s*\S",
    re.IGNORECASE,
)
