"""Run commands on a cluster."""

from __future__ import annotations

from typing import Annotated

import typer

from irnet_ray.cli.root import app


@app.command(context_settings={"ignore_unknown_options": True, "allow_extra_args": True})
def submit(
    context: typer.Context,
    verb: Annotated[str, typer.Argument(help="Command to run there, such as label, followed by its options.")],
    address: Annotated[
        str | None,
        typer.Option(help="Job server, http://HEAD:8265. Default: RAY_API_SERVER_ADDRESS, else RAY_ADDRESS."),
    ] = None,
) -> None:
    """Run a command on a cluster: send this code, follow the log, exit with the command's exit code.

    Paths are paths on the cluster. Ctrl-C leaves the job running.
    """
    from irnet_ray.commands.submit import submit as send

    commands = {name: command for name, command in typer.main.get_group(app).commands.items() if name != "submit"}
    joins = {name: any(option.name == "address" for option in command.params) for name, command in commands.items()}
    raise typer.Exit(send(verb, context.args, address, joins))
