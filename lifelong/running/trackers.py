"""Trackers: every panel's numbers in the files of TensorBoard, MLflow and Weights & Biases, while a run goes on.

The one file that knows these libraries; each is imported where a run asks for it. What a tracker lacks is read from
the run's log, so that it has every committed panel once, however often the run was stopped. Knows run logs and the
numbers of panels; nothing of editors and models. Nothing leaves the machine, and no tracker can cost a run its facts.
"""

from __future__ import annotations

import json
import os
import shutil
import time
from collections.abc import Callable, Collection, Iterator, Mapping
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from importlib import import_module
from importlib.util import find_spec
from pathlib import Path
from typing import Any, Literal, Protocol

from lifelong.log import RunLog
from lifelong.log.files import held
from lifelong.running.changes import flat_changes
from lifelong.running.config import RunConfig
from lifelong.running.panel_numbers import EDITS_MADE, holds_panel, numbers_of, step_of
from lifelong.running.signals import Stopped, asked_to_stop, stop_if_asked
from lifelong.running.wandb_file import wandb_rows
from lifelong.running.words import ConfigError

Ending = Literal["FINISHED", "KILLED", "FAILED"]
_LONGEST = 500  # characters of a setting; MLflow takes 6,000
_WRITTEN_S = 5.0  # for W&B to write the last panel: milliseconds
_DESCRIBED = ("_hparams_/session_start_info", 0)  # what TensorBoard has of a run whose settings are written


@dataclass(frozen=True)
class Tracked:
    """What a tracker is told of a run: its name, the folder of its runs, what made it, and where files may lie."""

    name: str
    group: str
    settings: Mapping[str, str | int | float | bool]  # the configuration by dotted key
    made_of: Mapping[str, str]  # label, versions, digests
    folder: Path  # the tracker's own, shared by all runs of `out`


class Tracker(Protocol):
    """One library's way to keep the numbers of a run by step; made with what it is told of the run."""

    def kept(self, *, anew: bool) -> Collection[tuple[str, int]]:
        """Return (name, step) of all numbers that are kept of the run; `anew`: drop them, as it begins again."""
        ...

    def panel(self, step: int, numbers: Mapping[str, float]) -> None:
        """Keep the numbers of one panel in the order given, so that another process can read them soon."""
        ...

    def end(self, how: Ending) -> None:
        """Close what `panel` has opened, if anything, with a word on how the run ended."""
        ...


def check_trackers(config: RunConfig) -> None:
    """Raise `ConfigError` for a tracker that is not installed; nothing is imported."""
    for name in config.trackers:
        found = find_spec(name)
        if found is None or found.origin is None:  # a mere folder of this name: W&B leaves one where it was used
            raise ConfigError(
                f'trackers={name}: not installed. pip install "lifelong-edit[trackers]", or leave it out.'
            )


@contextmanager
def tracking(config: RunConfig, log: RunLog, say: Callable[[str], None]) -> Iterator[Callable[[], None]]:
    """Keep a run's trackers in step with its log in the body; yields what is to be called after each panel.

    At the beginning they get the committed panels that they lack. What goes wrong in one is said in one line, and the
    run goes on without it.
    """
    work = _Trackers(config, log, say)
    how: Ending = "FAILED"
    try:
        work.begin()
        yield work.catch_up
        how = "FINISHED"
    except BaseException as error:
        how = "KILLED" if asked_to_stop() or isinstance(error, KeyboardInterrupt | Stopped) else "FAILED"
        raise
    finally:
        work.end(how)


class _Trackers:
    """All trackers of one run, what each has kept already, and which of them failed."""

    def __init__(self, config: RunConfig, log: RunLog, say: Callable[[str], None]) -> None:
        self._log, self._say = log, say
        folder = config.tracker_folder()
        self._all = {name: _KINDS[name](tracked(config, log, folder / name)) for name in config.trackers}
        self._kept: dict[str, Collection[tuple[str, int]]] = {}  # of those that work
        self._told = 0  # commits

    def begin(self) -> None:
        anew = self._log.last_panel() < 0  # what lies there under this name is of a run that is gone
        for name, tracker in self._all.items():
            with self._without_it(name):
                self._kept[name] = tracker.kept(anew=anew)
        self.catch_up()

    def catch_up(self) -> None:
        """Tell the trackers that work the committed panels that they lack."""
        while self._kept and self._told <= self._log.last_panel():
            numbers: dict[str, float] = {}
            for name in list(self._kept) if holds_panel(self._log, self._told) else ():
                with self._without_it(name):
                    step, kept = step_of(self._log, self._told), self._kept[name]
                    if (EDITS_MADE, step) in kept:
                        continue
                    numbers = numbers or numbers_of(self._log, self._told)[1]
                    self._all[name].panel(step, {n: v for n, v in numbers.items() if (n, step) not in kept})
            self._told += 1

    def end(self, how: Ending) -> None:
        for name, tracker in self._all.items():
            if name in self._kept:
                with self._without_it(name, ending=True):
                    tracker.end(how)
            else:
                with suppress(Exception):  # it has failed, which was said
                    tracker.end("FAILED")

    @contextmanager
    def _without_it(self, name: str, *, ending: bool = False) -> Iterator[None]:
        try:
            yield
        except Exception as error:
            if not ending:
                stop_if_asked()  # a library can make something else of the exception that a signal raises
            self._kept.pop(name, None)
            said = " ".join(f"{type(error).__name__}: {error}".split())[:300].rstrip(":.")
            self._say(f"trackers={name}: {said}. The run goes on without it.")


