"""A run made ready: its configuration resolved, its parts loaded, its folder found; nothing is learnt or asked."""

from __future__ import annotations

import tempfile
from collections.abc import Callable, Mapping, Sequence
from contextlib import AbstractContextManager
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from lifelong.editing.contract import Editor, EditorOptions
from lifelong.editing.find import editor_class
from lifelong.editing.fits import Fit
from lifelong.log.checkpoint import State
from lifelong.log.files import content_digest
from lifelong.log.hive import run_place
from lifelong.probing.limits import AnswerLimit, answer_limit, check_askable
from lifelong.running.arrivals import arrivals_of, check_amounts, check_arrivals
from lifelong.running.changes import flat_changes, has_class, with_editor_files
from lifelong.running.config import (
    MOST_POOL,
    NamedPart,
    RunConfig,
    find_table,
    from_table,
    hash8,
    load_config,
    settled_config,
)
from lifelong.running.contents import contents_of
from lifelong.running.labels import label_of
from lifelong.running.own_editor import checked_editor
from lifelong.running.parts import dtype_of_model, load_model, make_clock, make_pool, make_stream
from lifelong.running.settings import settled_part
from lifelong.running.threads import arithmetic_of, computing_with, threads_for
from lifelong.running.words import ConfigError
from streams.stream import StreamError

if TYPE_CHECKING:
    from lifelong.log.checkpoint import State
    from lifelong.models.vlm import VLM
    from lifelong.probing.baseline import Baseline
    from lifelong.probing.due import DueProbes
    from lifelong.probing.panel import Panel
    from lifelong.simulation.roles import LogLike
    from streams.stream import Stream

UNNAMED = "not-named-yet"
THREAD_EDITS = 8  # edits whose probes are the batch that threads are measured on


@dataclass(frozen=True)
class Resolved:
    """A checked configuration, all of the editor's options spelt out, with the editor's class and the run's label."""

    config: RunConfig
    kind: type[Editor]
    options: EditorOptions
    label: str

    @property
    def title(self) -> str:
        """The name of the run's folder without its hash: the run's own name, or the label and the stream."""
        return self.config.title(self.label)

    def editor(self, vlm: VLM) -> Editor:
        """Return a new editor on a model, seeded by the run, which has learnt nothing."""
        return checked_editor(self.kind(vlm, self.options, seed=self.config.seed), self.config.editor.name)


def resolve(source: str | RunConfig | None = None, changes: Mapping[str, Any] | None = None) -> Resolved:
    """Return a recipe, a file or a configuration checked, with its editor found.

    `changes` may be nested dictionaries, and an editor among them a class. Raises `ConfigError`,
    `UnknownEditorError` and the parts' own errors: one line each, with near names.
    """
    if not isinstance(source, RunConfig):
        changes = plain_changes(source, changes or {})
    if isinstance(source, RunConfig) and changes:
        raise ConfigError("changes go with a recipe or a file, not with a finished RunConfig.")
    config = settled_config(source) if isinstance(source, RunConfig) else load_config(source, changes)
    kind = editor_class(config.editor.name)
    settled = settled_part(kind, config.editor, config.model.name)
    options = settled.options
    dtype = dtype_of_model(config)
    check_options_written(options)
    make_clock(config)
    check_arrivals(config)
    part = NamedPart(name=config.editor.name, options=options.model_dump(mode="json"))
    config = config.model_copy(update={"editor": part, "label": config.label or settled.label, "dtype": dtype})
    return Resolved(config, kind, options, config.label or label_of(part.name, options))


def check_options_written(options: EditorOptions) -> None:
    """Raise `ConfigError` for an option that config.toml cannot hold: None, where leaving it out means a default."""
    for key, field in type(options).model_fields.items():
        if getattr(options, key) is None and field.get_default(call_default_factory=True) is not None:
            raise ConfigError(f"editor.{key}: None cannot be written into a run's config.toml; give a value.")


