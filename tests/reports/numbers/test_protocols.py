"""Protocols on logs that nobody ran: every number was worked out by hand, and each log lacks what its error names."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import polars as pl
import pytest
from facts_by_hand import log_of, probed

from lifelong.log.facts import Probed, schema_of
from reports.numbers.protocols.chunks import cross_task, end_of_chunk
from reports.numbers.protocols.gaps import compositional, gap, immediate
from reports.numbers.protocols.history import error_curves, periodic_history
from reports.numbers.protocols.scorings import SCORINGS
from reports.numbers.protocols.view import NotHeldError, View


def told(view: View, scoring: str = "LiveEdit", part: str = "") -> dict[tuple[int, str], Any]:
    rows = view.table.filter((pl.col("scoring").is_in([scoring, ""])) & (pl.col("part") == part))
    return {(r["cell"], r["measure"]): pytest.approx(r["mean"]) for r in rows.iter_rows(named=True)}


def counts(view: View, measure: str, cell: int) -> tuple[int, int, int]:
    row = view.table.filter((pl.col("measure") == measure) & (pl.col("cell") == cell)).row(0, named=True)
    return row["n"], row["edits"], row["seeds"]


# Seven edits in chunks of three: e1-e3, e4-e6, and e7, which is in no full one.
CHUNKED = [(3, 1, "rel", 1.0), (3, 2, "rel", 0.0), (3, 3, "rel", 1.0),
           (6, 4, "rel", 0.5), (6, 5, "rel", 1.0), (6, 6, "rel", 1.0),
           *((n, n, "rel", 1.0) for n in range(1, 8)), (3, 1, "t-loc", 1.0), (6, 4, "t-loc", 0.0)]  # fmt: skip


def test_a_chunk_is_scored_after_its_last_edit_and_an_incomplete_one_is_dropped() -> None:
    view = end_of_chunk(log_of(CHUNKED, 7, back=(3, 6)), 3)
    # (1 + 0 + 1 + 0.5 + 1 + 1) / 6; T-Loc of e1 and e4: (1 + 0) / 2; what was asked at once is not counted.
    assert told(view) == {(3, "Rel"): 4.5 / 6, (3, "T-Loc"): 0.5}
    assert told(view, "MMEdit") == {(3, "Rel"): 4 / 6, (3, "T-Loc"): 0.5}, "half of an answer's tokens is no answer"
    assert counts(view, "Rel", 3) == (6, 6, 1)
    low, mean, high = view.table.filter(pl.col("measure") == "Rel").select("low", "mean", "high").row(0)
    assert 0 <= low < mean < high <= 1
    assert view.notes[:2] == ("2 chunks of 3 edits", "1 edits lie in no full chunk of this size, and are left out")


def test_the_beginning_of_a_stream_that_was_never_put_back_is_its_first_chunk() -> None:
    facts = log_of([a for a in CHUNKED if a[2] == "rel"], 7)
    assert told(end_of_chunk(facts, 3)) == {(3, "Rel"): 2 / 3} and told(end_of_chunk(facts, 1)) == {(1, "Rel"): 1.0}


def test_chunks_of_one_are_single_edits() -> None:
    facts = log_of([(n, n, "rel", float(n != 2)) for n in (1, 2, 3)], 3, back=(1, 2))
    assert told(end_of_chunk(facts, 1)) == {(1, "Rel"): 2 / 3} and counts(end_of_chunk(facts, 1), "Rel", 1) == (
        3,
        3,
        1,
    )


def test_an_edit_that_was_replaced_in_its_chunk_is_left_out_and_said() -> None:
    answers = [(3, 1, "gone", 1.0), (3, 2, "rel", 0.0), (3, 3, "rel", 1.0), (1, 1, "rel", 1.0), (1, 1, "t-gen", 1.0)]
    view = end_of_chunk(log_of(answers, 3), 3)
    assert (
        told(view) == {(3, "Rel"): 0.5} and "1 edits were replaced within their chunk, and are left out" in view.notes
    )


def test_from_five_chunks_on_chunks_are_what_varies() -> None:
    """Ten edits in five chunks, right or wrong together: as uncertain as five answers, not as ten."""
    scores = [1.0, 0.0, 1.0, 0.0, 1.0]
    answers = [(2 * c + 2, 2 * c + n, "rel", score) for c, score in enumerate(scores) for n in (1, 2)]
    in_pairs = end_of_chunk(log_of(answers, 10, back=(2, 4, 6, 8)), 2).table.filter(pl.col("scoring") == "LiveEdit")
    singles = [(n, n, "rel", scores[n - 1]) for n in range(1, 6)]
    alone = end_of_chunk(log_of(singles, 5, back=(1, 2, 3, 4)), 1).table.filter(pl.col("scoring") == "LiveEdit")
    ends = ["mean", "low", "high"]
    assert in_pairs.select(ends).row(0) == pytest.approx(alone.select(ends).row(0))
    assert (in_pairs["n"][0], alone["n"][0]) == (10, 5)


def test_the_scorings_are_those_of_the_papers() -> None:
    outside = [Probed(1, 0.0, "m", "e1", 0, "locality", "far", "image", "generic", scorer, score) for scorer, score in
               (("teacher_forced", 0.9), ("locality_top1_answer", 0.8), ("locality_top1_all", 0.7),
                ("locality_top10_all", 0.6), ("generated", 0.0))]  # fmt: skip
    textual = [replace(f, probe_id="t", modality="text", variant="text") for f in outside]
    inside = probed(1, 1, "rel", 0.75, ["teacher_forced"]) + probed(1, 1, "rel", 1.0, ["generated"])
    view = immediate(log_of([inside, outside, textual], 1))
    found = {s: [told(view, s)[0, m] for m in ("Rel", "T-Loc", "M-Loc")] for s in SCORINGS}
    assert found == {"LiveEdit": [0.75, 0.8, 0.8], "VLKEB": [0.75, 0.7, 0.6], "MMEdit": [0.0, 0.7, 0.6],
                     "free": [1.0, 0.0, 0.0]}  # fmt: skip


def test_hard_locality_is_none_of_the_papers_and_hops_have_columns_of_their_own() -> None:
    answers = [
        (1, 1, "rel", 1.0),
        (1, 1, "near", 0.0),
        (1, 1, "m-loc", 1.0),
        (1, 1, "port", 0.5),
        (1, 1, "2-hop", 0.0),
    ]
    assert told(immediate(log_of(answers, 1))) == {
        (0, "Rel"): 1,
        (0, "M-Loc"): 1,
        (0, "Port"): 0.5,
        (0, "2-hop"): 0,
    }


def test_specificity_is_the_mean_of_an_edits_two_halves() -> None:
    answers = [(1, 1, "rel", 1.0), (1, 1, "in", 1.0), (1, 1, "out", 0.5), (2, 2, "rel", 1.0), (2, 2, "in", 0.0)]
    # e1: (1 + 0.5) / 2; e2 was asked one half only and has no specificity, but counts for "Spec in": (1 + 0) / 2.
    view = told(end_of_chunk(log_of(answers, 2, back=(1,)), 1))
    assert (view[1, "Spec"], view[1, "Spec in"], view[1, "Spec out"]) == (0.75, 0.5, 0.5)


def test_immediate_counts_what_was_asked_at_once_and_nothing_later() -> None:
    answers = [(1, 1, "rel", 1.0), (2, 1, "rel", 0.0), (2, 2, "rel", 0.0), (1, 1, "m-gen", 1.0), (2, 2, "m-gen", 0.5)]
    view = immediate(log_of(answers, 2))
    assert told(view) == {(0, "Rel"): 0.5, (0, "M-Gen"): 0.75}
    assert view.notes == ("the stream does not ask T-Gen, T-Loc and M-Loc",)


def test_a_gap_asks_the_edit_so_many_edits_back() -> None:
    at_once = [(n, n, "rel", 1.0) for n in range(1, 5)]
    later = [(n + 2, n, "rel", score) for n, score in ((1, 1.0), (2, 0.0))]
    view = gap(log_of([*at_once, *later, (4, 1, "rel", 0.0)], 4), [0, 2])
    assert told(view) == {(0, "Rel"): 1.0, (2, "Rel"): 0.5} and counts(view, "Rel", 2) == (2, 2, 1)


def test_pairs_are_asked_when_the_textual_edit_after_the_gap_is_made() -> None:
    # Pairs (e1, e2) and (e3, e4); a gap of one pair asks e1 and e2 at step 4.
    answers = [(2, 1, "rel", 1.0), (2, 2, "rel", 1.0), (2, 2, "comp", 1.0), (4, 3, "rel", 0.0), (4, 4, "rel", 1.0),
               (4, 4, "comp", 0.0), (4, 1, "rel", 0.5), (4, 2, "rel", 1.0), (4, 2, "comp", 0.0)]  # fmt: skip
    view = compositional(log_of(answers, 4), [0, 1])
    assert told(view, part="visual") == {(0, "Rel"): 0.5, (1, "Rel"): 0.5}
    assert told(view, part="textual") == {(0, "Rel"): 1, (0, "Comp"): 0.5, (1, "Rel"): 1, (1, "Comp"): 0}


def test_a_mixed_average_counts_both_kinds_alike() -> None:
    answers = [(4, n, "rel", float(n < 4)) for n in range(1, 5)]
    facts = log_of(answers, 4, sources={1: "evqa", 2: "evqa", 3: "eic", 4: "eic/x"})
    view = cross_task(facts, 4)
    assert told(view) == {(4, "Rel"): 0.75}
    assert told(view, part="evqa") == {(4, "Rel"): 1.0} and told(view, part="eic") == {(4, "Rel"): 0.5}
    replaced = [(4, 1, "gone", 1.0), *answers[1:]]
    assert told(cross_task(log_of(replaced, 4, sources={1: "a", 2: "a", 3: "b", 4: "b"}), 4)) == {(4, "Rel"): 2 / 3}
    with pytest.raises(NotHeldError, match="stream=mixed"):
        cross_task(log_of(answers, 4, sources={1: "evqa", 2: "evqa", 3: "evqa", 4: "eic"}), 4)
    with pytest.raises(NotHeldError, match="stream=mixed"):
        cross_task(log_of(answers, 4), 4)


def test_history_asks_every_past_edit_and_untouched_questions_after_each_period() -> None:
    answers = [*((n, n, "rel", 1.0) for n in range(1, 5)), (3, 3, "t-gen", 0.0), (1, 1, "t-gen", 1.0)]
    answers += [(2, 1, "rel", 0.0), (4, 1, "rel", 0.0), (4, 2, "rel", 0.0), (4, 3, "rel", 1.0)]
    answers += [(2, 0, "learnt", 1.0), (4, 0, "learnt", 0.0), (4, 0, "held", 1.0)]
    view = periodic_history(log_of(answers, 5, banks={5: 0.0}), 2)
    # After 2 edits e1 is lost (ER 1/2); after 4 two of four are.
    found = told(view)
    assert (found[2, "ER"], found[4, "ER"], found[2, "SR"], found[4, "SR"]) == (0.5, 0.5, 1.0, 1.0)
    assert (found[2, "GR"], found[4, "GR"]) == (1.0, 0.5)
    free = told(view, "free")
    assert (free[2, "TrainR"], free[4, "TrainR"], free[4, "TestR"]) == (1.0, 0.0, 1.0) and (2, "TestR") not in free


def test_history_says_which_of_its_numbers_are_not_held() -> None:
    view = periodic_history(log_of([(2, 1, "rel", 1.0), (2, 2, "rel", 1.0)], 2), 2)
    assert [note.split()[0] for note in view.notes] == ["GR", "TrainR", "TestR"]


def test_curves_have_errors_tests_keys_and_conflicts() -> None:
    home = {"routed_n": 1, "routed_home": True}
    asked = ((1, 1, 1.0, home), (2, 1, 0.0, {"routed_n": 1}), (2, 2, 1.0, home))
    answers: list[Any] = [probed(step, edit, "rel", score, (), **route) for step, edit, score, route in asked]
    answers += [(2, 0, "learnt", 1.0), (1, 0, "learnt", 0.0)]
    view = error_curves(log_of(answers, 2, banks={1: 1.0, 2: 5.0}))
    assert {k: v for k, v in told(view).items() if k[0] == 2} == {
        (2, "ERR"): 0.5,
        (2, "keys"): 5.0,
        (2, "conflicts"): 0.5,
    }
    assert told(view, "free")[2, "TRR"] == 1.0 and told(view)[1, "conflicts"] == 0.0
    flat = error_curves(log_of(answers[-2:] + [(2, 1, "rel", 1.0), (2, 2, "rel", 1.0)], 2))
    assert any("keeps no keys" in note for note in flat.notes) and set(flat.table["measure"]) == {"ERR", "TRR"}


ONCE = [(n, n, "rel", 1.0) for n in range(1, 5)]


@pytest.mark.parametrize(
    ("made", "told"),
    [
        (lambda: end_of_chunk(log_of(ONCE, 4), 5), r"no chunk of 5 edits \(.* has 4\)\. Run with restore_every=5"),
        (lambda: end_of_chunk(log_of(ONCE, 4, back=(2,)), 2), r"2 of 4 edits were .*\(steps 2, 4\).*restore_every=2"),
        (lambda: end_of_chunk(log_of([*ONCE, (1, 1, "t-gen", 1.0), (4, 1, "rel", 1.0), (4, 2, "rel", 1.0),
                                   (4, 3, "rel", 1.0)], 4), 4), "T-Gen was not asked at the end of a chunk of 4"),
        (lambda: immediate(log_of(ONCE[1:], 4)), r"1 of 4 edits .*as soon as.*panels\.instant=true"),
        (lambda: immediate(log_of([*ONCE, (4, 1, "m-loc", 1.0)], 4)), r"M-Loc was not asked as.*instant_axes"),
        (lambda: immediate(log_of(ONCE, 4, back=(2,))), r"put its model back .*restore_every.*end-of-chunk"),
        (lambda: gap(log_of([*ONCE, (3, 2, "rel", 1.0)], 4), [1]), r"2 of 3 .*1 edits later \(steps 2, 4\).*gaps=1"),
        (lambda: gap(log_of(ONCE, 4), [9]), "no edit is followed by 9 others"),
        (lambda: gap(log_of([(4, n, "rel", 1.0) for n in (1, 2)], 2, batch=2), [1]), "no edit is followed by 1"),
        (lambda: compositional(log_of(ONCE, 4), [0]), r"no question needs two edits .*stream=cckeb"),
        (lambda: compositional(log_of([*ONCE, (1, 1, "comp", 1.0)], 4), [0]), "stream.order=file"),
        (lambda: compositional(log_of([*ONCE, (2, 2, "comp", 1.0)], 4, batch=2), [0]), "Run with batch=1"),
        (lambda: periodic_history(log_of([*ONCE, (2, 1, "rel", 1.0)], 4), 2), r"after every 2.*panels\.every=2"),
        (lambda: periodic_history(log_of(ONCE, 4), 50), "the runs have fewer. Run with edits=50"),
        (lambda: error_curves(log_of([(1, 1, "rel", 1.0)], 4)), r"no panel asked about past edits.*panels\.every"),
    ],
)  # fmt: skip
def test_what_a_log_does_not_hold_is_said_with_the_option_that_makes_it(made, told: str) -> None:
    with pytest.raises(NotHeldError, match=told) as error:
        made()
    assert "\n" not in str(error.value)


def test_the_columns_of_hand_made_facts_are_those_of_runs() -> None:
    assert {f.name for f in schema_of(Probed)} < set(log_of(ONCE, 4).probed.columns)
