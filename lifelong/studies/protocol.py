"""Finished runs under a published protocol: finds run folders, hands them to the reports, computes nothing itself."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from lifelong.running.words import ConfigError
from lifelong.studies.report import run_folders
from streams.near import near

if TYPE_CHECKING:
    from reports.beside_papers import BesidePapers


def protocol_view(
    name: str,
    runs: str | Path | Iterable[str | Path],
    at: Sequence[int] = (),
    *,
    say: Callable[[str], None] = lambda _: None,
) -> BesidePapers:
    """Return what runs score under a published protocol, with the published numbers of the same cells.

    `at` are the protocol's numbers (sizes of chunks, gaps, a period); without any all usual ones that the runs hold.
    Raises `ConfigError` for a protocol that there is not and for runs that do not hold what it needs: which questions
    are missing, and the option of a run that makes them.
    """
    from reports.beside_papers import stand_beside
    from reports.numbers.protocols.view import NotHeldError
    from reports.numbers.protocols.views import PROTOCOLS
    from reports.table import load_runs

    if name not in PROTOCOLS:
        raise ConfigError(f"{name!r}: there is no such protocol.{near(name, PROTOCOLS)}")
    if wrong := [number for number in at if number < 0]:
        raise ConfigError(f"at={wrong[0]}: expected 0 or more.")
    facts, infos = load_runs(run_folders(runs, say))
    try:
        return stand_beside(name, facts, infos, at)
    except NotHeldError as error:
        raise ConfigError(f"{name}: {error}") from error