def plain_changes(source: str | None, changes: Mapping[str, Any]) -> dict[str, Any]:
    """Return changes as words would give them: by dotted key, and editors that are classes as files of the cache.

    Raises `ConfigError` for a class that cannot be written to a file.
    """
    if has_class(changes := flat_changes(changes)):
        here = {key: value for key, value in changes.items() if key in ("out", "cache")}
        table = find_table(source) if source else {}
        where = from_table({k: v for k, v in table.get("run", table).items() if k in ("out", "cache")}, here)
        changes = with_editor_files(changes, where.cache_folder())
    return flat_changes(changes)


@dataclass(frozen=True)
class Prepared:
    """A run that could start: what was resolved, its parts, their digests and its folder."""

    resolved: Resolved
    vlm: VLM
    stream: Stream
    limit: AnswerLimit
    fit: Fit | None
    digests: Mapping[str, str]
    folder: Path

    @property
    def config(self) -> RunConfig:
        """The run's configuration."""
        return self.resolved.config

    def learnt(self, say: Callable[[str], None] = lambda _: None) -> State | None:
        """Return what the editor learns beforehand, if anything; it is learnt now where it is kept nowhere."""
        return None if self.fit is None else self.fit.state(self.vlm, self.config.cache_folder() / "fit", say)[0]

    def editor(self) -> Editor:
        """Return a new editor with what it learnt beforehand."""
        editor = self.resolved.editor(self.vlm)
        learnt = self.learnt()
        if learnt is not None:
            editor.load_fitted(learnt)
        return editor

    def computing(self) -> AbstractContextManager[None]:
        """Return a context with the run's threads: whatever asks its model or its editor does so inside."""
        return computing_with(self.config.threads)


class Loaded:
    """The model and the stream that were loaded last: configurations that share them load and check them once."""

    def __init__(self) -> None:
        self._kept: dict[str, tuple[object, Any]] = {}

    def model(self, config: RunConfig, *, empty: bool = False) -> VLM:
        """Return a configuration's model, without its weights where `empty`; raises what `load_model` raises."""
        return self._same("model", f"{model_key(config)} {empty}", lambda: load_model(config, empty=empty))

    def stream(self, config: RunConfig) -> Stream:
        """Return a configuration's stream; raises what `make_stream` raises."""
        return self._same("stream", stream_key(config), lambda: make_stream(config))

    def limit(self, config: RunConfig, *, empty: bool = False) -> AnswerLimit:
        """Return how long the answers to a configuration's stream may be; raises where its model cannot be asked."""

        def checked() -> AnswerLimit:
            vlm, asked = self.model(config, empty=empty), self.stream(config).every_probe()
            check_askable(vlm, asked, pictures=False)
            return answer_limit(vlm, asked)

        return self._same("limit", f"{model_key(config)} {empty} {stream_key(config)}", checked)

    def _same(self, what: str, key: str, make: Callable[[], Any]) -> Any:
        if self._kept.get(what, (None,))[0] != key:
            self._kept.pop(what, None)  # before the next one comes into memory
            self._kept[what] = (key, make())
        return self._kept[what][1]


def model_key(config: RunConfig) -> str:
    """Return what decides which model a configuration loads, as text."""
    return repr((config.model, config.dtype, config.device, config.cache_bytes, config.memory_bytes))


def stream_key(config: RunConfig) -> str:
    """Return what decides which stream a configuration has, as text."""
    return repr((config.stream, config.edits, config.seed))


