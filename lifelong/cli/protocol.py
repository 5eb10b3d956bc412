"""`lifelong protocol`: finished runs measured as a paper measured, with its numbers beneath."""

from __future__ import annotations

import json
from typing import Annotated

import typer

from lifelong.cli.words import say, show
from lifelong.running.words import ConfigError
from lifelong.studies.protocol import protocol_view


def protocol_command(
    name: Annotated[
        str,
        typer.Argument(help="immediate, end-of-chunk, gap, history, curves, cross-task or compositional."),
    ],
    runs: Annotated[list[str], typer.Argument(help="Run folders, or folders that hold them.")],
    at: Annotated[
        str, typer.Option("--at", help="Sizes of chunks, gaps or a period: 1,10; without it all that the runs hold.")
    ] = "",
    as_json: Annotated[bool, typer.Option("--json", help="A list of objects, one a number.")] = False,
) -> None:
    """Measure runs as a published protocol does, and print the published numbers of the same cells beneath."""
    try:
        numbers = [int(word) for word in at.split(",") if word.strip()]
    except ValueError:
        raise ConfigError(f"--at {at}: expected whole numbers, such as 1,10.") from None
    found = protocol_view(name, runs, numbers, say=say)
    if as_json:
        print(json.dumps(found.plain(), indent=1))
        return
    for line in found.lines():
        show(line)
