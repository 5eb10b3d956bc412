"""The command `list`: what there is to choose from, and what a run was told and asked."""

from __future__ import annotations

import json
from typing import Annotated, Any

import typer

from lifelong.running.words import ConfigError

SHOWN = {
    "edits": {"step": "step", "edit_id": "edit", "prompt": "question", "picture": "picture", "target": "told",
              "at_once": "said at once", "now": "says now", "outcome": "outcome", "knowledge": "knowledge"},
    "probes": {"edit_id": "edit", "axis": "axis", "variant": "variant", "prompt": "question", "picture": "picture",
               "target": "right answer", "reference": "reference"},
    "pictures": {"picture": "picture", "name": "name", "domain": "domain", "split": "share", "drawing": "drawing"},
}  # fmt: skip
"""What `list` shows of a run or a stream, and the headings of its columns."""


def list_command(
    kind: Annotated[
        str, typer.Argument(help="editors, keys, streams, models, recipes; edits or probes RUN; pictures atlas")
    ],
    of: Annotated[str, typer.Argument(help="The run folder of edits and probes; the stream of pictures.")] = "",
    named: Annotated[str, typer.Argument(help="Only probes of this edit; only pictures of things so called.")] = "",
    as_json: Annotated[bool, typer.Option("--json", help="A list of objects.")] = False,
    options: Annotated[bool, typer.Option("--options", help="Every option with its default.")] = False,
) -> None:
    """List what there is to choose from, or what a run was told: its edits with what the model answers now."""
    from lifelong.cli.listed import listed_lines
    from lifelong.cli.rows import row_lines
    from lifelong.running.catalog import listing

    if kind in SHOWN:
        things = shown_rows(kind, of, named)
        lines = row_lines(things, SHOWN[kind])
    elif of or named:
        raise ConfigError(f"list {kind} {of} {named}: only {', '.join(SHOWN)} take further words.")
    else:
        things = listing(kind, options=options)
        lines = listed_lines(things)
    print(json.dumps(things, indent=1, default=str) if as_json else "\n".join(lines))


def shown_rows(kind: str, of: str, named: str) -> list[dict[str, Any]]:
    """Return the rows that `list` shows of a run or a stream; raises `ConfigError` and `LogError`."""
    from lifelong.running import history

    if kind == "pictures":
        return history.pictures(of or "atlas", named)
    if not of:
        raise ConfigError(f"list {kind}: of which run? Give the folder that it printed: lifelong list {kind} RUN.")
    return history.edits_told(of) if kind == "edits" else history.probes_asked(of, named)