def prepare(
    resolved: Resolved,
    say: Callable[[str], None] = lambda _: None,
    loaded: Loaded | None = None,
    *,
    empty: bool = False,
) -> Prepared:
    """Load model and stream and find the run's folder; nothing is learnt.

    What the stream's data should be known for (records left out or joined) is said as soon as it is loaded.

    The number of threads is spelt out afterwards: where the configuration leaves it open it is taken from the cache,
    or measured and kept there, which `say` is told. `loaded` keeps model and stream for a next configuration that
    shares them. With `empty` no weights are read of a model that does not ship (`load_model`); where the number of
    threads would be measured, the folder is then not named yet: it ends in `UNNAMED`.
    """
    loaded = loaded or Loaded()
    stream = loaded.stream(resolved.config)
    check_amounts(resolved.config, len(stream.edits))
    for note in stream.notes:
        say(note)
    vlm = loaded.model(resolved.config, empty=empty)
    limit = loaded.limit(resolved.config, empty=empty)
    vlm.lines = limit.lines
    if not resolved.config.threads:
        check_folders(resolved.config)
        probes = [probe for edit in stream.edits[:THREAD_EDITS] for probe in stream.probes(edit.id)]
        threads = threads_for(vlm, probes, resolved.config.cache_folder() / "threads", say)
        resolved = replace(resolved, config=resolved.config.model_copy(update={"threads": threads}))
    config = resolved.config
    fit = _fit_of(resolved, stream, vlm) if resolved.kind.trains else None
    digests = {"model": vlm.digest, "stream": stream.digest} | ({"fit": fit.digest} if fit else {})
    digests |= contents_of(config, resolved.options)
    if config.editor.name.endswith(".py"):  # a changed file is another editor, not a finished run
        digests["editor"] = content_digest(Path(config.editor.name))
    digests["arithmetic"] = arithmetic_of(vlm)
    named = hash8(config, digests) if config.threads else UNNAMED
    if named == UNNAMED:
        say(f"threads are measured when the run begins, and its folder is named then ({UNNAMED}); or say threads=N")
    folder = run_place(Path(config.out), config.table(), f"{resolved.title}-{named}")
    return Prepared(resolved, vlm, stream, limit, fit, digests, folder)


def check_folders(config: RunConfig) -> None:
    """Raise `ConfigError` unless a run's `out` and `cache` can be written; called before anything is."""
    _check_writable("out", Path(config.out))
    _check_writable("cache", config.cache_folder())


def _check_writable(key: str, folder: Path) -> None:
    """Raise `ConfigError` unless a folder, or the nearest one above it that is there, can be written.

    A temporary folder is made and removed there: permissions alone do not tell.
    """
    there = next(path for path in (folder, *folder.parents) if path.exists())
    try:
        with tempfile.TemporaryDirectory(prefix=".lifelong-", dir=there):
            pass
    except OSError as error:
        reason = "it is no folder" if not there.is_dir() else error.strerror
        above = f" ({there}: {reason})" if there != folder else f" ({reason})"
        raise ConfigError(f"{key}={folder}: cannot be written{above}. Give another {key}=FOLDER.") from error


def _fit_of(resolved: Resolved, stream: Stream, vlm: VLM) -> Fit | None:
    """Return the fit of a run on the pool of its stream.

    Where the stream has none: None for an editor that needs none, else a fit on the pool of the default stream, which
    ships or was learnt earlier. Raises `ConfigError` where there is no such fit.
    """
    config, kind, options = resolved.config, resolved.kind, resolved.options
    name = config.editor.name
    asked = getattr(options, "pool", config.fit.edits)  # an editor may say how much it needs
    if asked > MOST_POOL:
        raise ConfigError(f"editor.pool={asked}: at most {MOST_POOL} edits to learn from.")
    try:
        return Fit.of(kind, name, options, vlm, make_pool(config, asked, stream))
    except StreamError as error:
        wanted = kind.pool_wanted(options)
        if not wanted:
            return None
        if config.fit.stream is not None or error.reading.problems:
            raise
        usual = make_stream(RunConfig(edits=1))
        fit = Fit.of(kind, name, options, vlm, usual.pool(asked, config.fit.seed))
        if any(path.is_file() for path in fit.places(config.cache_folder() / "fit").values()):
            return fit
        raise ConfigError(
            f"stream={config.stream.name} has nothing to fit an editor on ({str(error).rstrip('.')}), but "
            f"editor={name} {wanted}, and no fit of these options and this model lies here. Say fit.stream=NAME to "
            f"learn from another stream's pool, such as fit.stream=atlas.{_ships_for(fit)}"
        ) from error


