"""`lifelong export`: the tables of many runs for other tools."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from lifelong.cli.words import say


def export_command(
    runs: Annotated[list[str], typer.Argument(help="Run folders, folders that hold them, or reports of them.")],
    to: Annotated[str, typer.Option("--to", help="csv, parquet, or hf: a Hugging Face data set.")],
    out: Annotated[Path, typer.Option("-o", "--out", help="Where it goes: a new or an empty folder.")],
) -> None:
    """Write all runs' committed facts into one set of tables whose columns say of which run; prints the folder."""
    from lifelong.studies.export import export

    print(export(runs, to, out, say=say))
