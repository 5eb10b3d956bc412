"""How much faster incremental probing is than brute force: both side by side over one and the same editor.

Knows panels and parts by their contracts; writes nothing. At every step one panel reuses answers and one asks
everything again, each with caches of its own; their facts must be equal, or `UnequalFactsError` is raised.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, fields, replace
from typing import TYPE_CHECKING, Any

from lifelong.editing.contract import Editor
from lifelong.log import Gauged, Probed
from lifelong.probing.baseline import Baseline
from lifelong.probing.panel import Panel, PanelSettings
from lifelong.probing.scorers import LOCALITY_TOP10_ALL, NLL
from lifelong.running.config import check_one_stream
from streams.types import Edit

if TYPE_CHECKING:
    from lifelong.models.cache import ByteCache
    from lifelong.models.vlm import VLM
    from lifelong.running.prepare import Prepared
    from streams.stream import Stream

ROUNDING = {NLL: 1e-5, LOCALITY_TOP10_ALL: 0.02}
"""How far scores may differ that depend on more than each most likely token: batches of other shapes round otherwise,
and two nearly equal logits then change places in an ordered list. All other scores, tokens and ids must be equal."""
SILENT = PanelSettings(latency_routes=0, latency_answers=0)


class UnequalFactsError(RuntimeError):
    """A reused answer differs from the one that asking again gives: the editor breaks its contract of reuse."""


@dataclass
class Side:
    """One way of probing: its panel and cache, its seconds, and the facts that it gave."""

    panel: Panel
    cache: ByteCache
    wall_s: float = 0.0
    probed: list[Probed] = field(default_factory=list)
    parts: dict[str, float] = field(default_factory=dict)

    @classmethod
    def of(
        cls, vlm: VLM, editor: Editor, stream: Stream, settings: PanelSettings, baseline: Baseline, seed: int
    ) -> Side:
        """Return a side that has asked nothing, with an empty cache."""
        panel = Panel(vlm, editor, stream.probes, stream.general, settings, baseline, seed)
        return cls(panel, vlm.cache.anew())

    def take(self, vlm: VLM, ask: Callable[[Panel], Sequence[Any]]) -> list[Probed]:
        """Ask the panel, timed, and return its facts about probes."""
        with vlm.serving_with(self.cache):
            vlm.sync()
            start = time.perf_counter()
            facts = ask(self.panel)
            vlm.sync()
            self.wall_s += time.perf_counter() - start
        for f in facts:
            if isinstance(f, Gauged) and f.kind == "panel" and f.name.endswith("_wall_s"):
                self.parts[f.name] = self.parts.get(f.name, 0.0) + f.value
        probed = [f for f in facts if isinstance(f, Probed)]
        self.probed += probed
        return probed


@dataclass(frozen=True)
class Now:
    """A stream just after one more batch: what is visible, what was replaced, and how a panel is asked about it.

    To be used before the next batch: `history` and `retired` grow with the stream.
    """

    batch: Sequence[Edit]
    step: int
    history: Sequence[str]
    retired: Mapping[str, str]
    last: bool

    def reaches(self, steps: Iterable[int]) -> bool:
        """Whether the batch reached one of some steps."""
        return any(self.step - len(self.batch) < s <= self.step for s in steps)

    def instant(self, panel: Panel) -> Sequence[Any]:
        """Ask a panel about the batch."""
        return panel.instant(self.step, 0.0, self.batch)

    def full(self, panel: Panel) -> Sequence[Any]:
        """Hold a full panel."""
        return panel.full(self.step, 0.0, tuple(self.history), self.retired, last=self.last)


def edited(editor: Editor, stream: Stream) -> Iterator[Now]:
    """Edit a stream batch by batch, and yield after each how it stands."""
    history: list[str] = []
    retired: dict[str, str] = {}
    for start in range(0, len(stream.edits), editor.turn):
        batch = stream.edits[start : start + editor.turn]
        editor.edit(batch)
        history += [e.id for e in batch]
        retired.update((e.supersedes, e.id) for e in batch if e.supersedes)
        yield Now(batch, len(history), history, retired, len(history) == len(stream.edits))


def compare(
    vlm: VLM,
    editor: Editor,
    stream: Stream,
    steps: Sequence[int],
    *,
    baseline: Baseline | None = None,
    settings: PanelSettings = SILENT,
    seed: int = 0,
    on_progress: Callable[[int, int], None] | None = None,
) -> dict[str, Any]:
    """Edit a stream with one editor, probe it twice at `steps`, and return seconds, counts and the speed-up.

    The editor is new (fitted, without edits) and is closed at the end. Both sides start with empty caches and the
    order of the two alternates. Raises `UnequalFactsError` naming the first fact that differs.
    """
    if baseline is None:
        baseline = Baseline.prepare(vlm, stream.every_probe())

    sides = {
        name: Side.of(vlm, editor, stream, settings.model_copy(update={"brute": name == "brute"}), baseline, seed)
        for name in ("incremental", "brute")
    }
    try:
        for turn, now in enumerate(edited(editor, stream)):
            order = list(sides.values()) if turn % 2 else list(sides.values())[::-1]
            for one in order:
                one.take(vlm, now.instant)
                if now.last or now.reaches(steps):
                    one.take(vlm, now.full)
            check_equal(sides["incremental"].probed, sides["brute"].probed)
            for one in order:
                kept, one.probed = one.probed, []
                one.parts["probes"] = one.parts.get("probes", 0) + len({(f.step, f.probe_id) for f in kept})
                one.parts["reused"] = one.parts.get("reused", 0) + len({f.probe_id for f in kept if f.reused})
            if on_progress is not None:
                on_progress(now.step, len(stream.edits))
    finally:
        editor.close()
    fast, slow = sides["incremental"], sides["brute"]
    probes = int(fast.parts["probes"])
    return {
        "edits": len(stream.edits),
        "probes": probes,
        "reused_share": fast.parts["reused"] / probes if probes else 0.0,
        "incremental_wall_s": fast.wall_s,
        "brute_wall_s": slow.wall_s,
        "speed_up": slow.wall_s / fast.wall_s if fast.wall_s else 1.0,
        "incremental_probes_per_s": probes / fast.wall_s if fast.wall_s else 0.0,
        "brute_probes_per_s": probes / slow.wall_s if slow.wall_s else 0.0,
        "incremental_parts": {k: v for k, v in fast.parts.items() if k.endswith("_wall_s")},
        "brute_parts": {k: v for k, v in slow.parts.items() if k.endswith("_wall_s")},
        "facts_equal": True,
    }


def compare_run(
    source: Any = None, *, on_progress: Callable[[int, int], None] | None = None, **changes: Any
) -> dict[str, Any]:
    """Compare for a recipe, a file or a `RunConfig` with key=value changes, as `run` takes them; writes no run.

    Returns what `compare` does, with the names of editor, stream and model; raises what `run` and `compare` raise.
    """
    ready, baseline, settings, steps, names = ready_to_compare(source, changes)
    with ready.computing():
        found = compare(
            ready.vlm, ready.editor(), ready.stream, steps, baseline=baseline, settings=settings,
            seed=ready.config.seed, on_progress=on_progress,
        )  # fmt: skip
    return names | found


def ready_to_compare(
    source: Any, changes: Mapping[str, Any]
) -> tuple[Prepared, Baseline, PanelSettings, tuple[int, ...], dict[str, Any]]:
    """Return a run's parts, its baseline, its panels' settings without latency samples, its steps and its names."""
    from lifelong.running.prepare import prepare, resolve

    ready = prepare(resolve(source, changes))
    config, stream = ready.config, ready.stream
    check_one_stream(config, "what is compared")
    with ready.computing():
        baseline = Baseline.prepare(
            ready.vlm, stream.every_probe(), config.cache_folder() / "baseline", max_tokens=ready.limit.tokens
        )
    settings = config.panels.model_copy(update={"latency_routes": 0, "latency_answers": 0})
    names = {"editor": config.editor.name, "stream": config.stream.name, "model": config.model.name}
    return ready, baseline, settings, tuple(config.panels.steps(len(stream.edits))), names


def check_equal(reused: Sequence[Probed], brute: Sequence[Probed]) -> None:
    """Raise `UnequalFactsError` unless two lists of facts agree in all but `reused`, scores up to `ROUNDING`."""
    first = next(unequal(reused, brute), "")
    if first:
        usual = "an editor whose answers change without a new revision, payload revision or route"
        raise UnequalFactsError(f"{first}. The usual cause: {usual}.")


def unequal(reused: Sequence[Probed], brute: Sequence[Probed]) -> Iterator[str]:
    """Yield in words where two lists of facts differ in more than `reused`, and in scores by more than `ROUNDING`."""
    if len(reused) != len(brute):
        yield f"{len(reused)} facts with reuse, {len(brute)} by brute force"
        return
    for a, b in zip(reused, brute, strict=True):
        close = abs(a.score - b.score) <= ROUNDING.get(a.scorer, 0.0)
        same = replace(a, reused=False, score=b.score if close else a.score)
        other = replace(b, reused=False)
        if same == other:
            continue
        names = [f.name for f in fields(a) if getattr(same, f.name) != getattr(other, f.name)]
        told = (f"{name} {getattr(a, name)!r} with reuse, {getattr(b, name)!r} asked again" for name in names)
        where = f"Probe {a.probe_id} of edit {a.edit_id or '(general)'} at step {a.step}, scorer {a.scorer}"
        yield f"{where}: {'; '.join(told)}"
