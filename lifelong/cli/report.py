"""`lifelong report`, `lifelong ladder` and `lifelong evidence`: pages and tables of finished runs.

Finds run folders and hands them to the reports; computes nothing itself.
"""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from lifelong.cli.words import say
from lifelong.running.words import ConfigError
from lifelong.studies.report import ladder, report, report_diff
from streams.near import near


def report_command(
    runs: Annotated[list[str], typer.Argument(help="Run folders, folders that hold them, or reports of them.")],
    out: Annotated[Path, typer.Option("-o", "--out", help="Where index.html, figures/ and tables/ go.")],
    editors: Annotated[str, typer.Option("--editors", help="Names or labels to show, with commas between.")] = "",
    labels: Annotated[list[str] | None, typer.Option("--labels", help="LABEL=WORDS: what to call it.")] = None,
    edits: Annotated[
        list[str] | None, typer.Option("--edit", help="An edit whose life to tell: id or number.")
    ] = None,
    diff: Annotated[
        bool, typer.Option("--diff", help="Compare two reports or folders of runs: the second's change.")
    ] = False,
    style: Annotated[
        str, typer.Option("--style", help="page, or paper: each axis as PDF and SVG too, and LaTeX.")
    ] = "page",
    width: Annotated[float, typer.Option("--width", min=1.0, max=20.0, help="Inches of a paper's column.")] = 3.25,
    font: Annotated[
        str, typer.Option("--font", help="Family of a paper's font, if it is installed.")
    ] = "DejaVu Sans",
    font_size: Annotated[float, typer.Option("--font-size", min=4.0, max=24.0, help="Its size in points.")] = 8.0,
) -> None:
    """Write a report of runs: figures, the tables behind them, one page; prints the page."""
    from reports.paper import Paper

    if style not in ("page", "paper"):
        raise ConfigError(f"--style {style}: expected page or paper.{near(style, ('page', 'paper'))}")
    chosen = [word for word in editors.split(",") if word]
    called = dict(_label(word) for word in labels or ())
    if not diff:
        paper = Paper(width, font, font_size) if style == "paper" else None
        print(report(runs, out, editors=chosen, labels=called, edits=edits or (), paper=paper, say=say))
        return
    if len(runs) != 2:
        raise ConfigError(f"--diff compares two reports or folders of runs; {len(runs)} given.")
    print(report_diff(runs[0], runs[1], out, editors=chosen, labels=called, say=say))


def _label(word: str) -> tuple[str, str]:
    """Return the label and the new words of `LABEL=WORDS`; the last = divides them, as labels have some."""
    label, mark, words = word.rpartition("=")
    if not mark or not label or not words:
        raise ConfigError(f"--labels {word}: expected LABEL=WORDS, such as 'ft (tuned)=Fine-tuning'.")
    return label, words


def ladder_command(
    runs: Annotated[list[str], typer.Argument(help="Run folders on two models or more, or folders that hold them.")],
    out: Annotated[Path, typer.Option("-o", "--out", help="Where the page, its pictures and its table go.")],
    name: Annotated[str, typer.Option("--name", help="What the page and its files are called.")] = "ladder",
) -> None:
    """Write the page of one stream on several models: which curves fall together, and which orders carry over."""
    print(ladder(runs, out, name=name, say=say))


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
