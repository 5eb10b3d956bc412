"""An edit is timed with nothing read beforehand: the n-th of those probed together costs what the first does."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from statistics import median
from typing import Any

import pytest

import lifelong
from lifelong.editing.contract import Editor
from lifelong.editing.find import editor_class
from lifelong.log import Edited, RunLog
from lifelong.models.tiny import tiny_vlm
from lifelong.models.vlm import VLM
from lifelong.probing.baseline import Baseline
from lifelong.probing.latency import timed_cold
from lifelong.probing.panel import Panel, PanelSettings
from lifelong.simulation.recorded import samples_of
from lifelong.studies.replay import replay
from streams.stream import Stream, load_stream

GROUP = 8  # edits whose probes are read together
OPTIONS: dict[str, dict[str, Any]] = {"rag": {}, "liveedit": {}, "grace": {"steps": 1}}


@dataclass
class Read:
    """What a model read: pictures through the vision side, tokens through the embeddings."""

    pictures: int = 0
    tokens: int = 0


@contextmanager
def counting(vlm: VLM) -> Iterator[Read]:
    """Count what is read inside; the steady second look at a lone picture counts as another."""
    read = Read()
    compute = vlm.reader._compute

    def seen(pixels: Any, encoded: Any) -> Any:
        read.pictures += len(pixels)
        return compute(pixels, encoded)

    def embedded(module: Any, args: Any, output: Any) -> None:
        read.tokens += args[0].numel()

    vlm.reader._compute = seen  # type: ignore[method-assign]
    handle = vlm.structure.embedding.register_forward_hook(embedded)
    try:
        yield read
    finally:
        handle.remove()
        vlm.reader._compute = compute  # type: ignore[method-assign]


def edits_in_turn(editor: Editor, stream: Stream, baseline: Baseline, *, alone: bool) -> list[Read]:
    """Make the edits as the event loop does, probing each at once; `alone`: with nobody else reading anything."""
    vlm, found = editor.vlm, []
    order = [e.id for e in stream.edits]
    panel = Panel(vlm, editor, stream.probes, stream.general, PanelSettings(), baseline, order=order)
    for step, edit in enumerate(stream.edits, 1):
        with counting(vlm) as read, timed_cold(vlm):
            editor.edit([edit])
        found.append(read)
        if not alone:
            panel.instant(step, 0.0, [edit])
    return found


@pytest.mark.parametrize("name", sorted(OPTIONS))
def test_every_edit_of_a_group_reads_its_own_picture_and_words(name: str) -> None:
    """In counts, which no other process disturbs: as much as if nobody had probed anything, whatever its place."""
    vlm, stream, kind = tiny_vlm(), load_stream("toy", edits=2 * GROUP, seed=1), editor_class(name)
    baseline = Baseline.prepare(vlm, stream.every_probe(), max_tokens=4)
    probed, alone = (
        edits_in_turn(kind(vlm, kind.Options(**OPTIONS[name])), stream, baseline, alone=alone)
        for alone in (False, True)
    )
    assert probed == alone
    for edit, read in zip(stream.edits, probed, strict=True):
        assert read.pictures == (edit.query.image is not None) and read.tokens > 0
    pairs = list(zip(stream.edits, probed, strict=True))[1:]  # before its first edit an encoder is made ready, once
    shown = [r.tokens for e, r in pairs if e.query.image is not None]
    assert max(shown) <= 1.5 * min(shown)


def test_what_an_edit_reads_is_forgotten_so_that_no_probe_is_quicker_for_it() -> None:
    vlm, stream = tiny_vlm(), load_stream("toy", edits=1, seed=1)
    kept, steady = vlm.cache, vlm.reader.steady
    with pytest.raises(RuntimeError, match="boom"), timed_cold(vlm) as taken:
        vlm.score([stream.edits[0].query], ["a"])
        assert vlm.cache is not kept and len(vlm.cache) > 0
        raise RuntimeError("boom")
    assert vlm.cache is kept and len(kept) == 0 and vlm.reader.cache is kept and vlm.reader.steady == steady
    assert taken.wall_s > 0


@pytest.fixture(scope="module")
def run(tmp_path_factory: pytest.TempPathFactory) -> Path:
    words: dict[str, Any] = {"model": "tiny", "stream": "toy", "edits": 5 * GROUP, "editor": "rag", "threads": 1}
    words |= {"editor.threshold": 0.9, "editor.image_weight": 0.5, "panels.instant_axes": ["reliability"]}
    words |= {"queries.rate": 1.0, "panels.latency_routes": 20, "panels.latency_answers": 20}
    return lifelong.run(quiet=True, out=str(tmp_path_factory.mktemp("cold")), **words)


def of_a_kind(seconds: Sequence[tuple[int, str, float]], first: bool) -> list[float]:
    """Return the seconds of edits with a picture that are the first of their group, or are not; the first group is
    left out, for it warms the process up."""
    return [s for place, kind, s in seconds if kind != "text" and place >= GROUP and (place % GROUP == 0) == first]


def test_the_first_edit_of_a_group_takes_about_as_long_as_the_others(run: Path) -> None:
    """Loosely, for others use the machine too; warm edits took a hundredth."""
    rows = RunLog.open(run).table(Edited).to_pylist()
    seconds = [(n, row["prompt_kind"], row["edit_wall_s"]) for n, row in enumerate(rows)]
    assert median(of_a_kind(seconds, False)) > median(of_a_kind(seconds, True)) / 5


def test_a_replay_of_a_retrieving_editor_has_an_edit_lag(run: Path) -> None:
    edit = samples_of(RunLog.open(run))["edit"].wall_s
    lags = replay(run, {"queries.rate": 1.0, "arrivals.rate": 0.1}).lag_s()
    assert 0.3 * median(edit) < median(lags) and min(lags) > 0
