"""One run from its configuration: model, stream, editor, fit, baseline, panel, clock and log put together.

Knows every part by its contract and does none of their work.
"""

from __future__ import annotations

import time
from collections import Counter
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import asdict, replace
from functools import partial
from pathlib import Path
from typing import Any

from lifelong.editing.contract import Editor
from lifelong.log import Edited, Fact, Gauged, LogError, RunLog
from lifelong.log import machine as made_with
from lifelong.log.checkpoint import State
from lifelong.log.facts import APPLIED
from lifelong.log.files import content_digest, held
from lifelong.log.folder import remove_run, strangers
from lifelong.log.stream_tables import table_writer
from lifelong.running.config import RunConfig
from lifelong.running.plan import plan_run
from lifelong.running.prepare import Prepared, baseline_of, due_of, panel_of, prepare, resolve, run_loop
from lifelong.running.progress import LOADING_AFTER_S, Progress, busy_machine, every_tenth
from lifelong.running.pulse import pulse
from lifelong.running.ready import check_ready
from lifelong.running.remaining import Remaining
from lifelong.running.signals import Stopped, asked_to_stop, mark_told, patient
from lifelong.running.trackers import tracking
from lifelong.running.words import ConfigError, to_toml
from lifelong.simulation.roles import edits_made
from streams.rows import edit_rows, probe_rows


def dry_run(
    source: str | RunConfig | None = None, *, say: Callable[[str], None] = lambda _: None, **changes: Any
) -> Path:
    """Check a configuration and everything it names, and return the folder that `run` would use (`plan_run`'s).

    `say` is told what is odd but no mistake. Where the number of threads is left open, that is measured and kept as
    `run` would do it, unless the model's weights would have to be read for it. Raises what `run` raises before its
    work begins; no run folder is made.
    """
    return plan_run(source, say=say, **changes).folder


def run(
    source: str | RunConfig | None = None,
    *,
    resume: bool = False,
    fresh: bool = False,
    quiet: bool = False,
    notes_only: bool = False,
    wait_s: float = 0.0,
    into: str = "",
    **changes: Any,
) -> Path:
    """Run a recipe, a TOML file or a configuration to its end and return the run folder.

    `changes` are keys of the configuration: `editor="grace"`, `**{"editor.radius": 0.8}`, or nested dictionaries; an
    editor may be a class. A finished run is returned as it is. `resume` goes on with a partial one, `fresh` replaces
    what is there. `quiet` shows nothing, `notes_only` not how far it is (beside the folder there is always a file
    that says it: `lifelong.status`). `wait_s`: how long to wait for another process that holds the run, for one that
    takes it over. `into` is a run folder that was found elsewhere: on another processor it has another name. Raises
    `ConfigError`, `LogError` and the parts' own errors; committed panels are kept, also after
    Ctrl-C. A command that is asked to stop ends the edit or panel at work, and commits everything until then.
    """
    if resume and fresh:
        raise ConfigError("--resume goes on with a run and --fresh replaces it: give one of them.")
    resolved = resolve(source, changes)
    with (
        Progress(resolved.title, resolved.config.edits, quiet=quiet, notes_only=notes_only) as progress,
        _says_what_is_kept(progress) as logs,
    ):
        watch = Stopwatch()
        with watch.on("load"), progress.doing("loading the stream and the model", after_s=LOADING_AFTER_S):
            ready = prepare(resolved, progress.say)
            ready = replace(ready, folder=Path(into)) if into else ready
            check_ready(ready, progress.say)
        ready.vlm.on_full(progress.say)
        with locked(ready.folder, wait_s=wait_s), ready.computing():
            log = open_log(ready, resume=resume, fresh=fresh, say=progress.say)
            if not log.done():
                logs.append(log)
            with tracking(ready.config, log, progress.say) as track:
                if not logs:
                    progress.say("finished already")
                    return ready.folder
                with pulse(ready.folder, progress.status):
                    notes = _work(ready, log, progress, watch, track)
                    log.finish({"wall_s": watch.wall_s, **notes})
                if told := outcomes_told(log.table(Edited)["outcome"].to_pylist(), ready.resolved.kind):
                    progress.say(told)
                progress.say("seconds: " + ", ".join(f"{k} {v:.1f}" for k, v in watch.wall_s.items()))
    return ready.folder


def outcomes_told(outcomes: Sequence[str], kind: type[Editor]) -> str:
    """Return one line about edits that did not change the editor, '' where all did, or none is meant to.

    >>> outcomes_told(["applied", "no-op", "skipped", "no-op"], Editor)
    '3 of 4 edits changed nothing: 2 no-op, 1 skipped'
    """
    others = Counter(outcome for outcome in outcomes if outcome != APPLIED)
    if not others or kind.changes_nothing:
        return ""
    counts = ", ".join(f"{n} {outcome}" for outcome, n in others.most_common())
    few = f"{others.total()} of {len(outcomes)} edits changed nothing" if others.total() < len(outcomes) else ""
    return f"{few or f'none of {len(outcomes)} edits changed anything'}: {counts}"


