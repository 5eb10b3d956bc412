"""Whether a prepared run can do its work: its folders, its editor on its model, its batches; and what it leaves out.

Called by a dry run and at the start of every run, before the frozen model is asked and before anything is written.
"""

from __future__ import annotations

from collections.abc import Callable

from lifelong.running.config import RunConfig
from lifelong.running.parts import make_clock
from lifelong.running.prepare import Prepared, check_folders
from lifelong.running.trackers import check_trackers
from lifelong.running.words import ConfigError
from lifelong.simulation.roles import SimulationSettings, check_settings


def check_ready(ready: Prepared, say: Callable[[str], None] = lambda _: None) -> None:
    """Raise `ConfigError`, or what the editor raises, for what would only fail later; `say` is told what is odd.

    The editor is made once on the model and closed again, so that options that do not fit the model are named.
    """
    config, resolved = ready.config, ready.resolved
    check_trackers(config)
    check_folders(config)
    settings = SimulationSettings(
        (), config.workers, policy=config.policy, batch=config.batch, window_s=config.window_s,
        restore_every=config.restore_every or 0,
    )  # fmt: skip
    try:
        check_settings(settings, make_clock(config).measures, resolved.kind.turn_of(resolved.options))
        resolved.editor(ready.vlm).close()
    except (ValueError, ArithmeticError, IndexError) as error:
        if type(error).__module__ != "builtins":  # it has words of its own
            raise
        raise ConfigError(f"editor={config.editor.name}: it cannot be made so: {error}") from error
    for note in panel_notes(config, len(ready.stream.edits)):
        say(note)


def panel_notes(config: RunConfig, edits: int) -> list[str]:
    """Return what is odd about a run's panels, in words: steps of which none lies within its edits."""
    panels = config.panels
    steps = [*panels.at, panels.every] if panels.every else list(panels.at)
    if min(steps) <= edits or len(config.steps(edits)) > 1:
        return []
    return [f"panels: no step lies within {edits} edits (the first is {min(steps)}); the only panel is at the end"]
