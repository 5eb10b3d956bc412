"""The event loop: arrivals wait for a worker, are edited or answered, become visible and are probed.

Knows the contracts of station, editor, panel, server, clock and log, and nothing of what they do. Simulated time is
whole nanoseconds: sums are exact, so a loop rebuilt at a panel goes on bit for bit. All truth is plain data.

Batches are cut from arrivals alone: `editor.turn` edits, fewer only before a withdrawal, at the end of the stream or
when a window closes. With one worker an edit is therefore the n-th to become visible whatever the clock, the queries
and the policy, and no score at a given step depends on time. More workers may overtake each other.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict
from typing import Any

from lifelong.editing.contract import Editor, UnsupportedError
from lifelong.log import Fact, Gauged, Probed, Timed
from lifelong.log.checkpoint import State, copied
from lifelong.log.facts import APPLIED, NO_OP, NOT_FINITE, RESTORED
from lifelong.probing.latency import timed_cold
from lifelong.simulation.clock import Clock
from lifelong.simulation.jobs import NANO, Job, arrivals_digest, jobs_of, nanoseconds
from lifelong.simulation.queries import Desk, Queries
from lifelong.simulation.roles import Done, LogLike, PanelLike, SimulationSettings, check_settings, edited_facts
from lifelong.simulation.station import Service, Station, Waiting
from lifelong.simulation.tally import Tally
from streams.types import Arrival, Edit

OnEvent = Callable[[Mapping[str, Any]], None]
ANSWERED_TOGETHER = 256  # queries, where nothing asks for their answers earlier


class ResumeError(RuntimeError):
    """A checkpoint belongs to another sequence of arrivals, or to other batches."""


def simulate(
    arrivals: Sequence[Arrival],
    editor: Editor,
    panel: PanelLike,
    clock: Clock,
    settings: SimulationSettings,
    log: LogLike,
    resume: State | None = None,
    *,
    desk: Desk | None = None,
    knowledge_of: Callable[[Edit], str] = lambda edit: "",
    on_event: OnEvent | None = None,
    leaves: Callable[[], object] = lambda: False,
) -> bool:
    """Run a stream to its end, committing facts to the log at every full panel; returns whether it came to its end.

    `desk` answers the queries among the arrivals. `knowledge_of` says what the frozen model knew of an edit's fact
    (`Edited.knowledge`). `resume` is the checkpoint of the log's last panel. `on_event` is told of each batch, panel
    and note (plain dictionaries with a `kind`), for a display. `leaves` is asked after each service, and its panel
    where one is due: where it is true, what came since the last panel is committed as well, and the loop ends there.
    Raises `ValueError` for arrivals or settings that cannot be simulated, `ResumeError`, and whatever the parts
    raise; panels committed before stay readable.
    """
    return _Loop(arrivals, editor, panel, clock, settings, log, desk, knowledge_of, on_event, leaves).run(resume)


class _Left(Exception):
    """The loop was asked to end before the stream's end, and everything is committed."""


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
        desk: Desk | None,
        knowledge_of: Callable[[Edit], str],
        on_event: OnEvent | None,
        leaves: Callable[[], object],
    ) -> None:
        check_settings(settings, clock.measures, editor.turn)
        turn = settings.batch or editor.turn
        self.jobs = jobs_of(arrivals, turn, settings.window_s, settings.restore_every)
        self.editor, self.panel, self.clock, self.log = editor, panel, clock, log
        self.settings, self.tell = settings, on_event or (lambda event: None)
        self.knowledge_of, self.leaves = knowledge_of, leaves
        others = (settings.policy, str(settings.window_s))
        others += (f"restored every {settings.restore_every}",) if settings.restore_every else ()
        self.digest = arrivals_digest(arrivals, turn, settings.workers, *others)
        self.edits = sum(isinstance(a.item, Edit) for a in arrivals)
        self.moments = [nanoseconds(a.at_s) for a in arrivals]
        # What happens, in order: an arrival, then the jobs that are ready with it.
        self.events = sorted(
            [(moment, 0, place) for place, moment in enumerate(self.moments)]
            + [(job.ready, 1, number) for number, job in enumerate(self.jobs)]
        )
        self.places = {place: n for n, place in enumerate(j.arrivals[0] for j in self.jobs if j.posed is not None)}
        if self.places and desk is None:
            raise ValueError(f"{len(self.places)} queries arrive and nobody answers them: give a `desk`.")
        self.happened = self.finished = self.commits = 0
        self.done: dict[int, Done] = {}  # measured work of jobs in service
        self.before = 0  # edits before the model was put back last
        self.history: list[str] = []  # visible edits since then in order, and the same as a set
        self.visible: set[str] = set()
        self.retired: dict[str, str] = {}
        self.facts: list[Fact] = []
        self.station = Station(settings.workers, settings.policy, self._begin, self._end)
        self.tally = Tally()
        self.queries = Queries(desk, clock, editor)
        self.unedited = State({}, {})

    def run(self, resume: State | None) -> bool:
        """Run to the end of the stream, from its beginning or from a checkpoint; returns whether it came there."""
        if self.settings.restore_every:
            self.unedited = copied(self.editor.state())
        now, jobs, submitted = (0, {}, 0) if resume is None else self._restore(resume)
        if self.finished < len(self.jobs):
            self.tally.begin()
            moments = [moment for moment, _, _ in self.events]
            try:
                self.station.run(moments, self._happens, first=self.happened, now=now, jobs=jobs, submitted=submitted)
            except _Left:
                return False
        return True

    def _happens(self, event: int) -> None:
        moment, is_job, number = self.events[event]
        self.happened = event + 1
        if is_job:
            self.station.submit(number, self.jobs[number].kind)
        elif number in self.places:
            self.queries.tally.count(moment, +1)
        else:
            self.tally.count(moment, +1)

    def _begin(self, number: int, now: int) -> int:
        """Begin a service and return its nanoseconds."""
        job = self.jobs[number]
        if job.posed is not None:
            with self.tally.on("traffic"):
                query, arrived = self.places[job.arrivals[0]], self.moments[job.arrivals[0]]
                return self.queries.begin(number, query, job.posed, arrived, now, self.visible, self.retired)
        measured_wall_s, bank_len = None, self.editor.bank_len()
        if self.clock.measures:
            done = self.done[number] = self._work(job)
            measured_wall_s, bank_len = done.wall_s, done.bank_len
        return nanoseconds(self.clock.service_s(job.operation, len(job.items), bank_len, measured_wall_s))

    def _end(self, number: int, service: Service) -> None:
        """End a service; when it was the last one, or brought a panel's step, hold the panel."""
        job, before = self.jobs[number], self.step
        # The queue in simulated time: who waited how long, and was served.
        self.finished += 1
        tally = self.queries.tally if job.posed is not None else self.tally
        tally.served(service.ended, service.service, [self.moments[a] for a in job.arrivals])
        # A query's answer may come later; a change becomes visible now, and was worked on at its beginning only where
        # the clock had to measure it.
        if job.posed is not None:
            self.queries.end(number, service.ended)
            if self.queries.waiting >= ANSWERED_TOGETHER:
                self._answer_queries()
        else:
            done = self.done.pop(number, None)
            self._visible(job, self._work(job) if done is None else done, service.ended)
        # A panel inside a batch falls at the batch's end. The last one waits until all queries are served.
        step, last = self.step, self.finished == len(self.jobs)
        if last or (step < self.edits and any(before < listed <= step for listed in self.settings.panels)):
            self._hold_panel(step, service.ended, last)
        if self._chunk_is_full and not last:
            self._restart(service.ended)
        if not last and self.leaves():
            self._leave(service.ended)

    @property
    def step(self) -> int:
        """The edits that are visible so far, those before the model was put back included."""
        return self.before + len(self.history)

    @property
    def _chunk_is_full(self) -> bool:
        return 0 < self.settings.restore_every <= len(self.history)

    def _restart(self, now: int) -> None:
        """Put the editor back to its beginning: the next edit is the first of a chunk of its own."""
        self._flush()
        self.facts.append(Gauged(self.step, now / NANO, RESTORED, "edits", float(len(self.history))))
        self.before, self.history, self.visible, self.retired = self.step, [], set(), {}
        self.editor.load(copied(self.unedited))
        self.panel.restart()

    def _work(self, job: Job) -> Done:
        """Edit or withdraw, timed from outside; a result that is not finite is an outcome, not the end of the run."""
        # What was put off must be answered by the editor as it is now, where this change would reach back.
        if job.withdrawn or any(edit.supersedes for edit in job.edits):
            self._flush()
        elif not self.queries.defers:
            self._answer_queries()
        # The editor's own work, and nothing else, between two readings of the clock.
        bank_len, before, note = self.editor.bank_len(), self.editor.mark(), ""
        outcome, passed_over = APPLIED, None
        with timed_cold(self.editor.vlm) as taken:
            try:
                if job.edits:
                    passed_over = self.editor.edit(job.edits)
                else:
                    self._withdraw(job.withdrawn)
            except FloatingPointError as error:
                outcome, note = NOT_FINITE, str(error)
            except (UnsupportedError, KeyError) as error:
                if job.edits:
                    raise
                note = f"{job.withdrawn} was not taken back: {error}"
        self.tally.worked(taken.wall_s)
        if outcome == APPLIED and self.editor.mark() == before:
            outcome = NO_OP
        return Done(taken.wall_s, bank_len, outcome, note, dict(passed_over or {}))

    def _withdraw(self, edit_id: str) -> None:
        if edit_id not in self.history or self.retired.get(edit_id) == "":
            raise KeyError("no such edit is visible")
        self.editor.remove([edit_id])

    def _visible(self, job: Job, done: Done, end: int) -> None:
        """Log a finished change, and probe it."""
        self.history += [e.id for e in job.edits]
        self.visible.update(e.id for e in job.edits)
        step, sim_s = self.step, end / NANO
        self.facts.append(Timed(step, done.bank_len, job.operation, done.wall_s))
        if job.edits:
            self.retired.update((edit.supersedes, edit.id) for edit in job.edits if edit.supersedes)
            arrived_s = [self.moments[arrival] / NANO for arrival in job.arrivals]
            self.facts += edited_facts(job, done, step, sim_s, arrived_s, self.knowledge_of)
            with self.tally.on("probe"):
                self.facts += self.panel.learn(step, sim_s, job.edits)
        else:
            if not done.note:
                self.retired[job.withdrawn] = ""
            self.facts.append(Gauged(step, sim_s, "withdrawn", job.withdrawn, float(not done.note)))
        if done.note:
            self.tell({"kind": "note", "step": step, "sim_s": sim_s, "text": done.note})
        if job.edits:
            self.tell({"kind": "edit", "step": step, "edits": self.edits, "sim_s": sim_s, "wall_s": done.wall_s})

    def _flush(self) -> None:
        """Answer what panel and desk have put off: an edit is about to be replaced or taken back, or a panel held."""
        with self.tally.on("probe"):
            self.facts += self.panel.flush()
        self._answer_queries()

    def _answer_queries(self) -> None:
        with self.tally.on("traffic"):
            self.facts += self.queries.answered()

    def _hold_panel(self, step: int, now: int, last: bool) -> None:
        """Probe everything that is due and commit it with the state; no simulated time passes."""
        sim_s = now / NANO
        self._flush()
        with self.tally.on("probe"):
            history, retired = tuple(self.history), dict(self.retired)
            facts = self.panel.full(step, sim_s, history, retired, last=last, whole=self._chunk_is_full)
        self.facts += [*facts, *self.tally.gauges(step, sim_s)]
        if self.places:
            self.facts += self.queries.tally.queue(step, sim_s, "traffic")
        committed = self._commit(now)
        event = {"kind": "panel", "step": step, "edits": self.edits, "sim_s": sim_s, "last": last}
        self.tell({**event, "facts": facts, "committed": committed})

    def _leave(self, now: int) -> None:
        """Commit what came since the last panel, and end the loop."""
        self._flush()
        if self.facts:
            self._commit(now)
        raise _Left

    def _commit(self, now: int) -> list[Fact]:
        with self.tally.on("commit"):
            self.log.commit(self.commits, self.facts, self._state(now))
        committed, self.facts, self.commits = self.facts, [], self.commits + 1
        return committed

    def _state(self, now: int) -> State:
        inner = self.editor.state()
        jobs, submitted = self.station.left()
        plain = {
            "arrivals": self.digest,
            "now": now,
            "happened": self.happened,
            "submitted": submitted,
            "jobs": [[number, asdict(known)] for number, known in jobs.items()],
            "finished": self.finished,
            "commits": self.commits + 1,
            "asked": dict(self.panel.counts()),
            "before": self.before,
            "history": self.history,
            "retired": self.retired,
            "clock": self.clock.state(),
            "tally": self.tally.state(),
            "traffic": self.queries.state(),
        }
        return State.joined({"simulation": plain}, editor=inner)

    def _restore(self, saved: State) -> tuple[int, dict[int, Waiting], int]:
        """Take over a checkpoint and return the moment, the jobs and the submissions to go on from."""
        plain = saved.meta["simulation"]
        if plain["arrivals"] != self.digest or "commits" not in plain:
            raise ResumeError(
                "the checkpoint was made with other arrivals, batches, workers or policies than these, or by an "
                "earlier version. Run again with --fresh."
            )
        self.happened, self.finished, self.commits = (int(plain[n]) for n in ("happened", "finished", "commits"))
        self.before, self.history = int(plain["before"]), list(plain["history"])
        self.retired = dict(plain["retired"])
        self.visible = set(self.history)
        self.clock.load(plain["clock"])
        self.tally.load(plain["tally"])
        self.queries.load(plain["traffic"])
        self.editor.load(saved.part("editor"))
        tables = ((kind, self.log.table(kind)) for kind in (Probed, Timed))
        facts = (kind(**row) for kind, table in tables for batch in table.to_batches() for row in batch.to_pylist())
        facts = (fact for fact in facts if isinstance(fact, Timed) or fact.step > self.before)
        self.panel.restore(facts, tuple(self.history), dict(self.retired), self.before, plain["asked"])
        if self._chunk_is_full:
            self._restart(int(plain["now"]))
        jobs = {int(number): Waiting(**known | {"order": tuple(known["order"])}) for number, known in plain["jobs"]}
        return int(plain["now"]), jobs, int(plain["submitted"])