def _ships_for(fit: Fit) -> str:
    """Return a sentence about the fit that ships for an editor, '' where none does."""
    folder = fit.places(Path())["shipped"].parent
    return " What ships is for model=atlas and the default options." if folder.is_dir() else ""


def baseline_of(
    ready: Prepared,
    say: Callable[[str], None],
    on_progress: Callable[[int, int], None] | None = None,
    *,
    steps: Sequence[int] | None = None,
) -> Baseline:
    """Return the frozen model's answers to a run's probes, from the cache as far as they are there.

    With the `steps` of all panels, and where edits become visible one by one in the order of the stream, only probes
    that will be asked are answered.
    """
    from lifelong.probing.baseline import Baseline
    from lifelong.probing.due import ever_asked

    stream, config = ready.stream, ready.config
    probes = stream.every_probe()
    other = config.workers > 1 or config.batch > 1 or config.withdrawals or config.queries or config.panels.gaps
    other = other or config.restore_every
    kind, options = ready.resolved.kind, ready.resolved.options
    if steps is not None and kind.turn_of(options) == 1 and not other:
        probes = ever_asked(stream, config.panels, steps, routed=kind.routed_by(options))
    say(f"{len(stream.edits)} edits, {len(probes)} probes")
    folder = config.cache_folder() / "baseline"
    found = Baseline.prepare(
        ready.vlm, probes, folder, max_tokens=ready.limit.tokens, on_progress=on_progress, say=say
    )
    if found.from_cache == len(found):
        say(f"the frozen model's answers to all {len(found)} queries are in the cache")
    else:
        kept = f" ({found.from_cache} from the cache)" if found.from_cache else ""
        say(f"asked the frozen model {len(found)} queries{kept}")
    return found


def due_of(ready: Prepared) -> DueProbes:
    """Return how many probes a run asks at each step, called where its time is foreseen."""
    from lifelong.probing.due import DueProbes

    kind, options, config = ready.resolved.kind, ready.resolved.options, ready.config
    return DueProbes(ready.stream, config.panels, routed=kind.routed_by(options), chunk=config.restore_every or 0)


def panel_of(ready: Prepared, editor: Editor, baseline: Baseline) -> Panel:
    """Return a new panel over an editor, set as the run's configuration says."""
    from lifelong.probing.panel import Panel

    config, stream = ready.config, ready.stream
    kinds = {edit.id: edit.prompt_kind for edit in stream.edits}
    return Panel(
        ready.vlm,
        editor,
        stream.probes,
        stream.general,
        config.panels,
        baseline,
        config.seed,
        kind_of=lambda i: kinds.get(i, ""),
        order=[edit.id for edit in stream.edits],
    )


def run_loop(
    ready: Prepared,
    editor: Editor,
    panel: Panel,
    log: LogLike,
    steps: Sequence[int],
    saved: State | None,
    on_event: Callable[[Mapping[str, Any]], None],
    leaves: Callable[[], object] = lambda: False,
) -> bool:
    """Run the event loop from its beginning or a checkpoint, with full panels at `steps` and at the stream's end.

    Returns whether it came to the stream's end: not where `leaves` (asked after every edit) made it end before.
    """
    from lifelong.simulation.loop import SimulationSettings, simulate
    from lifelong.simulation.queries import Desk
    from streams.types import Posed

    config = ready.config
    arrivals = arrivals_of(config, ready.stream)
    posed = (a.item.probe.query for a in arrivals if isinstance(a.item, Posed))
    return simulate(
        arrivals,
        editor,
        panel,
        make_clock(config),
        SimulationSettings(
            tuple(steps),
            config.workers,
            policy=config.policy,
            batch=config.batch,
            window_s=config.window_s,
            restore_every=config.restore_every or 0,
        ),  # fmt: skip
        log,
        saved,
        desk=Desk(ready.vlm, editor, panel.baseline, posed),
        knowledge_of=lambda edit: panel.baseline.knowledge_of(edit.query, ready.stream.truths(edit.id)),
        on_event=on_event,
        leaves=leaves,
    )
