"""Law 8: answers taken from an earlier panel equal answering everything again, whatever the bank does in between."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import replace

import numpy as np
import pytest
import torch

from lifelong.bank import Bank
from lifelong.editing.contract import Answerer, Editor, Keys, Route
from lifelong.editing.find import editor_class
from lifelong.log import Probed
from lifelong.models.vlm import VLM
from lifelong.probing.baseline import Baseline
from lifelong.probing.panel import Panel, PanelSettings
from lifelong.probing.routes import RouteBook
from lifelong.studies.bench.cells import compare_cells
from lifelong.studies.bench.probing import UnequalFactsError, compare
from streams.stream import Stream, load_stream
from streams.types import Edit, Query

QUIET = PanelSettings(latency_routes=0, latency_answers=0)
STEPS = (2, 5, 9, 12)


class Adder(Editor):
    """Adds a vector of the nearest edit to the hidden states; with `merge` every vector is shared by all edits."""

    removes = True

    def __init__(self, vlm: VLM, *, capacity: int | None = None, merge: bool = False, radius: float = 12.0) -> None:
        super().__init__(vlm)
        self.merge, self.radius = merge, radius
        self.bank = Bank(vlm.width, metric="l2", capacity=capacity, eviction="fifo" if capacity else "never")
        self.shared = torch.zeros(vlm.width)

    def edit(self, edits: Sequence[Edit]) -> None:
        for edit in edits:
            if edit.supersedes and edit.supersedes in self.bank:
                self.bank.remove([edit.supersedes])
            vector = torch.from_numpy(
                np.random.default_rng(int(edit.id[-6:], 16)).normal(size=self.vlm.width)
            ).float()
            self.bank.add([edit.id], self.encode([edit.query])["last"], {"vector": 4 * vector[None]})
            if self.merge:
                self.shared = self.shared + vector
                self.revision += 1

    def encode(self, queries: Sequence[Query]) -> Keys:
        states = self.vlm.hidden(queries, 1).states
        return Keys({"last": np.stack([s[-1].numpy() for s in states])})

    def route(self, keys: Keys) -> list[Route]:
        found = self.bank.search(keys["last"], 1, keys.memo("last"))
        return [
            Route((ids[0],), (-float(score[0]),), (1.0,), (0,)) if ids[0] and score[0] <= self.radius else Route()
            for ids, score in zip(found.ids, found.scores, strict=True)
        ]

    @contextmanager
    def applied(self, queries: Sequence[Query], routes: Sequence[Route]) -> Iterator[Answerer]:
        vectors = torch.zeros(len(routes), self.vlm.width)
        for i, route in enumerate(routes):
            if route.in_scope:
                row = np.array([self.bank.row_of(route.ids[0])])
                vectors[i] = self.shared if self.merge else self.bank.payload("vector", row)[0]

        def add(module, args, output, layout):
            return output + vectors[layout.rows][:, None, :]

        with self.vlm.hook(self.vlm.decoder_layer(2), add):
            yield self.vlm.answerer(queries)

    def remove(self, ids: Sequence[str]) -> None:
        self.bank.remove([i for i in ids if i in self.bank])  # it may have been evicted


def grace(**options) -> Callable[[VLM], Editor]:
    def make(vlm: VLM) -> Editor:
        kind = editor_class("grace")
        return kind(vlm, kind.Options.model_validate({"steps": 3, **options}))

    return make


EDITORS: dict[str, Callable[[VLM], Editor]] = {
    "append": Adder,
    "wide": lambda vlm: Adder(vlm, radius=30.0),
    "evict": lambda vlm: Adder(vlm, capacity=4),
    "merge": lambda vlm: Adder(vlm, merge=True),
    "grace-split": grace(radius=12.0),
    "grace-replace": grace(radius=7.0, supersede="replace"),
}


@pytest.fixture(scope="module")
def stream() -> Stream:
    return load_stream("toy", edits=STEPS[-1], seed=1, order="reedits", reedits=0.3)


@pytest.fixture(scope="module")
def baseline(tiny_vlm: VLM, stream: Stream) -> Baseline:
    probes = [p for e in stream.edits for p in stream.probes(e.id)] + list(stream.general)
    return Baseline.prepare(tiny_vlm, probes, max_tokens=5)


def run(
    editor: Editor, stream: Stream, baseline: Baseline, settings: PanelSettings, stop_at: int = 0
) -> list[Probed]:
    """Edit, probe and take the third edit back; at `stop_at` go on with a new panel that only has the facts."""

    def new_panel() -> Panel:
        return Panel(editor.vlm, editor, stream.probes, stream.general, settings, baseline)

    panel, facts, retired = new_panel(), [], {}
    withdraw = stream.edits[2].id
    for step, edit in enumerate(stream.edits, 1):
        editor.edit([edit])
        if edit.supersedes:
            retired[edit.supersedes] = edit.id
        if step == 7 and editor.removes and withdraw not in retired:
            editor.remove([withdraw])
            retired[withdraw] = ""
        facts += panel.instant(step, 0.0, [edit])
        if step in STEPS:
            history = [e.id for e in stream.edits[:step]]
            facts += [f for f in panel.full(step, 0.0, history, retired) if isinstance(f, Probed)]
        if step == stop_at:
            panel = new_panel()
            panel.restore(facts, [e.id for e in stream.edits[:step]])
    return facts


@pytest.mark.parametrize("name", EDITORS)
def test_reused_answers_equal_brute_force(tiny_vlm, stream, baseline, name):
    """With eviction, removal, re-edits, shared payloads, radius splits and merges; brute force decodes everything."""
    reused = run(EDITORS[name](tiny_vlm), stream, baseline, QUIET)
    brute = run(EDITORS[name](tiny_vlm), stream, baseline, QUIET.model_copy(update=dict(brute=True, decode_all=True)))
    assert [replace(f, reused=False, score=0.0) for f in reused] == [replace(f, score=0.0) for f in brute]
    for a, b in zip(reused, brute, strict=True):
        assert a.score == (pytest.approx(b.score, abs=1e-5) if a.scorer == "nll" else b.score), a
    assert {f.variant for f in reused} >= {"superseded"}
    share = np.mean([f.reused for f in reused])
    assert 0.1 < share < 1.0, "the test would prove nothing"
    assert any(f.score < 1 for f in reused if f.axis == "locality"), "no answer was changed by an edit"


@pytest.mark.parametrize("name", ["append", "merge", "grace-split"])
def test_a_resumed_panel_reuses_what_an_uninterrupted_one_would(tiny_vlm, stream, baseline, name):
    whole = run(EDITORS[name](tiny_vlm), stream, baseline, QUIET)
    resumed = run(EDITORS[name](tiny_vlm), stream, baseline, QUIET, stop_at=5)
    assert resumed == whole


def test_routes_of_a_book_equal_routes_of_fresh_keys(tiny_vlm, stream):
    """Blocks, memories and subsets change nothing, also after additions and a removal."""
    editor = Adder(tiny_vlm, radius=20.0)
    book = RouteBook(editor)
    queries = {p.query.digest: p.query for e in stream.edits for p in stream.probes(e.id)}
    for edit in stream.edits:
        editor.edit([edit])
        assert book.encode(p.query for p in stream.probes(edit.id)) >= 0
        known = [d for e in stream.edits[: stream.edits.index(edit) + 1] for d in _digests(stream, e)]
        routes = book.routes(known)
        few = book.routes(known[:3])
        fresh = editor.route(editor.encode([queries[d] for d in routes]))
        assert [r.ids for r in routes.values()] == [r.ids for r in fresh]
        assert all(few[d].ids == routes[d].ids for d in few)
    assert book.encode(queries.values()) == 0
    editor.remove([stream.edits[-1].id])
    assert not any(stream.edits[-1].id in r.ids for r in book.routes(list(queries)).values())


def test_a_book_fills_blocks_in_order_whatever_the_calls(tiny_vlm, monkeypatch):
    """Blocks are cut at a fixed number of rows, so what a block holds does not depend on when panels fell."""
    monkeypatch.setattr("lifelong.probing.routes.BLOCK_ROWS", 4)
    queries = [Query(f"Question {i}?") for i in range(11)]

    class Counter(Adder):
        def route(self, keys: Keys) -> list[Route]:
            sizes.append(len(keys))
            return super().route(keys)

    for calls in ([11], [1, 5, 5], [3, 3, 3, 2]):
        sizes: list[int] = []
        book, start = RouteBook(Counter(tiny_vlm)), 0
        for n in calls:
            book.encode(queries[start : start + n])
            start += n
        book.routes([q.digest for q in queries])
        assert sizes == [4, 4, 3]


def test_a_book_with_a_source_reads_nothing_and_has_its_keys(tiny_vlm, monkeypatch):
    monkeypatch.setattr("lifelong.probing.routes.BLOCK_ROWS", 4)
    queries = [Query(f"Question {i}?") for i in range(11)]
    read, given = RouteBook(Adder(tiny_vlm)), RouteBook(Adder(tiny_vlm))
    given.source = read
    assert read.encode(queries) == 11
    monkeypatch.setattr(given._editor, "encode", None)
    mixed = [queries[i] for i in (9, 1, 2, 10, 0, 4)]
    assert given.encode(mixed[:4]) == 4 and given.encode(mixed) == 2
    digests = [q.digest for q in mixed]
    one, other = given.keys_of(digests), read.keys_of(digests)
    assert one.arrays.keys() == other.arrays.keys() != set()
    assert all(np.array_equal(one[name], other[name]) for name in one.arrays)
    with pytest.raises(KeyError):
        given.encode([Query("never read")])


def _digests(stream: Stream, edit: Edit) -> list[str]:
    return [p.query.digest for p in stream.probes(edit.id)]


def test_the_bench_compares_equal_facts_and_finds_a_broken_contract(tiny_vlm, stream, baseline):
    """Reuse is found out when an editor changes shared state without a new revision."""
    result = compare(tiny_vlm, Adder(tiny_vlm), stream, STEPS, baseline=baseline)
    assert result["facts_equal"] and result["edits"] == len(stream)
    assert 0.1 < result["reused_share"] < 1 and result["probes"] > 300

    class Silent(Adder):
        def edit(self, edits: Sequence[Edit]) -> None:
            super().edit(edits)
            self.revision = 0

    with pytest.raises(UnequalFactsError, match="without a new revision"):
        compare(tiny_vlm, Silent(tiny_vlm, merge=True), stream, STEPS, baseline=baseline)
    # With cells it is counted, and the numbers are there all the same.
    found = compare_cells(tiny_vlm, Silent(tiny_vlm, merge=True), stream, STEPS, baseline, cells=20, brute_panels=2)
    assert found["brute_facts"] > len(found["brute_facts_unequal"]) > 0 and found["speed_up_over_one_by_one"] > 1
    assert "asked again" in found["brute_facts_unequal"][0]
