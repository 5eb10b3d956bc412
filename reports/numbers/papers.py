"""The published tables that numbers are printed beside: read from `published.toml`, which names each one's source.

Knows that file and no facts. What was not found in a paper is not there; nothing is filled in.
"""

from __future__ import annotations

import tomllib
from collections.abc import Mapping
from dataclasses import dataclass
from functools import cache
from pathlib import Path

_FILE = Path(__file__).with_name("published.toml")
BENCHMARKS: Mapping[str, tuple[str, ...]] = {
    "evqa": ("E-VQA",),
    "eic": ("E-IC",),
    "vlkeb": ("VLKEB",),
    "fgvedit": ("FGVEdit",),
    "mixed": ("E-VQA and E-IC",),
}
"""What papers call the benchmark of a stream; runs of any other stream stand beside all benchmarks."""


@dataclass(frozen=True)
class Published:
    """One table of a paper: how it was measured, on what, after how many edits, and its percent by editor.

    Editors have their names here, `called` has the paper's; numbers are in the order of `measures`. `scoring` is one
    of `reports.numbers.protocols.scorings.SCORINGS`.
    """

    source: str
    protocol: str
    scoring: str
    backbone: str
    benchmark: str
    edits: int
    measures: tuple[str, ...]
    percent: Mapping[str, tuple[float, ...]]
    called: Mapping[str, str]

    @property
    def on(self) -> str:
        """Model and benchmark."""
        return f"{self.backbone}, {self.benchmark}"


@dataclass(frozen=True)
class Changed:
    """A project that changed what its numbers are of: its code, the scorings from there, and what it changed."""

    code: str
    scorings: tuple[str, ...]
    said: str


@cache
def published_tables() -> tuple[Published, ...]:
    """Return every published table, in the order of the file; read once, when numbers are first stood beside some."""
    tables = []
    for one in tomllib.loads(_FILE.read_text(encoding="utf-8"))["table"]:
        rows = [[word.strip() for word in line.split("|")] for line in one.pop("rows").strip().splitlines()]
        named = [(editor, paper, numbers) for editor, paper, numbers in rows if editor != "-"]
        percent = {editor: tuple(map(float, numbers.split())) for editor, _, numbers in named}
        measures = tuple(one.pop("measures").split())
        tables.append(Published(**one, measures=measures, percent=percent, called={e: p for e, p, _ in named}))
    return tuple(tables)


@cache
def changed_sources() -> tuple[Changed, ...]:
    """Return the projects that changed what their numbers are of, since papers were measured by their code."""
    found = tomllib.loads(_FILE.read_text(encoding="utf-8"))["changed"]
    return tuple(Changed(one["code"], tuple(one["scorings"]), one["said"].strip()) for one in found)


def cells_of(protocol: str, stream: str, editor: str, edits: int) -> list[Published]:
    """Return the tables with a row of an editor under a protocol and number of edits, on a stream's benchmark."""
    known = BENCHMARKS.get(stream)
    return [
        table
        for table in published_tables()
        if (table.protocol, table.edits) == (protocol, edits)
        and editor in table.percent
        and (known is None or table.benchmark in known)
    ]
