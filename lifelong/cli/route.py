"""`lifelong route`: where questions are routed as a bank grows, nothing answered. Reads words, prints results."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from lifelong.cli.words import Words, say, show, split_words


def route_command(
    words: Words = None,
    asked: Annotated[int, typer.Option("--asked", min=1, help="Edits that a panel asks about.")] = 100,
    out: Annotated[Path | None, typer.Option("-o", "--out", help="Where the report goes.")] = None,
) -> None:
    """Make edits without answering anything, and ask where questions are routed; lists vary (editor.radius=1,10,40).

    Prints recall, false fires and AUC at every panel. An editor that trains values makes edits quicker with fewer
    steps, where they do not change what is stored where: editor.steps=1 for grace.
    """
    import polars as pl

    from lifelong.studies.route import route_settings
    from reports.route_page import route_lines, route_rows, write_routes

    source, changes = split_words(words)
    found = route_settings(source, asked=asked, say=say, **changes)
    rows = route_rows(row for one in found for row in one.probed)
    panels = pl.DataFrame([row for one in found for row in one.gauged])
    show("\n".join(route_lines(rows, panels)))
    if out is not None:
        show(str(write_routes(rows, panels, out)))
