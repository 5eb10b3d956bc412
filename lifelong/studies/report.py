"""Finds run folders and hands them to the reports; computes nothing itself."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from pathlib import Path

from lifelong.log.folder import strangers
from lifelong.running.words import ConfigError


def run_folders(given: str | Path | Iterable[str | Path], say: Callable[[str], None] = lambda _: None) -> list[Path]:
    """Return the run folders among paths, or of one path: each is a run folder itself or holds run folders.

    Of a folder that holds several those are left out, and named to `say`, that have not reached a panel, unless none
    has. Raises `ConfigError` naming a path that is neither.
    """
    found: dict[Path, None] = {}
    for path in map(Path, [given] if isinstance(given, str | Path) else given):
        inside = sorted(p.parent for p in path.glob("*/manifest.json"))
        begun = [folder for folder in inside if _panels(folder)]
        for folder in inside if begun else []:
            if folder not in begun:
                say(f"{folder}: left out, because no panel of it was committed yet.")
        inside = [path] if (path / "manifest.json").is_file() else begun or inside
        if not inside:
            raise ConfigError(f"{path}: neither a run folder nor a folder of run folders (no manifest.json in it).")
        found.update(dict.fromkeys(inside))
    for folder in found:
        others = [str(path.relative_to(folder)) for path in strangers(folder)]
        if others:
            say(f"{folder}: left out, as it is not of the run: {', '.join(others[:9])}")
    return list(found)


def _panels(folder: Path) -> int:
    from lifelong.log import RunLog

    return RunLog.open(folder).last_panel() + 1


def report(
    runs: str | Path | Iterable[str | Path],
    out: str | Path,
    *,
    edits: Sequence[str] = (),
    say: Callable[[str], None] = lambda _: None,
) -> Path:
    """Write a report of runs into a folder and return its page; raises `ConfigError`, `LogError` or `ValueError`.

    It tells the lives of typical edits, and of `edits` (ids or numbers) in every run. Runs that are left out
    (`run_folders`) are named to `say`.
    """
    from lifelong.studies.lives import page_teller
    from reports.page import write_report

    return write_report(run_folders(runs, say), Path(out), tell=page_teller(), edits=edits)


def ladder(
    runs: str | Path | Iterable[str | Path], out: str | Path, *, say: Callable[[str], None] = lambda _: None
) -> Path:
    """Write the page of runs of the same editors and stream on models of several sizes, and return it.

    Raises `ConfigError` where there are no runs, `LogError` for runs that make no ladder (`reports.ladder_page`).
    """
    from reports.ladder_page import write_ladder

    return write_ladder(run_folders(runs, say), Path(out))