@contextmanager
def _says_what_is_kept(progress: Progress) -> Iterator[list[RunLog]]:
    """Say in one line, when the body is interrupted, what is committed and how to go on.

    Yields a list for the run's log, to be put in as soon as work on it begins.
    """
    logs: list[RunLog] = []
    try:
        yield logs
    except BaseException as error:
        stop = error
        if not isinstance(error, KeyboardInterrupt | Stopped):
            if not asked_to_stop():
                raise
            stop = Stopped(asked_to_stop())  # a library made something else of it
        if logs:
            saved = logs[0].checkpoint()
            edits = 0 if saved is None else edits_made(saved)
            kept = f"{edits} of {progress.total} edits are kept in {logs[0].folder}"
            progress.say(f"stopped; {kept}. Go on with --resume.")
        else:
            progress.say("stopped before it began.")
        mark_told(stop)
        raise stop from error.__cause__


def open_log(ready: Prepared, *, resume: bool, fresh: bool, say: Callable[[str], None] = lambda _: None) -> RunLog:
    """Return the run's log, new or to go on with; `say` is told of files that are not the run's, and stay.

    Raises `LogError` for a partial run without `resume`, one of another version of this package, and a damaged one.
    """
    folder = ready.folder
    others = remove_run(folder) if fresh else strangers(folder)
    if others:
        say(
            f"{folder}: not this run's, left as they are: {', '.join(str(p.relative_to(folder)) for p in others[:9])}"
        )
    if not (folder / "manifest.json").exists():
        told = table_writer("edits", edit_rows(ready.stream))
        asked = table_writer("probes", probe_rows(ready.stream))
        files = {"edits.parquet": told, "probes.parquet": asked}
        return RunLog.create(folder, to_toml(ready.config.table()), manifest_of(ready), files)
    if resume and not (folder / "DONE").exists():
        log = RunLog.go_on(folder, say)
        for name, (before, now) in other_machine(log.manifest).items():
            say(f"begun with {name} {before}, going on with {now}: last digits may differ")
        return log
    log = RunLog.open(folder)
    if not log.done():
        raise LogError(f"{folder}: this run is not finished. Go on with --resume, or start over with --fresh.")
    return log


def other_machine(manifest: Mapping[str, Any]) -> dict[str, tuple[str, str]]:
    """Return what is not in a run's name and is otherwise now than where the run began: before and now, by name."""
    before = {**manifest.get("versions", {}), "processor": manifest.get("hardware", {}).get("cpu", "")}
    now = {**made_with.versions(), "processor": made_with.hardware()["cpu"]}
    names = sorted(before.keys() & now.keys())
    return {n: (str(before[n]), str(now[n])) for n in names if before[n] != now[n]}


def manifest_of(ready: Prepared) -> dict[str, Any]:
    """Return what the run's manifest.json holds."""
    import torch

    from lifelong.bank.search.engine_faiss import search_settings
    from lifelong.bank.search.spec import IndexSpec
    from lifelong.models.passes.size import size_of_model

    config = ready.config
    return {
        "name": ready.resolved.title,
        "label": ready.resolved.label,
        "digests": dict(ready.digests),
        "sources": dict(sources_of(config)),
        "versions": made_with.versions(),
        "hardware": made_with.hardware(),
        "threads": torch.get_num_threads(),
        "products": "oneDNN" if ready.vlm.quick_layers else "PyTorch's",
        "routing": search_settings(IndexSpec.parse(getattr(ready.resolved.options, "index", "flat"))),
        "device": str(ready.vlm.device),
        "answers": asdict(ready.vlm.form),
        "memory_bytes": ready.vlm.memory.near,
        "model_size": asdict(size_of_model(ready.vlm.model, ready.vlm.structure)),
        "scores_depend_on_time": list(time_matters(ready)),
        "seeds": {"run": config.seed, "fit": config.fit.seed},
        "git": made_with.git_state(),
        "load_average": made_with.load_average(),
    }


def sources_of(config: RunConfig) -> Iterator[tuple[str, str]]:
    """Yield the files that a stream is read from, by their key, with digests: the same ones for every seed."""
    for key, value in config.stream.options.items():
        if isinstance(value, str) and Path(value).is_file():
            yield f"stream.{key}", content_digest(Path(value))


