"""The table of a sweep while it works: on a terminal one that moves, in a file plain lines now and then.

Knows status files and text; nothing of cells, engines or runs. Always on standard error.
"""

from __future__ import annotations

import sys
import threading
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import IO, Any

from lifelong.log.status import read_status
from lifelong.studies.status import RunRow, counted, row_of
from streams.text import printable

_LIVE_EVERY_S, _FILE_EVERY_S = 1.0, 30.0
_MOST = 40  # rows on a terminal: those at work first
MOVING = ("running", "failed", "lost")


class LiveTable:
    """Shows how far the runs of some folders are until it is closed (use it as a context); `say` adds a line."""

    def __init__(
        self,
        folders: Sequence[Path],
        *,
        stream: IO[str] | None = None,
        every_s: float = 0.0,
        rows: Callable[[Sequence[Path]], list[RunRow]] | None = None,
    ) -> None:
        self.folders, self.stream = list(folders), stream if stream is not None else sys.stderr
        self._rows = rows or rows_at
        self._live: Any = None
        self._over, self._shown = threading.Event(), ""
        if self.stream.isatty():
            from rich.console import Console
            from rich.live import Live

            self._live = Live("", console=Console(file=self.stream), refresh_per_second=2, transient=True)
        self.every_s = every_s or (_LIVE_EVERY_S if self._live is not None else _FILE_EVERY_S)
        self._beating = threading.Thread(target=self._beat, daemon=True, name="live-table")

    def __enter__(self) -> LiveTable:
        if self._live is not None:
            self._live.start()
        self._beating.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._over.set()
        self._beating.join()
        if self._live is not None:
            self._live.stop()

    def say(self, text: str) -> None:
        """Show one line that stays."""
        line = printable(text)
        if self._live is not None:
            self._live.console.print(line, highlight=False, markup=False, soft_wrap=True)
        else:
            print(line, file=self.stream, flush=True)

    def show(self) -> None:
        """Show the rows as they are now; in a file only those that move, and nothing where nothing has changed."""
        rows = self._rows(self.folders)
        if self._live is not None:
            self._live.update(terminal_table(rows))
            return
        told = [counted(rows), *(f"  {row.line()}" for row in rows if row.state in MOVING)]
        if (text := "\n".join(told)) != self._shown and not self.stream.closed:
            self._shown = text
            print(f"{time.strftime('%H:%M:%S')}  {text}", file=self.stream, flush=True)

    def _beat(self) -> None:
        while not self._over.wait(self.every_s):
            self.show()


def rows_at(folders: Sequence[Path]) -> list[RunRow]:
    """Return a row for each folder that has one."""
    found = (row_of(folder, read_status(folder)) for folder in folders)
    return [row for row in found if row is not None]


def terminal_table(rows: Sequence[RunRow]) -> Any:
    """Return rows as a table for a terminal, with their counted beneath; of many runs those at work are shown."""
    from rich.table import Table
    from rich.text import Text

    table = Table(box=None, pad_edge=False, caption=counted(rows), caption_justify="left")
    for name, style in (("run", ""), ("", ""), ("edits", "cyan"), ("pace", ""), ("last panel", ""), ("", "dim")):
        table.add_column(name, style=style, overflow="fold")
    for row in rows if len(rows) <= _MOST else [row for row in rows if row.state in MOVING][:_MOST]:
        state, label, *others = row.cells()
        table.add_row(Text(label), Text(state, _STYLES.get(state, "")), *map(Text, others))
    return table


_STYLES = {"running": "green", "failed": "red", "lost": "red", "done": "dim"}
