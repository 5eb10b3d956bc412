"""What is longer than the suite allows: `make soak`."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
import torch

from lifelong.bank import Bank
from lifelong.bench_probing import compare_run
from streams.stream import load_stream

pytestmark = pytest.mark.soak


@pytest.mark.parametrize("editor", ["grace", "rag"])
def test_reuse_equals_brute_force_over_hundreds_of_edits_and_reedits(editor: str) -> None:
    """Law 8 at length: `compare_run` raises where a reused answer differs from asking again."""
    stream = {"model": "tiny", "stream": "toy", "stream.order": "reedits", "edits": 200}
    words: dict[str, Any] = {"editor": editor, **stream, "panels.every": 50, "fit.edits": 24}
    found = compare_run(None, **words)
    assert found["facts_equal"] and found["reused_share"] > 0


def test_the_bank_equals_brute_force_at_a_hundred_thousand_entries() -> None:
    """Law 5 at length, after removals, across shards."""
    rng = np.random.default_rng(0)
    keys = rng.standard_normal((100_000, 32), dtype=np.float32)
    bank = Bank(32, shard_len=30_000)
    bank.add([str(i) for i in range(len(keys))], keys, {"row": torch.arange(len(keys))})
    gone = rng.choice(len(keys), 5_000, replace=False)
    bank.remove([str(i) for i in gone])
    queries = rng.standard_normal((16, 32), dtype=np.float32)
    scores = queries.astype(np.float64) @ keys.astype(np.float64).T
    scores[:, gone] = -np.inf
    best = np.argsort(-scores, axis=1)[:, :5]
    assert bank.search(queries, 5).rows.tolist() == best.tolist()


def test_twenty_thousand_edits_never_contradict_each_other_unsaid() -> None:
    """A stream longer than the world goes on with re-edits, each of which names what it replaces."""
    stream = load_stream("atlas", edits=20_000, seed=0, known="all")
    latest: dict[tuple[str, str], str] = {}
    for edit in stream.edits:
        assert edit.supersedes == latest.get((edit.subject, edit.relation)), edit.id
        latest[edit.subject, edit.relation] = edit.id
    assert len(stream) == 20_000


def test_twenty_thousand_edits_begin_with_ten_thousand_different_facts() -> None:
    """As a stream of 10,000 edits does."""
    stream = load_stream("atlas", edits=20_000, seed=0, known="all")
    assert len({(edit.subject, edit.relation) for edit in stream.edits}) >= 10_000
