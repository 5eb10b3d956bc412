"""Query traffic: who is asked about, how, and what was true then."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
from pydantic import ValidationError

from streams.stream import load_stream
from streams.times.arrivals import arrival_offsets, offsets_until
from streams.times.traffic import TrafficFacts, TrafficOptions, draw_traffic, pose
from streams.types import SCOPES, Edit, Query


def facts(n: int = 200, **changes) -> TrafficFacts:
    edits = [Edit(f"e{i}", Query(f"q{i}"), "a", f"subject {i}") for i in range(n)]
    return replace(TrafficFacts.of(edits, arrival_offsets("poisson", n, 1.0, seed=1)), **changes)


MOMENTS = offsets_until("poisson", 200.0, 200.0, seed=1, purpose="queries")


def test_nobody_asks_about_an_edit_that_has_not_arrived() -> None:
    known = facts()
    asked = draw_traffic(known, MOMENTS, TrafficOptions(), seed=0)
    about = asked.edits >= 0
    assert (known.at_s[asked.edits[about]] <= asked.at_s[about]).all()
    assert (asked.at_s[~about] < known.at_s[0]).all() and (asked.scopes[~about] == SCOPES.index("far")).all()


def test_scopes_come_in_the_asked_shares() -> None:
    options = TrafficOptions(edited=3, rephrased=1, rendering=0, near=0, far=1)
    asked = draw_traffic(facts(), MOMENTS[1000:], options, seed=0)
    shares = np.bincount(asked.scopes, minlength=len(SCOPES)) / len(asked)
    assert shares == pytest.approx([0.6, 0.2, 0, 0, 0.2], abs=0.02)


@pytest.mark.parametrize("zipf", [0.0, 1.0, 1.5])
def test_popularity_is_zipfs_law(zipf: float) -> None:
    """When all have arrived, the r-th most asked subject is asked about r^-zipf as often as the first."""
    known = facts(at_s=np.zeros(200))
    asked = draw_traffic(known, np.full(100_000, 1.0), TrafficOptions(zipf=zipf, recency=0), seed=0)
    counts = np.sort(np.bincount(asked.edits, minlength=200))[::-1][:20]
    law = np.arange(1.0, 201) ** -zipf
    assert counts / 100_000 == pytest.approx(law[:20] / law.sum(), rel=0.12 if zipf else 0.2)


def test_recent_edits_are_asked_about_at_the_asked_age() -> None:
    known = facts(at_s=np.zeros(200))
    asked = draw_traffic(known, np.full(20_000, 1.0), TrafficOptions(recency=1, recent=5.0), seed=0)
    assert (199 - asked.edits).mean() == pytest.approx(5 - 0.5, rel=0.05)  # of whole edits: rounded down


def test_a_replaced_fact_is_asked_about_as_it_is_now() -> None:
    replaces = np.full(200, -1)
    replaces[150], replaces[180] = 7, 150
    known = facts(replaces=replaces)
    asked = draw_traffic(known, MOMENTS, TrafficOptions(), seed=0)
    assert not ((asked.edits == 7) & (asked.at_s >= known.at_s[150])).any()
    assert not ((asked.edits == 150) & (asked.at_s >= known.at_s[180])).any()
    assert ((asked.edits == 7) & (asked.at_s < known.at_s[150])).any()


def test_more_traffic_begins_as_less_does() -> None:
    whole, part = (draw_traffic(facts(), MOMENTS[:n], TrafficOptions(), seed=0) for n in (5000, 100))
    assert np.array_equal(whole.edits[:100], part.edits) and np.array_equal(whole.scopes[:100], part.scopes)


def test_posed_questions_are_probes_of_their_scope_and_know_what_was_true_before() -> None:
    stream = load_stream("toy", edits=30, seed=0, order="reedits")
    at_s = arrival_offsets("constant", 30)
    known = TrafficFacts.of(stream.edits, at_s, {stream.edits[0].id: 10.0})
    asked = draw_traffic(known, np.linspace(0.5, 40, 400), TrafficOptions(), seed=0)
    posed = pose(stream, known, asked, seed=0)
    assert posed == pose(stream, known, asked, seed=0) and {p.scope for p in posed} >= {"edited", "near", "far"}
    for moment, one in zip(asked.at_s, posed, strict=True):
        if one.scope == "far":
            assert one.edit_id == one.before == ""
            continue
        edit = stream.edit(one.edit_id)
        assert one.probe in stream.probes(edit.id)
        assert one.before == (stream.edit(edit.supersedes).target if edit.supersedes else "")
        assert one.withdrawn == (edit.id == stream.edits[0].id and moment >= 10)
        assert (one.probe.reference == "baseline") == (one.scope == "near")


def test_traffic_of_nothing_is_refused() -> None:
    with pytest.raises(ValidationError, match="all of edited, rephrased"):
        TrafficOptions(edited=0, rephrased=0, rendering=0, near=0, far=0)
