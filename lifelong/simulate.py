"""The event loop: arrivals wait for a worker, are edited, become visible and are probed. The only import of simpy.

Knows the contracts of editor, panel, clock and log, and nothing of what they do. Simulated time is whole nanoseconds:
sums are exact, so a loop rebuilt at a panel goes on bit for bit. All truth is plain data; no generator is ever saved.

Batches are cut from the order of arrivals alone: `editor.turn` edits, fewer only before a withdrawal and at the end
of the stream. With one worker an edit is therefore the n-th to become visible whatever the arrivals and the clock,
and no score at a given step depends on time. More workers may overtake each other.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Generator, Mapping, Sequence
from dataclasses import replace
from typing import Any

import simpy

from lifelong.checkpoint import StateLike
from lifelong.clock import Clock
from lifelong.editor import CollapseError, Editor, State, UnsupportedError
from lifelong.jobs import NANO, Job, arrivals_digest, jobs_of, nanoseconds
from lifelong.log import Edited, Fact, Gauged, Probed, Timed
from lifelong.loop_types import Done, LogLike, Open, PanelLike, SimulationSettings, ToldLike
from lifelong.tally import Tally
from streams.types import Arrival, Edit

OnEvent = Callable[[Mapping[str, Any]], None]


class ResumeError(RuntimeError):
    """A checkpoint belongs to another sequence of arrivals, or to other batches."""


def simulate(
    arrivals: Sequence[Arrival],
    editor: Editor,
    panel: PanelLike,
    clock: Clock,
    settings: SimulationSettings,
    log: LogLike,
    resume: StateLike | None = None,
    *,
    on_event: OnEvent | None = None,
) -> None:
    """Run a stream to its end, committing facts to the log at every full panel.

    `resume` is the checkpoint of the log's last panel. `on_event` is told of each batch, panel and note (plain
    dictionaries with a `kind`), for a display. Raises `ValueError` for arrivals that cannot be simulated,
    `ResumeError`, and whatever the parts raise; panels committed before stay readable.
    """
    _Loop(arrivals, editor, panel, clock, settings, log, on_event).run(resume)


class _Loop:
    """One run of the loop; every attribute that outlives a panel is in `_state`."""

    def __init__(
        self,
        arrivals: Sequence[Arrival],
        editor: Editor,
        panel: PanelLike,
        clock: Clock,
        settings: SimulationSettings,
        log: LogLike,
        on_event: OnEvent | None,
    ) -> None:
        if settings.workers < 1 or (settings.workers > 1 and clock.measures):
            raise ValueError(f"workers={settings.workers}: at least 1, and exactly 1 with a measured clock.")
        self.jobs = jobs_of(arrivals, editor.turn)
        self.arrivals, self.editor, self.panel, self.clock, self.log = arrivals, editor, panel, clock, log
        self.settings, self.tell = settings, on_event or (lambda event: None)
        self.digest = arrivals_digest(arrivals, editor.turn, settings.workers)
        self.edits = sum(isinstance(a.item, Edit) for a in arrivals)
        self.moments = [nanoseconds(a.at_s) for a in arrivals]
        self.arrived = self.begun = self.finished = self.panels = 0
        self.in_flight: dict[int, tuple[int, int]] = {}  # job -> (start, end) in simulated nanoseconds
        self.history: list[str] = []
        self.retired: dict[str, str] = {}
        self.facts: list[Fact] = []
        self.open: list[Open] = []
        self.together = settings.together if panel.defers else 1
        self.tally = Tally()

    def run(self, resume: StateLike | None) -> None:
        """Run to the end of the stream, from its beginning or from a checkpoint."""
        now = self._restore(resume) if resume is not None else 0
        if self.finished == len(self.jobs):
            return
        env = simpy.Environment(initial_time=now)
        workers = simpy.Resource(env, self.settings.workers)
        for index in self.in_flight:
            env.process(self._serve(env, workers, index))
        for index in range(self.begun, sum(job.ready < self.arrived for job in self.jobs)):
            env.process(self._serve(env, workers, index))
        env.process(self._source(env, workers))
        self.tally.begin()
        env.run()

    def _source(self, env: simpy.Environment, workers: simpy.Resource) -> Generator[simpy.Event, None, None]:
        """Let things arrive; a job joins the queue when the last thing that it waits for is there."""
        first = sum(job.ready < self.arrived for job in self.jobs)
        while self.arrived < len(self.moments):
            yield env.timeout(max(0, self.moments[self.arrived] - int(env.now)))
            self.tally.count(int(env.now), +1)
            while first < len(self.jobs) and self.jobs[first].ready == self.arrived:
                env.process(self._serve(env, workers, first))
                first += 1
            self.arrived += 1

    def _serve(
        self, env: simpy.Environment, workers: simpy.Resource, index: int
    ) -> Generator[simpy.Event, None, None]:
        """Wait for a worker, serve one job, make it visible; a job in flight at a checkpoint is only finished."""
        job, done = self.jobs[index], None
        with workers.request() as turn:
            yield turn
            if index not in self.in_flight:
                self.begun += 1
                if self.clock.measures:
                    done = self._work(job)
                bank_len = self.editor.bank_len() if done is None else done.bank_len
                measured_wall_s = None if done is None else done.wall_s
                service_s = self.clock.service_s(job.operation, len(job.items), bank_len, measured_wall_s)
                self.in_flight[index] = int(env.now), int(env.now) + nanoseconds(service_s)
            yield env.timeout(self.in_flight[index][1] - int(env.now))
            start, end = self.in_flight.pop(index)
            self.tally.served(end, start, [self.moments[a] for a in job.arrivals])
            self._visible(job, self._work(job) if done is None else done, end)

    def _work(self, job: Job) -> Done:
        """Edit or withdraw, timed from outside; a result that is not finite is a collapse, not the end of the run."""
        if job.withdrawn or any(edit.supersedes for edit in job.edits):
            self._settle()
        bank_len, collapsed, note = self.editor.bank_len(), False, ""
        self.editor.vlm.sync()
        start = time.perf_counter()
        try:
            if job.edits:
                self.editor.edit(job.edits)
            else:
                self._withdraw(job.withdrawn)
        except (CollapseError, FloatingPointError) as error:
            collapsed, note = True, str(error)
        except (UnsupportedError, KeyError) as error:
            if job.edits:
                raise
            note = f"{job.withdrawn} was not taken back: {error}"
        self.editor.vlm.sync()
        wall_s = time.perf_counter() - start
        self.tally.worked(wall_s)
        return Done(wall_s, bank_len, collapsed, note)

    def _withdraw(self, edit_id: str) -> None:
        if edit_id not in self.history or self.retired.get(edit_id) == "":
            raise KeyError("no such edit is visible")
        self.editor.remove([edit_id])

    def _visible(self, job: Job, done: Done, end: int) -> None:
        """Log a finished job, probe it, and hold the panel that has fallen due."""
        before, self.finished = len(self.history), self.finished + 1
        self.history += [e.id for e in job.edits]
        step, sim_s = len(self.history), end / NANO
        self.facts.append(Timed(step, done.bank_len, job.operation, done.wall_s))
        if job.edits:
            self._ask(job, done, step, sim_s)
        else:
            if not done.note:
                self.retired[job.withdrawn] = ""
            self.facts.append(Gauged(step, sim_s, "withdrawn", job.withdrawn, float(not done.note)))
        if done.note:
            self.tell({"kind": "note", "step": step, "sim_s": sim_s, "text": done.note})
        last = self.finished == len(self.jobs)
        crossed = any(before < listed <= step for listed in self.settings.panels)
        if last or (crossed and step < self.edits):
            self._hold_panel(step, end, last)

    def _ask(self, job: Job, done: Done, step: int, sim_s: float) -> None:
        with self.tally.probing():
            asked = self.panel.ask(step, sim_s, job.edits)
        self.open.append(Open(job, done, step, sim_s, self.editor.bank_len(), asked))
        self.retired.update((edit.supersedes, edit.id) for edit in job.edits if edit.supersedes)
        if len(self.open) >= self.together:
            self._settle()

    def _settle(self) -> None:
        """Answer what was asked so far, and log the edits that it was about."""
        if self.open:
            with self.tally.probing():
                told = self.panel.answer([one.asked for one in self.open])
            for one, about in zip(self.open, told, strict=True):
                self._log_edits(one, about)
            self.open = []

    def _log_edits(self, open_: Open, told: ToldLike) -> None:
        job, done, step, sim_s = open_.job, open_.done, open_.step, open_.sim_s
        if told.not_finite and not done.collapsed:
            note = f"{told.not_finite} answers after {job.edits[-1].id} are not finite"
            done = replace(done, collapsed=True, note=note)
            self.tell({"kind": "note", "step": step, "sim_s": sim_s, "text": note})
        for edit, arrival in zip(job.edits, job.arrivals, strict=True):
            self.facts.append(
                Edited(
                    step=step,
                    sim_s=sim_s,
                    edit_id=edit.id,
                    arrived_sim_s=self.moments[arrival] / NANO,
                    visible_sim_s=sim_s,
                    edit_wall_s=done.wall_s,
                    batch_len=len(job.edits),
                    collapsed=done.collapsed,
                    prompt_kind=edit.prompt_kind,
                    relation=edit.relation,
                    note=done.note,
                )
            )
        self.facts += told.facts
        event = {"kind": "edit", "step": step, "edits": self.edits, "sim_s": sim_s, "wall_s": done.wall_s}
        self.tell({**event, "bank_len": open_.bank_len, "collapsed": done.collapsed, "facts": told.facts})

    def _hold_panel(self, step: int, now: int, last: bool) -> None:
        """Probe everything that is due and commit it with the state; no simulated time passes."""
        sim_s = now / NANO
        self._settle()
        with self.tally.probing():
            facts = self.panel.full(step, sim_s, tuple(self.history), dict(self.retired), last=last)
        self.facts += [*facts, *self.tally.gauges(step, sim_s)]
        with self.tally.committing():
            self.log.commit(self.panels, self.facts, self._state(now))
        self.facts, self.panels = [], self.panels + 1
        self.tell({"kind": "panel", "step": step, "edits": self.edits, "sim_s": sim_s, "last": last, "facts": facts})

    def _state(self, now: int) -> State:
        inner = self.editor.state()
        plain = {
            "arrivals": self.digest,
            "now": now,
            "arrived": self.arrived,
            "begun": self.begun,
            "finished": self.finished,
            "panels": self.panels + 1,
            "in_flight": [[index, *span] for index, span in self.in_flight.items()],
            "history": self.history,
            "retired": self.retired,
            "clock": self.clock.state(),
            "tally": self.tally.state(),
        }
        tensors = {f"editor/{name}": tensor for name, tensor in inner.tensors.items()}
        return State(tensors, {"simulation": plain, "editor": dict(inner.meta)})

    def _restore(self, saved: StateLike) -> int:
        """Take over a checkpoint and return the simulated moment to go on from."""
        plain = saved.meta["simulation"]
        if plain["arrivals"] != self.digest:
            raise ResumeError(
                "the checkpoint was made with other arrivals, batches or workers than these. Run again with --fresh."
            )
        names = ("arrived", "begun", "finished", "panels")
        self.arrived, self.begun, self.finished, self.panels = (int(plain[name]) for name in names)
        self.in_flight = {int(index): (int(start), int(end)) for index, start, end in plain["in_flight"]}
        self.history, self.retired = list(plain["history"]), dict(plain["retired"])
        self.clock.load(plain["clock"])
        self.tally.load(plain["tally"])
        tensors = {n.removeprefix("editor/"): t for n, t in saved.tensors.items() if n.startswith("editor/")}
        self.editor.load(State(tensors, saved.meta["editor"]))
        rows = self.log.table(Probed).to_batches()
        facts = (Probed(**row) for batch in rows for row in batch.to_pylist())
        self.panel.restore(facts, tuple(self.history), dict(self.retired))
        return int(plain["now"])
