"""A run whose panels are held where somebody asks for them: it goes on from the nearest one before.

Knows prepared runs, the loop and run logs; nothing of limits or scores. Every panel (a rung) is a run log of its own
with one committed panel: its facts since the rung before it and the state to go on from. Rungs that are there are
never made again, so a ladder that was stopped goes on, and other questions about the same run are answered at once.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pyarrow as pa

from lifelong.log import Fact, LogError, RunLog, schema_of
from lifelong.log.folder import remove_run
from lifelong.log.machine import package_version
from lifelong.running.prepare import Prepared, baseline_of, panel_of, run_loop
from lifelong.running.progress import few_notes
from lifelong.running.run import manifest_of
from lifelong.running.words import to_toml
from lifelong.simulation.roles import edits_made

if TYPE_CHECKING:
    from lifelong.editing.contract import Editor
    from lifelong.log.checkpoint import State
    from lifelong.probing.baseline import Baseline
    from lifelong.probing.panel import Panel


class _ReachedError(Exception):
    """The panel that was asked for is committed: nothing went wrong, the loop need not go on."""


@dataclass
class _Climber:
    """The living editor and panel, and the step at which they stand (-1: amid a climb that broke off)."""

    editor: Editor
    panel: Panel
    stands: int = 0


class Ladder:
    """One run, climbed as far as asked; holds the editor where it stands. Close it at the end."""

    def __init__(self, ready: Prepared, folder: Path, say: Callable[[str], None] = lambda _: None) -> None:
        self.ready = ready
        self.folder = folder
        self.say = say
        self._note = few_notes(say)
        self.most = len(ready.stream.edits)
        self._climber: _Climber | None = None
        self._baseline: Baseline | None = None

    def steps(self) -> list[int]:
        """Return the steps of the rungs that are there, sorted."""
        found = (int(path.parent.name.removeprefix("step-")) for path in self.folder.glob("step-*/DONE"))
        return sorted(found)

    def path(self, step: int) -> Path:
        """Return the folder of a rung."""
        return self.folder / f"step-{step:06d}"

    def rung(self, step: int) -> RunLog:
        """Return the log of a rung; raises `LogError` where there is none, or one of another version."""
        log = RunLog.open(self.path(step))
        theirs, ours = log.manifest.get("versions", {}).get("lifelong-edit"), package_version()
        if theirs != ours:
            raise LogError(f"{log.folder}: made with version {theirs}, this is {ours}. Start over with --fresh.")
        return log

    def at(self, step: int) -> RunLog:
        """Return the log of the rung at a step, made now where it is not there.

        Where edits are made several at a time it is that of the end of the step's batch. Raises `ValueError` for a
        step beyond the stream, and what the parts raise.
        """
        if not 1 <= step <= self.most:
            raise ValueError(f"step={step}: expected one from 1 to the run's {self.most} edits.")
        if step not in self.steps():
            turn = self.ready.config.batch or self._at(0).editor.turn
            end = min(self.most, -(-step // turn) * turn)
            step = end if end in self.steps() else self._climb(step)
        return self.rung(step)

    def close(self) -> None:
        """Let the editor go: the model is the frozen one again."""
        if self._climber is not None:
            self._climber.editor.close()
            self._climber = None

    def _at(self, step: int) -> _Climber:
        """Return the living editor and panel if they stand at a step (0: anywhere), else new ones at the foot."""
        if self._climber is not None and step and self._climber.stands != step:
            self.close()  # what a panel remembers is of the steps behind it only
        if self._climber is None:
            self._baseline = self._baseline or baseline_of(self.ready, self.say)
            editor = self.ready.editor()
            self._climber = _Climber(editor, panel_of(self.ready, editor, self._baseline))
        return self._climber

    def _climb(self, step: int) -> int:
        """Go from the nearest rung below to a panel at a step; return the step at which it was held."""
        start = max((s for s in self.steps() if s < step), default=0)
        if start == 0 and self._climber is not None and self._climber.stands:
            self.close()
        climber = self._at(start)
        log = _Rungs(self, 0 if climber.stands == start else start)
        reached: list[int] = []

        def on_event(event: Mapping[str, Any]) -> None:
            if event["kind"] == "note":
                self._note(str(event["text"]))
            elif event["kind"] == "panel":
                reached.append(int(event["step"]))
                raise _ReachedError

        climber.stands = -1
        with suppress(_ReachedError):
            run_loop(self.ready, climber.editor, climber.panel, log, (step,), log.saved(start), on_event)
        climber.stands = reached[-1]
        return reached[-1]


class _Rungs:
    """The log of one climb: reads the rungs behind it, commits one."""

    def __init__(self, ladder: Ladder, known_until: int) -> None:
        self._ladder = ladder
        self._behind = [s for s in ladder.steps() if s <= known_until]

    def saved(self, step: int) -> State | None:
        """Return the state at a rung, None at the foot."""
        return self._ladder.rung(step).checkpoint() if step else None

    def table(self, fact: type) -> pa.Table:
        """Return the facts of the rungs behind, in order."""
        tables = [self._ladder.rung(step).table(fact) for step in self._behind]
        return pa.concat_tables(tables) if tables else schema_of(fact).empty_table()

    def commit(self, panel_index: int, facts: Sequence[Fact], checkpoint: State) -> None:
        """Make a rung of a panel; what an earlier attempt left unfinished there is replaced."""
        ready = self._ladder.ready
        path = self._ladder.path(edits_made(checkpoint))
        remove_run(path)
        log = RunLog.create(path, to_toml(ready.config.table()), manifest_of(ready))
        log.commit(0, facts, checkpoint)
        log.finish()