def time_matters(ready: Prepared) -> Iterator[str]:
    """Yield what makes a run's scores at a step depend on simulated time too, as words of its configuration."""
    config, eviction = ready.config, getattr(ready.resolved.options, "eviction", "")
    if eviction in ("lru", "lfu"):  # which queries came before decides what stays
        yield f"editor.eviction={eviction}"
    if config.window_s:  # how many edits come within a window decides their batches
        yield f"window_s={config.window_s}"
    if config.workers > 1:  # edits overtake each other
        yield f"workers={config.workers}"


def _work(
    ready: Prepared, log: RunLog, progress: Progress, watch: Stopwatch, track: Callable[[], None]
) -> dict[str, float]:
    """Run to the end and return what else is noted of it: the seconds of its fit, whenever that was made.

    `track` is called after each panel.
    """
    config, stream = ready.config, ready.stream
    steps = config.steps(len(stream.edits))
    if busy := busy_machine():
        progress.say(busy)
    editor = ready.resolved.editor(ready.vlm)  # first: what is wrong with its options is said before hours of work
    try:
        # Before any fit or edit: the frozen model's answers, shared by all runs.
        with watch.on("baseline"), progress.doing("asking the frozen model"):
            on_progress = every_tenth(lambda n, of: progress.say(f"{n} of {of} queries") if n < of else None)
            baseline = baseline_of(ready, progress.say, on_progress, steps=steps)
        with watch.on("fit"):
            learnt = _learnt(ready, progress)
            if learnt is not None:
                editor.load_fitted(learnt)
        panel = panel_of(ready, editor, baseline)
        saved = log.checkpoint()
        due = due_of(ready)
        progress.total = len(stream.edits)
        progress.begin(
            0 if saved is None else edits_made(saved),
            Remaining(due, steps, config.panels.latency_growth),
        )
        with watch.on("simulate"), patient():
            show = partial(_show, progress, track)
            if not run_loop(ready, editor, panel, log, steps, saved, show, leaves=asked_to_stop):
                raise Stopped(asked_to_stop())
    finally:
        editor.close()
    known = {} if learnt is None else dict(learnt.meta)
    notes = {"fit_wall_s": float(known["fit_wall_s"])} if "fit_wall_s" in known else {}
    full = ready.vlm.times_full  # last digits follow from the rows that are computed together
    return {**notes, "times_out_of_memory": float(full)} if full else notes


def _learnt(ready: Prepared, progress: Progress) -> State | None:
    """Return what the run's editor learns beforehand, if anything, and say where it comes from."""
    if ready.fit is None:
        return None
    kept = ready.fit.places(ready.config.cache_folder() / "fit").items()
    source = next((name for name, path in kept if path.is_file()), "")
    learning = f"learning from {len(ready.fit.pool.items)} edits of the disjoint pool"
    with progress.doing(f"fit {ready.fit.digest}: {source or learning}"):
        return ready.learnt(progress.say)


def _show(progress: Progress, track: Callable[[], None], event: Mapping[str, Any]) -> None:
    if event["kind"] == "note":
        progress.note(str(event["text"]))
    elif event["kind"] == "panel":
        facts: Sequence[Fact] = event["facts"]
        progress.panel(int(event["step"]), facts, event["committed"])
        broken = sum(int(f.value) for f in facts if isinstance(f, Gauged) and f.name == "answers_not_finite")
        if broken:
            progress.say(f"{broken} answers since the last panel are not finite")
        track()
    else:
        progress.at(int(event["step"]), float(event["wall_s"]))


class Stopwatch:
    """Measured seconds by part of a run."""

    def __init__(self) -> None:
        self.wall_s: dict[str, float] = {}

    @contextmanager
    def on(self, part: str) -> Iterator[None]:
        """Add the body's seconds to a part."""
        start = time.perf_counter()
        try:
            yield
        finally:
            self.wall_s[part] = round(self.wall_s.get(part, 0.0) + time.perf_counter() - start, 3)


@contextmanager
def locked(folder: Path, *, wait_s: float = 0.0) -> Iterator[None]:
    """Hold a run folder for this process; raises `LogError` when another one still runs in it after `wait_s`."""
    until = time.monotonic() + wait_s
    with ExitStack() as stack:
        there = next(path for path in folder.parents if path.exists())
        if not there.is_dir():
            raise LogError(f"{there}: expected a folder, this is a file or a device. Try out=FOLDER.")
        while True:
            attempt = ExitStack()
            try:
                ours = attempt.enter_context(held(folder.parent / f".{folder.name}.lock"))
            except OSError as error:
                where = error.filename or folder
                raise LogError(f"{where}: cannot be written ({error.strerror}). Try out=FOLDER.") from error
            if ours:
                stack.push(attempt)
                break
            attempt.close()
            if time.monotonic() >= until:
                raise LogError(f"{folder}: another process is running this run now.")
            time.sleep(0.2)
        yield
