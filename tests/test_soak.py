"""What is longer than the suite allows: `make soak`."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
import torch

import lifelong
from lifelong.bank import Bank
from lifelong.editing.find import editor_names
from lifelong.log import Edited, RunLog
from lifelong.running.config import recipe_names
from lifelong.studies.bench.probing import compare_run
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


NEURONS_PILE_UP = {"t_patcher", "unike"}
"""Editors of which every edit is made, by their papers, beside the neurons of all edits before it."""


@pytest.mark.parametrize("name", [n for n in editor_names() if n != "unike"])  # two seconds an edit and more
def test_every_editor_survives_two_thousand_edits(name: str, tmp_path_factory: pytest.TempPathFactory) -> None:
    """Collapses are facts, the run goes on, and an edit takes no longer at the end than at the beginning."""
    folder = tmp_path_factory.getbasetemp() / "survives"
    source = f"tuned/{name}" if f"tuned/{name}" in recipe_names() else None
    words: dict[str, Any] = {"edits": 2000, "panels": 2000, "panels.instant": False, "out": str(folder)}
    words |= {} if source else {"editor": name}
    log = RunLog.open(lifelong.run(source, quiet=True, **words))
    rows = sorted(log.table(Edited).to_pylist(), key=lambda row: row["step"])
    spent = [row["edit_wall_s"] / row["batch_len"] for row in rows]
    assert log.done() and len(rows) == 2000
    if name not in NEURONS_PILE_UP:
        assert np.median(spent[-200:]) < 2 * np.median(spent[:200]) + 1e-3
