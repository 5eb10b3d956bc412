"""The parts of a prepared run put together: the frozen model's answers, the panel, and the loop over them.

Knows the contracts of the parts and does none of their work; decides neither when to stop nor where facts go.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import TYPE_CHECKING, Any

from lifelong.running.arrivals import arrivals_of
from lifelong.running.parts import make_clock, make_editor

if TYPE_CHECKING:
    from lifelong.editing.contract import Editor
    from lifelong.log.checkpoint import StateLike
    from lifelong.probing.baseline import Baseline
    from lifelong.probing.panel import Panel
    from lifelong.running.run import Prepared
    from lifelong.simulation.roles import LogLike


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
    from lifelong.needed import ever_asked
    from lifelong.probing.baseline import Baseline, answer_tokens

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
    saved: StateLike | None,
    on_event: Callable[[Mapping[str, Any]], None],
) -> None:
    """Run the event loop from its beginning or a checkpoint, with full panels at `steps` and at the stream's end."""
    from lifelong.simulation.loop import SimulationSettings, simulate
    from lifelong.simulation.queries import Server
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
        server=Server(ready.vlm, editor, panel.baseline, posed),
        on_event=on_event,
    )
