"""Gap (VLKEB): after edit i, edit i - gap is asked on every metric. Immediate (EasyEdit, UniKE's code): a gap of 0.

And compositional reliability (MemEIC): the same of pairs of a visual and a textual edit. Knows fact tables.
"""

from __future__ import annotations

from collections.abc import Sequence

import polars as pl

from reports.numbers.protocols.scorings import scored, unasked
from reports.numbers.protocols.view import (
    RUN,
    NotHeldError,
    View,
    check_measures,
    check_whole,
    in_words,
    means,
    once,
    one_stream,
    replaced,
)
from reports.table import Facts

GAPS = (0, 10, 20, 50, 100)
_PAIR = 2  # edits of a record of MemEIC: what a picture shows, and a fact about it


def immediate(facts: Facts) -> View:
    """Return what every edit scores as soon as it is made; past edits are not asked again.

    Raises `NotHeldError` for runs that put the model back, or did not ask all about an edit at once.
    """
    rows, notes = _rows(facts, [(0, 0)], "immediate")
    return View("immediate", means(rows), notes)


def gap(facts: Facts, gaps: Sequence[int] = GAPS) -> View:
    """Return what an edit scores when so many more were made after it, over all edits that are followed by as many.

    Raises `NotHeldError` for runs that put the model back, or did not ask about each edit at each gap.
    """
    rows, notes = _rows(facts, [(one, one) for one in gaps], "gap")
    return View("gap", means(rows), notes)


def compositional(facts: Facts, gaps: Sequence[int] = GAPS) -> View:
    """Return what visual edits, textual edits and questions that need both score, a gap of so many pairs later.

    A pair is two edits, the visual one first. `part` tells the two apart; questions that need both belong to the
    textual edit. Raises `NotHeldError` as `gap` does, and for a stream that asks no such question.
    """
    if facts.probed.filter(pl.col("axis") == "compositional").is_empty():
        raise NotHeldError(
            "no question needs two edits (axis compositional). Run with stream=cckeb, or stream=atlas with "
            "stream.order=pairs."
        )
    edits = one_stream(facts, "compositional")
    if int(edits["batch_len"].max() or 1) > 1:  # pyright: ignore[reportArgumentType]
        raise NotHeldError("a pair is two edits, one after the other, and some were made together. Run with batch=1.")
    both = facts.probed.filter(pl.col("axis") == "compositional").join(edits, on=[*RUN, "edit_id"])
    if not both.filter(pl.col("made") % _PAIR == 1).is_empty():
        raise NotHeldError(
            "a question that needs two edits belongs to the first one of a pair: the stream is not in the order of "
            "its file. Run with stream.order=file, and let no record be left out."
        )
    visual = edits.filter(pl.col("made") % _PAIR == 1).select(*RUN, "edit_id")
    rows, notes = _rows(facts, [(one, one * _PAIR) for one in gaps], "compositional", visual)
    is_visual = pl.struct(*RUN, "edit_id").is_in(visual.select(pl.struct(*RUN, "edit_id")).to_series().implode())
    parts = rows.with_columns(pl.when(is_visual).then(pl.lit("visual")).otherwise(pl.lit("textual")).alias("part"))
    return View("compositional", means(parts), notes)


def _rows(
    facts: Facts, gaps: Sequence[tuple[int, int]], protocol: str, a_step_later: pl.DataFrame | None = None
) -> tuple[pl.DataFrame, tuple[str, ...]]:
    """Return the scored rows of every gap and notes; `gaps` are what a gap is called, and in how many edits.

    Edits `a_step_later` are asked one edit later than others: their pair is made whole by the next one.
    """
    edits = one_stream(facts, protocol).with_columns(pl.lit(0).alias("later"))
    if a_step_later is not None:
        one = a_step_later.with_columns(pl.lit(1).alias("more"))
        edits = edits.join(one, on=[*RUN, "edit_id"], how="left").with_columns(
            pl.col("more").fill_null(0).alias("later")
        )
    last = edits.group_by(RUN).agg(pl.col("made").max().alias("last"))
    asked = once(facts.probed).filter(pl.col("edit_id") != "")
    found, notes, gone = [], [], 0
    for name, edits_later in gaps:
        if edits_later < 0:
            raise NotHeldError(f"a gap of {name}: expected 0 or more.")
        wanted = edits.join(last, on=RUN).with_columns((pl.col("made") + edits_later + pl.col("later")).alias("step"))
        wanted = wanted.filter(pl.col("step") <= pl.col("last"))
        if wanted.is_empty():
            raise NotHeldError(f"no edit is followed by {edits_later:,} others: the runs have fewer edits.")
        here = asked.join(wanted.select(*RUN, "edit_id", "step", "made"), on=[*RUN, "edit_id", "step"])
        ages = sorted({edits_later, edits_later + int(edits["later"].max() or 0)} - {0})  # pyright: ignore[reportArgumentType]
        option = f"panels.gaps={','.join(map(str, ages))}" if ages else "panels.instant=true"
        says = f"Run with {option} and without panels.instant_axes, editing one at a time (batch=1)."
        at = f"{edits_later:,} edits later" if edits_later else "as soon as they were made"
        check_whole(wanted, here, says, at)
        counted = scored(here)
        left = replaced(here)
        known = scored(asked.join(wanted.select(*RUN, "edit_id"), on=[*RUN, "edit_id"], how="semi"))
        check_measures(known.join(left, on=[*RUN, "edit_id"], how="anti"), counted, says, at)
        gone += len(left)
        found.append(counted.with_columns(pl.lit(name).alias("cell")))
    rows = pl.concat(found).with_columns(pl.lit("").alias("part"), pl.col("made").alias("order"))
    notes += [f"{gone:,} times an edit had been replaced by then: left out"] if gone else []
    notes += [f"the stream does not ask {in_words(unasked(rows))}"] if unasked(rows) else []
    return rows, tuple(notes)
