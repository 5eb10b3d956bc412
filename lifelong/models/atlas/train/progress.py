"""What a running training says: a progress bar on a terminal, plain lines elsewhere, and rows of a CSV file."""

from __future__ import annotations

import csv
import time
from collections.abc import Mapping
from pathlib import Path
from types import TracebackType

from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn


class Reporter:
    """Shows steps and losses of one stage and appends them to `loss.csv` (columns stage, step, wall_s, values)."""

    def __init__(
        self, stage: str, total: int, csv_path: Path, start: int = 0, every: int = 50, shown: bool = True
    ) -> None:
        self.stage, self.total, self.every = stage, total, every
        self._path, self._began_s = csv_path, time.perf_counter()
        console = Console()
        self._terminal = console.is_terminal and shown
        self._bar = Progress(
            TextColumn(stage),
            BarColumn(),
            MofNCompleteColumn(),
            TimeRemainingColumn(),
            TextColumn("{task.fields[note]}"),
            console=console,
            disable=not self._terminal,
        )
        self._task = self._bar.add_task(stage, total=total, completed=start, note="")

    def __enter__(self) -> Reporter:
        self._bar.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._bar.stop()

    def due(self, step: int) -> bool:
        """Whether values of this step (counted from 1) are to be shown."""
        return step % self.every == 0 or step == self.total

    def show(self, step: int, values: Mapping[str, float]) -> None:
        """Show and record named values of `step`."""
        note = " ".join(f"{name} {value:.4f}" for name, value in values.items())
        self._bar.update(self._task, completed=step, note=note)
        wall_s = time.perf_counter() - self._began_s
        if not self._terminal:
            print(f"{self.stage} {step}/{self.total} {wall_s:.0f}s {note}", flush=True)
        self._path.parent.mkdir(parents=True, exist_ok=True)
        fresh = not self._path.exists()
        with open(self._path, "a", newline="") as handle:
            writer = csv.writer(handle)
            if fresh:
                writer.writerow(["stage", "step", "wall_s", "name", "value"])
            writer.writerows([self.stage, step, f"{wall_s:.1f}", n, f"{v:.6f}"] for n, v in values.items())
