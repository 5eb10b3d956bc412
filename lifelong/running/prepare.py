"""A run made ready: its configuration resolved, its parts loaded, its folder found; nothing is learnt or asked."""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from lifelong.editing.contract import Editor
from lifelong.editing.find import editor_class
from lifelong.editing.fits import Fit
from lifelong.log.checkpoint import State
from lifelong.running.arrivals import arrivals_of, check_arrivals
from lifelong.running.config import Part, RunConfig, hash8, load_config
from lifelong.running.labels import run_title
from lifelong.running.parts import editor_options, load_model, load_stream, make_clock, make_editor
from lifelong.running.words import ConfigError

if TYPE_CHECKING:
    from lifelong.log.checkpoint import State
    from lifelong.models.vlm import VLM
    from lifelong.probing.baseline import Baseline
    from lifelong.probing.panel import Panel
    from lifelong.simulation.roles import LogLike
    from streams.stream import Stream


@dataclass(frozen=True)
class Prepared:
    """A run that could start: its resolved configuration, its parts, their digests and its folder."""

    config: RunConfig
    vlm: VLM
    stream: Stream
    fit: Fit | None
    digests: Mapping[str, str]
    folder: Path

    def learnt(self) -> State | None:
        """Return what the editor learns beforehand, if anything; it is learnt now where it is kept nowhere."""
        return None if self.fit is None else self.fit.state(self.vlm, self.config.cache_folder() / "fit")[0]

    def editor(self, learnt: State | None = None) -> Editor:
        """Return a new editor with what it learnt."""
        editor = make_editor(self.config, self.vlm)
        learnt = self.learnt() if learnt is None else learnt
        if learnt is not None:
            editor.load_fitted(learnt)
        return editor


def resolve(source: str | RunConfig | None = None, changes: Mapping[str, Any] | None = None) -> RunConfig:
    """Return a configuration with all of the editor's options spelt out; raises one-line errors with near names."""
    config = source if isinstance(source, RunConfig) else load_config(source, changes)
    if isinstance(source, RunConfig) and changes:
        raise ConfigError("changes go with a recipe or a file, not with a finished RunConfig.")
    options = editor_options(config.editor).model_dump(mode="json")
    make_clock(config)
    check_arrivals(config)
    return config.model_copy(update={"editor": Part(name=config.editor.name, options=options)})


def prepare(config: RunConfig) -> Prepared:
    """Load model and stream and find the run's folder; nothing is learnt, asked or written."""
    import torch

    if config.threads:
        torch.set_num_threads(config.threads)
    stream = load_stream(config)
    vlm = load_model(config)
    options = editor_options(config.editor)
    fit = None
    kind = editor_class(config.editor.name)
    if kind.trains:
        asked = getattr(options, "pool", config.fit.edits)  # an editor may say how much it needs
        fit = Fit.of(kind, config.editor.name, options, vlm, stream.pool(asked, config.fit.seed))
    digests = {"model": vlm.digest, "stream": stream.digest} | ({"fit": fit.digest} if fit else {})
    if config.editor.name.endswith(".py"):  # a changed file is another editor, not a finished run
        digests["editor"] = hashlib.sha256(Path(config.editor.name).read_bytes()).hexdigest()[:16]
    return Prepared(config, vlm, stream, fit, digests, folder_of(config, digests))


def folder_of(config: RunConfig, digests: Mapping[str, str]) -> Path:
    """Return a run's folder: one of the editor's bare name where it is there, as earlier versions named them all."""
    out, tail = Path(config.out), hash8(config, digests)
    earlier = out / f"{config.title()}-{tail}"
    return earlier if earlier.is_dir() else out / f"{run_title(config)}-{tail}"


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
    probes = [p for edit in stream.edits for p in stream.probes(edit.id)] + list(stream.general)
    limit = answer_tokens(ready.vlm, {p.target for p in probes})
    other = config.workers > 1 or config.batch > 1 or config.withdrawals or config.queries or config.panels.gaps
    editor = make_editor(config, ready.vlm)  # as it is before any fit
    try:
        if steps is not None and editor.turn == 1 and not other:
            probes = ever_asked(stream, config.panels, steps, routed=editor.routed)
    finally:
        editor.close()
    say(f"{len(stream.edits)} edits, {len(probes)} probes; asking the frozen model")
    folder = config.cache_folder() / "baseline"
    return Baseline.prepare(ready.vlm, probes, folder, max_tokens=limit, on_progress=on_progress)


def panel_of(ready: Prepared, editor: Editor, baseline: Baseline) -> Panel:
    """Return a new panel over an editor, set as the run's configuration says."""
    from lifelong.probing.panel import Panel, PanelSettings

    config, stream = ready.config, ready.stream
    kinds = {edit.id: edit.prompt_kind for edit in stream.edits}
    return Panel(
        ready.vlm,
        editor,
        stream.probes,
        stream.general,
        PanelSettings(**config.panels.model_dump(exclude={"at", "every"})),
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