def tracked(config: RunConfig, log: RunLog, folder: Path) -> Tracked:
    """Return what a tracker is told of a run."""
    settings = {k: _plain(v) for k, v in flat_changes(config.table()).items() if v is not None}
    made = {"label": log.manifest.get("label", "")}
    for kind, key in (("version", "versions"), ("digest", "digests")):
        made |= {f"{kind}.{name}": value for name, value in dict(log.manifest.get(key, {})).items()}
    group = Path(config.out).name or "runs"
    return Tracked(log.name, group, settings, {k: str(v)[:_LONGEST] for k, v in made.items()}, folder)


def _plain(value: Any) -> str | int | float | bool:
    if isinstance(value, bool | int | float):
        return value
    text = value if isinstance(value, str) else json.dumps(value, default=str)
    return text if len(text) <= _LONGEST else f"{text[: _LONGEST - 4]} ..."


@contextmanager
def _environment(**values: str) -> Iterator[None]:
    """Set variables that a library has no other switch for, and put back what was there."""
    before = {name: os.environ.get(name) for name in values}
    os.environ.update(values)
    try:
        yield
    finally:
        for name, value in before.items():
            if value is None:
                os.environ.pop(name, None)
            else:
                os.environ[name] = value


class _TensorBoard:
    """Event files in `tensorboard/<run>`: `tensorboard --logdir OUT/trackers/tensorboard` shows all runs of OUT."""

    def __init__(self, run: Tracked) -> None:
        self._run, self._folder = run, run.folder / run.name
        self._writer: Any = None
        self._described = False

    def kept(self, *, anew: bool) -> Collection[tuple[str, int]]:
        loader = import_module("tensorboard.backend.event_processing.event_file_loader")
        files = list(self._folder.glob("events.out.tfevents.*"))
        if anew:
            for path in files:
                path.unlink()
            return ()
        events = (event for path in files for event in loader.EventFileLoader(str(path)).Load())
        kept = {(value.tag, event.step) for event in events for value in event.summary.value}
        self._described = _DESCRIBED in kept
        return kept

    def panel(self, step: int, numbers: Mapping[str, float]) -> None:
        if self._writer is None:
            self._open()
        summary = import_module("tensorboard.compat.proto.summary_pb2").Summary
        values = [summary.Value(tag=name, simple_value=value) for name, value in numbers.items()]
        self._write(step=step, summary=summary(value=values))

    def _open(self) -> None:
        # Written in this thread, unlike by the writers of the library, so that what goes wrong is known at once.
        self._folder.mkdir(parents=True, exist_ok=True)
        path = self._folder / f"events.out.tfevents.{time.time_ns() / 1e9:017.6f}.{os.getpid()}"
        self._writer = import_module("tensorboard.summary.writer.record_writer").RecordWriter(path.open("xb"))
        self._write(file_version="brain.Event:2")
        if not self._described:
            hparams = import_module("tensorboard.plugins.hparams.summary_v2")
            self._write(summary=hparams.hparams_pb({**self._run.settings, **self._run.made_of}))

    def _write(self, **content: Any) -> None:
        event = import_module("tensorboard.compat.proto.event_pb2").Event(wall_time=time.time(), **content)
        self._writer.write(event.SerializeToString())
        self._writer.flush()

    def end(self, how: Ending) -> None:
        if self._writer is not None:
            self._writer.close()


