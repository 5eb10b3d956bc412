"""What a run is going to do and take, told before it begins: its model, what edits act on, bytes, and seconds.

Knows a prepared run whose model may be without its weights; with a trial it makes one edit on the model itself.
"""

from __future__ import annotations

import math
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from lifelong.probing.due import DueProbes
from lifelong.running.prepare import Prepared, due_of, prepare, resolve
from lifelong.running.progress import in_clock
from lifelong.running.ready import check_ready

if TYPE_CHECKING:
    from lifelong.running.config import RunConfig

_LISTED = 8  # modules that are named; the others are counted
_UNITS = ((1e12, "TB"), (1e9, "GB"), (1e6, "MB"), (1e3, "kB"))


@dataclass(frozen=True)
class TriedEdit:
    """What one edit and its probes took on the model: seconds, and the editor's bytes for `edits` edits."""

    edits: int
    edit_wall_s: float
    probe_wall_s: float
    stored_bytes: int


@dataclass(frozen=True)
class RunPlan:
    """A run that could start. `rows` of `tokens` tokens go together; `bank_bytes` is None where only edits tell.

    `asked` are answers that panels ask for at most, `distinct` the questions that the frozen model is asked first.
    """

    ready: Prepared
    family: str
    weights_bytes: int
    acts_on: tuple[str, ...]
    bank_bytes: int | None
    rows: int
    tokens: int
    asked: int
    distinct: int
    trial: TriedEdit | None = None

    @property
    def folder(self) -> Path:
        """The run's folder."""
        return self.ready.folder

    @property
    def most_wall_s(self) -> float:
        """Seconds at most by the trial edit, nan without one; what an editor learns beforehand is not in it."""
        if self.trial is None:
            return math.nan
        edit_s = self.trial.edit_wall_s / self.trial.edits
        return len(self.ready.stream.edits) * edit_s + (self.asked + self.distinct) * self.trial.probe_wall_s

    def lines(self) -> list[str]:
        """Return the plan as lines, the folder not among them."""
        vlm, config = self.ready.vlm, self.ready.config
        memory, edits = vlm.memory, len(self.ready.stream.edits)
        far = f", {in_bytes(memory.far)} of the host's memory" if memory.far else ""
        more = f" and {len(self.acts_on) - _LISTED} more" if len(self.acts_on) > _LISTED else ""
        lines = [
            f"model: {self.family}, {vlm.layers} layers of width {vlm.width}, {config.dtype} on {vlm.home}",
            f"weights: {in_bytes(self.weights_bytes)}; beside them {in_bytes(memory.near)} of {vlm.home}{far}",
            f"a batch: {in_bytes(memory.batch_bytes)}, {self.rows} rows of {self.tokens} tokens",
            f"kept of what is read: {in_bytes(config.cache_bytes)} at most",
            f"edits act on: {', '.join(self.acts_on[:_LISTED]) or 'nothing in the model'}{more}",
            f"stored at {edits} edits: {self._stored(edits)}",
            f"answers: {self.distinct:,} of the frozen model, then at most {self.asked:,} in panels",
        ]
        return lines if self.trial is None else [*lines, *self._trial_lines(edits)]

    def _stored(self, edits: int) -> str:
        if self.bank_bytes is not None:
            return f"about {in_bytes(self.bank_bytes)}"
        if self.trial is not None:
            return f"about {in_bytes(self.trial.stored_bytes * edits // self.trial.edits)}, by the trial edit"
        return "known after an edit (--trial makes one)"

    def _trial_lines(self, edits: int) -> list[str]:
        trial = self.trial
        if trial is None:
            return []
        edit_s, probe_s = trial.edit_wall_s / trial.edits, trial.probe_wall_s
        most = self.most_wall_s
        note = "; what it learns beforehand is not in it" if self.ready.fit is not None else ""
        return [
            f"trial: {edit_s:.3g} s an edit, {probe_s:.3g} s an answer",
            f"seconds: {most:.3g} at most ({in_clock(most)}){note}",
        ]


