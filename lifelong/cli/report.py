"""`lifelong report` and `lifelong evidence`: pages and tables of finished runs.

Finds run folders and hands them to the reports; computes nothing itself.
"""

from __future__ import annotations

import json
import sys
from collections.abc import Callable, Iterable
from pathlib import Path
from typing import Annotated

import typer

from lifelong.running.config import ConfigError


def run_folders(given: Iterable[str | Path], say: Callable[[str], None] = lambda _: None) -> list[Path]:
    """Return the run folders among paths: each is a run folder itself or holds run folders.

    Of a folder that holds several those are left out, and named to `say`, that have not reached a panel, unless none
    has. Raises `ConfigError` naming a path that is neither.
    """
    found: dict[Path, None] = {}
    for path in map(Path, given):
        inside = sorted(p.parent for p in path.glob("*/manifest.json"))
        begun = [folder for folder in inside if _panels(folder)]
        for folder in inside if begun else []:
            if folder not in begun:
                say(f"{folder}: left out, because no panel of it was committed yet.")
        inside = [path] if (path / "manifest.json").is_file() else begun or inside
        if not inside:
            raise ConfigError(f"{path}: neither a run folder nor a folder of run folders (no manifest.json in it).")
        found.update(dict.fromkeys(inside))
    return list(found)


def _panels(folder: Path) -> int:
    from lifelong.log import Gauged, RunLog

    return len(RunLog.open(folder).table(Gauged))


def report(runs: Iterable[str | Path], out: str | Path, *, say: Callable[[str], None] = lambda _: None) -> Path:
    """Write a report of runs into a folder and return its page; raises `ConfigError`, `LogError` or `ValueError`.

    Runs that are left out (`run_folders`) are named to `say`.
    """
    from reports.page import write_report

    return write_report(run_folders(runs, say), Path(out))


def report_command(
    runs: Annotated[list[str], typer.Argument(help="Run folders, or folders that hold them.")],
    out: Annotated[Path, typer.Option("-o", "--out", help="Where index.html, figures/ and tables/ go.")],
) -> None:
    """Write a report of runs: figures, the tables behind them, one page; prints the page."""
    print(report(runs, out, say=lambda text: print(text, file=sys.stderr)))


def evidence_command(
    tables: Annotated[list[Path], typer.Argument(help="evidence.json files of reports, each of seeds of its own.")],
    out: Annotated[Path, typer.Option("-o", "--out", help="Where the joined table goes.")],
) -> None:
    """Join the evidence of seeds that were run apart; costs stay those of the file that is named first."""
    from reports.evidence_join import joined

    table = joined([json.loads(path.read_text(encoding="utf-8")) for path in tables])
    out.write_text(json.dumps(table, indent=1) + "\n", encoding="utf-8")
