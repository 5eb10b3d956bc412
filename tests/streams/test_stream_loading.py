"""Claims about streams in general: names, options, orders, the drawn toy stream."""

import numpy as np
import pytest

from streams.orders.order import grouped, shuffled, with_id, with_reedits
from streams.pictures.images import open_image
from streams.stream import Source, Stream, StreamError, load_stream, stream_names, stream_options
from streams.types import Edit, Query


def _edits(n):
    return [with_id(Edit("", Query(f"q{i}"), f"a{i}", f"s{i % 4}", "r")) for i in range(n)]


def test_names_are_found_without_a_registry():
    assert {"atlas", "jsonl", "toy"} <= set(stream_names())
    assert "order" in stream_options("toy").model_fields


def test_unknown_names_and_options_are_answered_with_near_ones():
    with pytest.raises(StreamError, match="Did you mean 'atlas'"):
        load_stream("atls", edits=1)
    with pytest.raises(StreamError, match="no such key. Did you mean 'order'"):
        load_stream("toy", edits=1, ordr="grouped")
    with pytest.raises(StreamError, match="order='sorted' is not known"):
        load_stream("toy", edits=1, order="sorted")
    with pytest.raises(StreamError, match="at least one edit"):
        load_stream("toy", edits=0)


def test_an_empty_stream_is_refused():
    with pytest.raises(StreamError, match="no edit is left"):
        Stream("none", "0", (), (), Source(lambda e: (), lambda n, s: None))  # type: ignore[arg-type, return-value]


def test_orders_keep_every_edit():
    edits = _edits(20)
    assert set(shuffled(edits, 0)) == set(grouped(edits, 0)) == set(edits)
    assert shuffled(edits, 0) == shuffled(edits, 0) != shuffled(edits, 1)
    subjects = [e.subject for e in grouped(edits, 0)]
    assert sum(a != b for a, b in zip(subjects, subjects[1:], strict=False)) == 3


def test_a_reedit_comes_after_what_it_supersedes_and_is_never_reordered_before_it():
    def again(edit, rng: np.random.Generator):
        return with_id(Edit("", edit.query, f"b{rng.integers(1 << 40)}", edit.subject, "r", "", edit.id))

    edits = with_reedits(_edits(10), 25, 0.6, 0, again)
    for order in (edits, shuffled(edits, 3), grouped(edits, 3)):
        places = {e.id: i for i, e in enumerate(order)}
        assert len(places) == 25
        assert all(places[e.supersedes] < places[e.id] for e in order if e.supersedes)
        olds = [e.supersedes for e in order if e.supersedes]
        assert len(set(olds)) == len(olds)


def test_reedits_have_their_share_and_fresh_edits_come_where_none_is_possible():
    def again(edit, rng: np.random.Generator):
        return with_id(Edit("", edit.query, f"b{rng.integers(1 << 40)}", edit.subject, "r", "", edit.id))

    edits = with_reedits(_edits(400), 200, 0.3, 0, again)
    assert sum(bool(e.supersedes) for e in edits) == 60 and len({e.id for e in edits}) == 200
    assert with_reedits(_edits(3), 5, 0.5, 0, lambda edit, rng: None) == tuple(_edits(3))


def test_when_fresh_edits_are_at_an_end_all_are_edited_anew_in_their_order():
    def again(edit, rng: np.random.Generator):
        return with_id(Edit("", edit.query, edit.target + "'", edit.subject, "r", "", edit.id))

    edits = with_reedits(_edits(4), 12, 0.0, 0, again)
    assert [e.target for e in edits[:8]] == ["a0", "a1", "a2", "a3", "a0'", "a1'", "a2'", "a3'"]
    assert [e.supersedes for e in edits[4:]] == [e.id for e in edits[:8]]


def test_the_toy_stream_replays_and_has_every_axis():
    first, second = (load_stream("toy", edits=30, seed=5) for _ in range(2))
    assert first.digest == second.digest and first.edits == second.edits
    assert load_stream("toy", edits=30, seed=6).digest != first.digest
    probes = [p for e in first.edits for p in first.probes(e.id)]
    usual = {"reliability", "generality", "locality", "portability", "specificity"}
    assert {p.axis for p in probes} == {*usual, "paired", "grid", "negation"}
    pictures = [p.query.image for p in (*probes, *first.general) if p.query.image]
    assert {open_image(i).size for i in pictures} == {(32, 32), (64, 32)}
    subjects = {i.edit.subject for i in first.pool(20).items}
    assert not subjects & {e.subject for e in first.edits}