def plan_run(
    source: str | RunConfig | None = None,
    *,
    trial: bool = False,
    say: Callable[[str], None] = lambda _: None,
    **changes: Any,
) -> RunPlan:
    """Check a configuration and everything it names, and return what `run` would do; no run folder is made.

    Of a model that does not ship no weight is read. With `trial` it is loaded, and one edit (a batch, for an editor
    that takes several) with its probes is timed; a trained editor is tried as it is before it has learnt. `say` is
    told what is odd but no mistake. Raises what `run` raises before its work begins.
    """
    ready = prepare(resolve(source, changes), say, empty=not trial)
    check_ready(ready, say)
    return planned_run(ready, trial=trial)


def planned_run(ready: Prepared, *, trial: bool = False) -> RunPlan:
    """Return the plan of a run that was prepared and checked."""
    from lifelong.models.passes.size import size_of_model

    vlm, stream, config, resolved = ready.vlm, ready.stream, ready.config, ready.resolved
    editor = resolved.editor(vlm)
    try:
        acts_on, bank_bytes = (
            tuple(editor.acts_on()),
            editor.bytes_for(min(len(stream.edits), config.restore_every or len(stream.edits))),
        )
    finally:
        editor.close()
    probes = stream.every_probe()
    steps = config.steps(len(stream.edits))
    rows, tokens = vlm.rows_of([p.query for p in probes[:_TOLD]], ready.limit.tokens)
    return RunPlan(
        ready,
        f"{vlm.model.config.model_type} ({type(vlm.model).__name__})",
        size_of_model(vlm.model, vlm.structure).model_bytes,
        acts_on,
        bank_bytes,
        rows,
        tokens,
        asked_in_panels(due_of(ready), steps),
        len({(p.query.digest, p.target) for p in probes}),
        tried(ready) if trial else None,
    )


_TOLD = 64  # questions whose tokens tell how long a row is


def asked_in_panels(due: DueProbes, steps: Sequence[int]) -> int:
    """Return how many probes all panels ask, each as soon as its edit is visible and at every panel after it."""
    pairs = list(zip((0, *steps), steps, strict=False))
    return sum(due.at_once(before, step) + sum(due.at_panel(before, step)) for before, step in pairs)


def tried(ready: Prepared) -> TriedEdit:
    """Make the first edits of a run on its model and answer their probes; returns what that took.

    Nothing is kept: the model is left as it was found.
    """
    vlm, stream = ready.vlm, ready.stream
    with ready.computing(), vlm.serving_with(timed=True):
        editor = ready.resolved.editor(vlm)
        try:
            edits = list(stream.edits[: max(1, editor.turn)])
            probes = [probe for edit in edits for probe in stream.probes(edit.id)]
            queries, targets = [p.query for p in probes], [p.target for p in probes]
            vlm.score(queries[:1], targets[:1])  # what only the first pass of all takes
            begun = time.perf_counter()
            editor.edit(edits)
            vlm.sync()
            edit_wall_s = time.perf_counter() - begun
            begun = time.perf_counter()
            with editor.applied(queries, editor.route(editor.encode(queries))) as answerer:
                answerer.score(targets)
                answerer.generate(max_tokens=ready.limit.tokens)
            vlm.sync()
            probe_wall_s = (time.perf_counter() - begun) / max(1, len(probes))
            return TriedEdit(len(edits), edit_wall_s, probe_wall_s, editor.nbytes())
        finally:
            editor.close()


def in_bytes(number: float) -> str:
    """Return bytes in words.

    >>> in_bytes(14_100_000_000), in_bytes(512)
    ('14.1 GB', '512 bytes')
    """
    for size, unit in _UNITS:
        if number >= size:
            return f"{number / size:.3g} {unit}"
    return f"{int(number)} bytes"