class _MLflow:
    """A file store in `mlflow`, an experiment for the folder of runs; a run ends as FINISHED, KILLED or FAILED."""

    def __init__(self, run: Tracked) -> None:
        self._run = run
        self._client: Any = None
        self._experiment = self._id = ""
        self._open = False

    def kept(self, *, anew: bool) -> Collection[tuple[str, int]]:
        run = self._run
        run.folder.parent.mkdir(parents=True, exist_ok=True)
        with _environment(MLFLOW_ALLOW_FILE_STORE="true", MLFLOW_DISABLE_TELEMETRY="true"):
            client = self._client = import_module("mlflow").MlflowClient(tracking_uri=run.folder.as_uri())
            with held(run.folder.parent / ".mlflow.lock", wait=True):  # of a sweep's processes, one makes it
                known = client.get_experiment_by_name(run.group)
                self._experiment = known.experiment_id if known else client.create_experiment(run.group)
        mine = [found for found in self._runs() if found.info.run_name == run.name]
        if anew:
            for found in mine:
                client.delete_run(found.info.run_id)
        elif mine:
            self._id = mine[0].info.run_id
            histories = (client.get_metric_history(self._id, name) for name in mine[0].data.metrics)
            return {(metric.key, metric.step) for history in histories for metric in history}
        return ()

    def _runs(self) -> Iterator[Any]:
        token: str | None = None
        while True:
            page = self._client.search_runs([self._experiment], page_token=token)
            yield from page
            if not (token := page.token):
                return

    def panel(self, step: int, numbers: Mapping[str, float]) -> None:
        entities, now = import_module("mlflow.entities"), int(time.time() * 1000)
        again, self._open = bool(self._id) and not self._open, True
        if again:
            self._client.update_run(self._id, status="RUNNING")
        if not self._id:
            self._id = self._client.create_run(self._experiment, run_name=self._run.name).info.run_id
            params = [entities.Param(key, str(value)) for key, value in self._run.settings.items()]
            for start in range(0, len(params), 100):  # at most so many at once
                self._client.log_batch(self._id, params=params[start : start + 100])
            tags = [entities.RunTag(key, value) for key, value in self._run.made_of.items()]
            self._client.log_batch(self._id, tags=tags)
        metrics = [entities.Metric(name, value, now, step) for name, value in numbers.items()]
        self._client.log_batch(self._id, metrics=metrics)

    def end(self, how: Ending) -> None:
        # One that was stopped when all panels were told is ended again, and one that had ended so is left alone.
        if self._id and (self._open or self._client.get_run(self._id).info.status != how):
            self._client.set_terminated(self._id, how)


class _WandB:
    """Offline runs in `wandb/<run>/wandb`: `wandb sync` of such a folder sends it, when and where its owner says.

    A run that was gone on with has a folder for each time, with one id: W&B makes one run of them.
    """

    def __init__(self, run: Tracked) -> None:
        self._run, self._home = run, run.folder / run.name
        self._id: str | None = None
        self._live: Any = None
        self._last = 0

    def kept(self, *, anew: bool) -> Collection[tuple[str, int]]:
        files = sorted((self._home / "wandb").glob("offline-run-*/run-*.wandb"))
        if anew:
            for path in files:
                shutil.rmtree(path.parent)
            return ()
        self._id = files[0].stem.removeprefix("run-") if files else None
        return {(name, int(row["_step"])) for path in files for row in wandb_rows(path) for name in row}

    def panel(self, step: int, numbers: Mapping[str, float]) -> None:
        if self._live is None:
            self._live = self._begun()
        self._live.log(dict(numbers), step=step, commit=True)
        self._last = step

    def _begun(self) -> Any:
        self._home.mkdir(parents=True, exist_ok=True)
        with _environment(WANDB_ERROR_REPORTING="false"):  # read when its helper process starts
            wandb = import_module("wandb")
            own = wandb.Settings(
                root_dir=str(self._home), reinit="create_new", console="off", silent=True, save_code=False,
                disable_git=True, disable_code=True, symlink=False, x_disable_stats=True, x_disable_meta=True,
                x_disable_machine_info=True, x_save_requirements=False, x_transaction_log_flush_interval=1.0,
            )  # fmt: skip
            settings = {**self._run.settings, **self._run.made_of}
            project, name = self._run.group, self._run.name
            return wandb.init(
                mode="offline", project=project, name=name, id=self._id, resume="allow", config=settings, settings=own
            )

    def end(self, how: Ending) -> None:
        if self._live is None:
            return
        self._live.finish(exit_code=0 if how == "FINISHED" else 1)
        path, until = Path(self._live.settings.sync_file), time.monotonic() + _WRITTEN_S
        while time.monotonic() < until:  # its helper process writes after `finish` has returned
            if any(row["_step"] == self._last for row in wandb_rows(path)):
                return
            time.sleep(0.01)


_KINDS: Mapping[str, Callable[[Tracked], Tracker]] = {"tensorboard": _TensorBoard, "mlflow": _MLflow, "wandb": _WandB}
