"""Finds run folders and hands them to the reports; computes nothing itself."""

from __future__ import annotations

import csv
import os
from collections.abc import Callable, Iterable, Mapping, Sequence
from contextlib import suppress
from pathlib import Path
from typing import TYPE_CHECKING

from lifelong.log.folder import strangers
from lifelong.log.hive import is_run, runs_below
from lifelong.running.words import ConfigError
from streams.near import near

if TYPE_CHECKING:
    from reports.paper import Paper
    from reports.table import Facts, RunInfo


def run_folders(given: str | Path | Iterable[str | Path], say: Callable[[str], None] = lambda _: None) -> list[Path]:
    """Return the run folders among paths, or of one path: each is a run folder, holds some, or is a report of some.

    Of a folder that holds several those are left out, and named to `say`, that have not reached a panel, unless none
    has. Raises `ConfigError` naming a path that is neither.
    """
    found: dict[Path, None] = {}
    for path in map(Path, [given] if isinstance(given, str | Path) else given):
        inside = runs_below(path) or _of_report(path)
        begun = [folder for folder in inside if _held_a_panel(folder)]
        for folder in inside if begun else []:
            if folder not in begun:
                say(f"{folder}: left out, because no panel of it was held yet.")
        inside = [path] if is_run(path) else begun or inside
        if not inside:
            raise ConfigError(
                f"{path}: neither a run folder nor a folder of run folders (no manifest.json in it), nor a report."
                f"{_near_runs(path)}"
            )
        found.update(dict.fromkeys(inside))
    for folder in found:
        others = [str(path.relative_to(folder)) for path in strangers(folder)]
        if others:
            say(f"{folder}: left out, as it is not of the run: {', '.join(others[:9])}")
    return list(found)


def _near_runs(path: Path) -> str:
    """Return a sentence about the folders in a folder that hold runs, '' where there are none."""
    inside = sorted(path.iterdir()) if path.is_dir() else []
    holding = []
    for one in inside:
        with suppress(OSError):  # a folder that may not be read
            holding += [str(one)] if not one.name.startswith(".") and runs_below(one) else []
    more = f" and {len(holding) - 5} more" if len(holding) > 5 else ""
    return f" Folders in it hold runs: give {' '.join(holding[:5])}{more}." if holding else ""


def _of_report(page: Path) -> list[Path]:
    """Return the runs that a report is of, none of another folder; raises `ConfigError` where they are gone."""
    listed = page / "tables" / "runs.csv"
    if not (page / "report.files").is_file() or not listed.is_file():
        return []
    with open(listed, encoding="utf-8", newline="") as file:
        folders = [page / row["folder"].removeprefix("'") for row in csv.DictReader(file) if row.get("folder")]
    gone = [str(folder) for folder in folders if not is_run(folder)]
    if gone:
        raise ConfigError(
            f"{page}: a report whose runs are not there any more ({gone[0]}). Give the runs themselves."
        )
    return [Path(os.path.normpath(folder)) for folder in folders]


def _held_a_panel(folder: Path) -> bool:
    """Whether a panel was held in a run: a run that was stopped before it has committed what came until then."""
    from lifelong.log import Gauged, RunLog

    return "bank_len" in RunLog.open(folder).table(Gauged)["name"].unique().to_pylist()


def report(
    runs: str | Path | Iterable[str | Path],
    out: str | Path,
    *,
    editors: Sequence[str] = (),
    labels: Mapping[str, str] | None = None,
    edits: Sequence[str] = (),
    paper: Paper | None = None,
    say: Callable[[str], None] = lambda _: None,
) -> Path:
    """Write a report of runs into a folder and return its page; raises `ConfigError`, `LogError` or `ValueError`.

    `editors` are the names or labels that are shown (by default all), `labels` what labels are called in place of
    their own. The page tells the lives of typical edits, and of `edits` (ids or numbers) in every run. With `paper`
    each axis is written for a paper, too. Runs that are left out (`run_folders`) are named to `say`.
    """
    from lifelong.studies.lives import page_teller
    from reports.page import report_of_facts

    facts, infos = _chosen(run_folders(runs, say), editors, labels or {})
    return report_of_facts(facts, infos, Path(out), tell=page_teller(), edits=edits, paper=paper)


def report_diff(
    first: str | Path,
    second: str | Path,
    out: str | Path,
    *,
    editors: Sequence[str] = (),
    labels: Mapping[str, str] | None = None,
    say: Callable[[str], None] = lambda _: None,
) -> Path:
    """Write a page that compares two reports, or folders of runs, and return it; errors as `report` raises."""
    from reports.diff_page import write_diff

    sides = [_chosen(run_folders(path, say), editors, labels or {}) for path in (first, second)]
    names = [Path(path).resolve().name for path in (first, second)]
    first_name, second_name = names if names[0] != names[1] else ("first", "second")
    return write_diff(sides[0], sides[1], Path(out), (first_name, second_name))


def _chosen(
    folders: Sequence[Path], editors: Sequence[str], labels: Mapping[str, str]
) -> tuple[Facts, list[RunInfo]]:
    """Return the facts of runs, of chosen editors and by chosen labels; raises `ConfigError` with near names."""
    from reports.chosen import only, renamed
    from reports.table import load_runs

    facts, infos = load_runs(folders)
    kept: list[str] = []
    for wanted in editors:
        found = [e for e in facts.editors if wanted in (e, facts.names[e])]
        if not found:
            raise ConfigError(f"--editors {wanted}: no run here is of it.{near(wanted, facts.editors)}")
        kept += found
    facts, infos = only(facts, infos, kept) if kept else (facts, infos)
    for old in labels:
        if old not in facts.editors:
            raise ConfigError(f"--labels {old}=...: no run here has this label.{near(old, facts.editors)}")
    new = [labels.get(e, e) for e in facts.editors]
    twice = sorted({name for name in new if new.count(name) > 1})
    if twice:
        raise ConfigError(f"--labels: {', '.join(twice)} would be the label of two editors. Give each its own.")
    return renamed(facts, infos, labels) if labels else (facts, infos)


def ladder(
    runs: str | Path | Iterable[str | Path],
    out: str | Path,
    *,
    name: str = "ladder",
    say: Callable[[str], None] = lambda _: None,
) -> Path:
    """Write the page of runs of the same editors and stream on models of several sizes, and return it.

    `name` is that of the page and the first part of its figures' names. Raises `ConfigError` where there are no runs
    or `name` is no file's, `LogError` for runs that make no ladder (`reports.ladder_page`).
    """
    if not name or Path(name).name != name:
        raise ConfigError(f"--name {name!r}: expected the name of a file without its ending, such as ladder.")
    from reports.ladder_page import write_ladder

    return write_ladder(run_folders(runs, say), Path(out), name)
