"""A run made ready: its configuration resolved, its parts loaded, its folder found; nothing is learnt or asked."""

from __future__ import annotations

import hashlib
import re
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from lifelong.editing.contract import Editor, EditorOptions
from lifelong.editing.find import editor_class
from lifelong.editing.fits import Fit
from lifelong.log.checkpoint import State
from lifelong.running.arrivals import arrivals_of, check_arrivals
from lifelong.running.config import NamedPart, RunConfig, hash8, load_config
from lifelong.running.labels import label_of
from lifelong.running.parts import load_model, make_clock, make_stream, options_of
from lifelong.running.threads import settle_threads
from lifelong.running.words import ConfigError
from streams.stream import StreamError

if TYPE_CHECKING:
    from lifelong.log.checkpoint import State
    from lifelong.models.vlm import VLM
    from lifelong.probing.baseline import Baseline
    from lifelong.probing.panel import Panel
    from lifelong.simulation.roles import LogLike
    from streams.stream import Stream

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
        """The name of the run's folder without its hash: the label with dashes, and the stream.

        There is no `=` in it, so that a path into the folder is never taken for a key=value word.
        """
        return self.config.title(re.sub(r"[^\w.]+", "-", self.label))

    def editor(self, vlm: VLM) -> Editor:
        """Return a new editor on a model, seeded by the run, which has learnt nothing."""
        return self.kind(vlm, self.options, seed=self.config.seed)


def resolve(source: str | RunConfig | None = None, changes: Mapping[str, Any] | None = None) -> Resolved:
    """Return a recipe, a file or a configuration checked, with its editor found.

    Raises `ConfigError`, `UnknownEditorError` and the parts' own errors: one line each, with near names.
    """
    config = source if isinstance(source, RunConfig) else load_config(source, changes)
    if isinstance(source, RunConfig) and changes:
        raise ConfigError("changes go with a recipe or a file, not with a finished RunConfig.")
    kind = editor_class(config.editor.name)
    options = options_of(kind, config.editor.options)
    make_clock(config)
    check_arrivals(config)
    part = NamedPart(name=config.editor.name, options=options.model_dump(mode="json"))
    return Resolved(config.model_copy(update={"editor": part}), kind, options, label_of(part.name, options))


@dataclass(frozen=True)
class Prepared:
    """A run that could start: what was resolved, its parts, their digests and its folder."""

    resolved: Resolved
    vlm: VLM
    stream: Stream
    fit: Fit | None
    digests: Mapping[str, str]
    folder: Path

    @property
    def config(self) -> RunConfig:
        """The run's configuration."""
        return self.resolved.config

    def learnt(self) -> State | None:
        """Return what the editor learns beforehand, if anything; it is learnt now where it is kept nowhere."""
        return None if self.fit is None else self.fit.state(self.vlm, self.config.cache_folder() / "fit")[0]

    def editor(self) -> Editor:
        """Return a new editor with what it learnt beforehand."""
        editor = self.resolved.editor(self.vlm)
        learnt = self.learnt()
        if learnt is not None:
            editor.load_fitted(learnt)
        return editor

    def settle_threads(self, say: Callable[[str], None] = lambda _: None) -> None:
        """Choose the number of threads where the run does not say it; called once, before its work begins."""
        if not self.config.threads:
            edits = self.stream.edits[:THREAD_EDITS]
            probes = [probe for edit in edits for probe in self.stream.probes(edit.id)]
            settle_threads(self.vlm, probes, say)


def prepare(resolved: Resolved) -> Prepared:
    """Load model and stream and find the run's folder; nothing is learnt, measured or written."""
    import torch

    config = resolved.config
    stream = make_stream(config)
    vlm = load_model(config)
    if config.threads:
        torch.set_num_threads(config.threads)
    fit = _fit_of(resolved, stream, vlm) if resolved.kind.trains else None
    digests = {"model": vlm.digest, "stream": stream.digest} | ({"fit": fit.digest} if fit else {})
    if config.editor.name.endswith(".py"):  # a changed file is another editor, not a finished run
        digests["editor"] = hashlib.sha256(Path(config.editor.name).read_bytes()).hexdigest()[:16]
    folder = Path(config.out) / f"{resolved.title}-{hash8(config, digests)}"
    return Prepared(resolved, vlm, stream, fit, digests, folder)


def _fit_of(resolved: Resolved, stream: Stream, vlm: VLM) -> Fit | None:
    """Return the fit of a run on the pool of its stream.

    Where the stream has none: None for an editor that needs none, else a fit on the pool of the default stream, which
    ships or was learnt earlier. Raises `ConfigError` where there is no such fit.
    """
    config, kind, options = resolved.config, resolved.kind, resolved.options
    name, asked = (
        config.editor.name,
        getattr(options, "pool", config.fit.edits),
    )  # an editor may say how much it needs
    try:
        return Fit.of(kind, name, options, vlm, stream.pool(asked, config.fit.seed))
    except StreamError as error:
        wanted = kind.pool_wanted(options)
        if not wanted:
            return None
        usual = make_stream(RunConfig(edits=1))
        fit = Fit.of(kind, name, options, vlm, usual.pool(asked, config.fit.seed))
        if any(path.is_file() for path in fit.places(config.cache_folder() / "fit").values()):
            return fit
        raise ConfigError(
            f"stream={config.stream.name} has nothing to fit an editor on ({str(error).rstrip('.')}), but "
            f"editor={name} {wanted}, and no fit of these options and this model lies here. Mark some records of the "
            f'file "split": "fit".{_ships_for(fit)}'
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
    from lifelong.probing.baseline import Baseline, answer_tokens
    from lifelong.probing.due import ever_asked

    stream, config = ready.stream, ready.config
    probes = stream.every_probe()
    limit = answer_tokens(ready.vlm, {p.target for p in probes})
    other = config.workers > 1 or config.batch > 1 or config.withdrawals or config.queries or config.panels.gaps
    kind, options = ready.resolved.kind, ready.resolved.options
    if steps is not None and kind.turn_of(options) == 1 and not other:
        probes = ever_asked(stream, config.panels, steps, routed=kind.routed_by(options))
    say(f"{len(stream.edits)} edits, {len(probes)} probes; asking the frozen model")
    folder = config.cache_folder() / "baseline"
    return Baseline.prepare(ready.vlm, probes, folder, max_tokens=limit, on_progress=on_progress)


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
) -> None:
    """Run the event loop from its beginning or a checkpoint, with full panels at `steps` and at the stream's end."""
    from lifelong.simulation.loop import SimulationSettings, simulate
    from lifelong.simulation.queries import Desk
    from streams.types import Posed

    config = ready.config
    arrivals = arrivals_of(config, ready.stream)
    posed = (a.item.probe.query for a in arrivals if isinstance(a.item, Posed))
    simulate(
        arrivals,
        editor,
        panel,
        make_clock(config),
        SimulationSettings(
            tuple(steps), config.workers, policy=config.policy, batch=config.batch, window_s=config.window_s
        ),
        log,
        saved,
        desk=Desk(ready.vlm, editor, panel.baseline, posed),
        on_event=on_event,
    )
