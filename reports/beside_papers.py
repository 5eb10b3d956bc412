"""A protocol's view of runs, with the published numbers of the same cells beneath: as lines and as plain data.

Knows views and published tables; computes no number. A published number was got on another model and on other data:
it is no target, only a direction.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import polars as pl

from reports.numbers.papers import Published, cells_of, changed_sources
from reports.numbers.protocols.history import KEYS
from reports.numbers.protocols.scorings import FREE, LIVEEDIT, MMEDIT, SCORED_ORDER, VLKEB
from reports.numbers.protocols.view import View
from reports.numbers.protocols.views import PROTOCOLS, view_of
from reports.table import Facts, RunInfo

NO_TARGET = (
    "Published numbers are of another model and of other data, often by other code: they are no target, only a "
    "direction."
)
NO_CELL = "No published table has these cells."
_HERE = {
    LIVEEDIT: "here, scored as LiveEdit and UniKE do",
    VLKEB: "here, as VLKEB and MemEIC do",
    MMEDIT: "here, as MMEdit and FGVEdit do",
    FREE: "here, asked freely",
    "": "here",
}
_PUT_BACK = "restore_every="


@dataclass(frozen=True)
class BesidePapers:
    """A view, and by editor and cell the published tables that have a row of it. `titles` are the editors' labels."""

    view: View
    published: Mapping[tuple[str, int], Sequence[Published]]
    names: Mapping[str, str]

    def lines(self) -> list[str]:
        """Return the view as lines for a terminal: a block for each editor, number and part."""
        protocol = PROTOCOLS[self.view.protocol]
        out = [f"{self.view.protocol}: {protocol.about}", *(f"- {note}" for note in self.view.notes)]
        order = [name for name in SCORED_ORDER if name in set(self.view.table["measure"])]
        order += [name for name in self.view.table["measure"].unique(maintain_order=True) if name not in order]
        keys = ["editor", "cell", "part"]
        for (editor, cell, part), rows in self.view.table.sort(keys).group_by(keys, maintain_order=True):
            number = [f"{protocol.number} {cell:,}"] if protocol.number else []
            title = ", ".join([_titled(str(editor)), *number, *([str(part)] if part else [])])
            tables = self.published.get((str(editor), int(cell)), ()) if not part else ()  # pyright: ignore[reportArgumentType]
            out += ["", *_block(title, rows, order, tables, self.names.get(str(editor), str(editor)))]
        return [*out, "", *self._sources()]

    def _sources(self) -> list[str]:
        used = {table.source: table for tables in self.published.values() for table in tables}
        if not used:
            return [NO_CELL]
        scorings = {table.scoring for table in used.values()}
        changed = [f"{one.code}: {one.said}" for one in changed_sources() if scorings & set(one.scorings)]
        return [NO_TARGET, *(f"- {source}" for source in used), *changed]

    def plain(self) -> list[dict[str, Any]]:
        """Return one object per number, with the published ones of the same measure and scoring."""
        out = []
        for row in self.view.table.iter_rows(named=True):
            tables = self.published.get((row["editor"], row["cell"]), ()) if not row["part"] else ()
            name = self.names.get(row["editor"], row["editor"])
            beside = [
                {"source": t.source, "on": t.on, "called": t.called[name], "value": number / 100}
                for t in tables
                if t.scoring == row["scoring"] and (number := _number(t, name, row["measure"])) is not None
            ]
            out.append({"protocol": self.view.protocol, **row, "published": beside})
        return out


def stand_beside(name: str, facts: Facts, runs: Sequence[RunInfo], at: Sequence[int] = ()) -> BesidePapers:
    """Return a protocol's view of runs and the published tables that have its cells; raises what `view_of` raises."""
    view = view_of(name, facts, at)
    streams = {run.editor: run.stream for run in runs}
    cells = view.table.select("editor", "cell").unique(maintain_order=True).rows()
    found = {(e, n): cells_of(name, streams.get(e, ""), facts.names.get(e, e), n) for e, n in cells}
    return BesidePapers(view, {key: tables for key, tables in found.items() if tables}, facts.names)


def _titled(editor: str) -> str:
    """Return an editor's label without what the number of a cell says already."""
    return " ".join(word for word in editor.split(" ") if not word.startswith(_PUT_BACK))


def _number(table: Published, editor: str, measure: str) -> float | None:
    return table.percent[editor][table.measures.index(measure)] if measure in table.measures else None


def _block(
    title: str, rows: pl.DataFrame, order: Sequence[str], tables: Sequence[Published], editor: str
) -> list[str]:
    """Return the lines of one editor's cell: measures as columns, a scoring a line, then n, then what papers say."""
    known = {(r["scoring"], r["measure"]): r for r in rows.iter_rows(named=True)}
    columns = [name for name in order if any(measure == name for _, measure in known)]
    lines = [[title, *columns]]
    for scoring, said in _HERE.items():
        mine = [known.get((scoring, name)) for name in columns]
        if any(mine):
            lines.append([said, *("" if one is None else _shown(one) for one in mine)])
    n = {name: next(r["n"] for (_, m), r in known.items() if m == name) for name in columns}
    lines.append(["n", *(f"{n[name]:,}" for name in columns)])
    for table in tables:
        numbers = [_number(table, editor, name) for name in columns]
        said = f"published: {table.called[editor]}, {table.on} ({table.source.split(' ')[0]})"
        lines.append([said, *("" if number is None else _share(number / 100) for number in numbers)])
    widths = [max(len(line[i]) for line in lines) for i in range(len(lines[0]))]
    return ["  ".join(cell.ljust(width) for cell, width in zip(line, widths, strict=True)).rstrip() for line in lines]


def _shown(row: Mapping[str, Any]) -> str:
    if row["measure"] == KEYS:
        return f"{row['mean']:,.0f}"
    ends = "" if row["low"] is None else f" ({_share(row['low'], 2)} to {_share(row['high'], 2)})"
    return f"{_share(row['mean'])}{ends}"


def _share(value: float, digits: int = 3) -> str:
    return f"{value:.{digits}f}".removeprefix("0")
