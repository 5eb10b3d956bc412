"""`lifelong report` and `lifelong evidence`: pages and tables of finished runs.

Finds run folders and hands them to the reports; computes nothing itself.
"""

from __future__ import annotations

import json
from pathlib import Path
from typing import Annotated

import typer

from lifelong.cli.words import say
from lifelong.studies.report import report


def report_command(
    runs: Annotated[list[str], typer.Argument(help="Run folders, or folders that hold them.")],
    out: Annotated[Path, typer.Option("-o", "--out", help="Where index.html, figures/ and tables/ go.")],
) -> None:
    """Write a report of runs: figures, the tables behind them, one page; prints the page."""
    print(report(runs, out, say=say))


def evidence_command(
    tables: Annotated[list[Path], typer.Argument(help="evidence.json files of reports, each of seeds of its own.")],
    out: Annotated[Path, typer.Option("-o", "--out", help="Where the joined table goes.")],
) -> None:
    """Join the evidence of seeds that were run apart; costs stay those of the file that is named first."""
    from reports.numbers.evidence import joined_evidence

    table = joined_evidence([json.loads(path.read_text(encoding="utf-8")) for path in tables])
    out.write_text(json.dumps(table, indent=1) + "\n", encoding="utf-8")
