"""`lifelong report`, `lifelong ladder` and `lifelong evidence`: pages and tables of finished runs.

Finds run folders and hands them to the reports; computes nothing itself.
"""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from lifelong.cli.words import say
from lifelong.studies.report import ladder, report


def report_command(
    runs: Annotated[list[str], typer.Argument(help="Run folders, or folders that hold them.")],
    out: Annotated[Path, typer.Option("-o", "--out", help="Where index.html, figures/ and tables/ go.")],
) -> None:
    """Write a report of runs: figures, the tables behind them, one page; prints the page."""
    print(report(runs, out, say=say))


def ladder_command(
    runs: Annotated[list[str], typer.Argument(help="Run folders on two models or more, or folders that hold them.")],
    out: Annotated[Path, typer.Option("-o", "--out", help="Where ladder.md, its pictures and ladder.csv go.")],
) -> None:
    """Write the page of one stream on models of several sizes: which curves fall together, and on which axis."""
    print(ladder(runs, out, say=say))


def evidence_command(
    tables: Annotated[list[Path], typer.Argument(help="evidence.json files of reports, each of seeds of its own.")],
    out: Annotated[Path, typer.Option("-o", "--out", help="Where the joined table goes.")],
) -> None:
    """Join the evidence of seeds that were run apart, and print it; costs stay those of the file named first."""
    from reports.numbers.joined import joined_evidence, read_evidence, table_lines
    from reports.written import json_bytes, write_whole

    table = joined_evidence([read_evidence(path) for path in tables])
    write_whole(out, json_bytes(table))
    print("\n".join(table_lines(table)))
