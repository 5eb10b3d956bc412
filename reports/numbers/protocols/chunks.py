"""End-of-chunk (LiveEdit, UniKE, WISE): N edits, then all of them asked of the final model, which is then put back.

And cross-task (UniKE): the same of chunks that are half of one kind of edits and half of another. Knows fact tables.
"""

from __future__ import annotations

import polars as pl

from reports.numbers.protocols.scorings import scored, unasked
from reports.numbers.protocols.view import (
    RUN,
    NotHeldError,
    View,
    check_measures,
    check_whole,
    clusters_of,
    in_words,
    made,
    means,
    once,
    replaced,
)
from reports.table import Facts

CROSS_TASK_CHUNK = 10


def end_of_chunk(facts: Facts, size: int) -> View:
    """Return what all edits of a chunk score after its last one, over the disjoint chunks of so many edits.

    A chunk begins where the model is unedited: at the stream's beginning, and after every time that it was put back.
    One that is not full is dropped. Raises `NotHeldError` for a run without such a chunk, or where a chunk's end was
    not asked about.
    """
    rows, _, notes = _rows(facts, size)
    return View("end-of-chunk", means(rows, _cluster(rows)), notes)


def cross_task(facts: Facts, size: int = CROSS_TASK_CHUNK) -> View:
    """Return the mixed average over chunks that hold as many edits of each part of a mixed stream, and each part's.

    Raises `NotHeldError` as `end_of_chunk` does, and for chunks that are not mixed so.
    """
    rows, chosen, notes = _rows(facts, size)
    told = facts.told.select(*RUN, "edit_id", pl.col("source").str.split("/").list.first().alias("of"))
    rows = rows.join(told, on=[*RUN, "edit_id"], how="left")
    edits = chosen.join(told, on=[*RUN, "edit_id"], how="left")  # also those that were replaced since
    counts = edits.group_by(*RUN, "chunk").agg(
        pl.col("of").n_unique().alias("kinds"), pl.col("of").value_counts().struct.field("count").min().alias("least")
    )
    uneven = counts.filter((pl.col("kinds") < 2) | (pl.col("least") * pl.col("kinds") != size)).sort(*RUN, "chunk")
    if not uneven.is_empty():
        editor, seed, chunk = uneven.select(*RUN, "chunk").row(0)
        raise NotHeldError(
            f"{editor}, seed {seed}: the chunk after step {chunk:,} does not hold as many edits of each of two kinds "
            f"({size} in all). Run with stream=mixed, stream.pattern=5,5 and restore_every={size}."
        )
    parts = pl.concat([rows, rows.with_columns(pl.col("of").alias("part"))])
    return View("cross-task", means(parts, _cluster(rows)), notes)


def _cluster(rows: pl.DataFrame) -> str:
    fewest = rows.group_by(RUN).agg(pl.col("chunk").n_unique().alias("chunks"))["chunks"].min()
    return clusters_of(int(fewest or 0))  # pyright: ignore[reportArgumentType]


def _rows(facts: Facts, size: int) -> tuple[pl.DataFrame, pl.DataFrame, tuple[str, ...]]:
    """Return the scored rows at the ends of full chunks, the edits of these, and what was left out, in words."""
    if size < 1:
        raise NotHeldError(f"a chunk of {size} edits: expected at least 1.")
    edits = made(facts)
    full = edits.filter(pl.col("end") - pl.col("start") >= size)
    for run in edits.select(RUN).unique().sort(RUN).rows():
        if (pl.DataFrame([run], schema=full.select(RUN).schema, orient="row")).join(full, on=RUN).is_empty():
            longest = edits.filter((pl.col("editor") == run[0]) & (pl.col("seed") == run[1]))
            most = (longest["end"] - longest["start"]).max()
            raise NotHeldError(
                f"{run[0]}, seed {run[1]}: it has no chunk of {size:,} edits (its longest has {most:,}). Run with "
                f"restore_every={size} and edits={size} or more."
            )
    wanted = full.filter(pl.col("made") <= pl.col("start") + size)
    wanted = wanted.with_columns((pl.col("start") + size).alias("step"), pl.col("start").alias("chunk"))
    rows = once(facts.probed).filter(pl.col("edit_id") != "")
    here = rows.join(wanted.select(*RUN, "edit_id", "step", "made", "chunk"), on=[*RUN, "edit_id", "step"])
    says = f"Run with restore_every={size}: its panels ask about all edits of a chunk."
    check_whole(wanted, here, says, f"at the end of their chunk of {size}")
    gone = replaced(here)
    found = scored(here)
    known = scored(rows.join(wanted.select(*RUN, "edit_id"), on=[*RUN, "edit_id"], how="semi"))
    known = known.join(gone, on=[*RUN, "edit_id"], how="anti")
    check_measures(known, found, says, f"at the end of a chunk of {size}")

    chunks = wanted.select(*RUN, "chunk").n_unique()
    notes = [f"{chunks:,} chunk{'s' * (chunks > 1)} of {size:,} edits"]
    dropped = len(edits) - len(wanted)
    notes += [f"{dropped:,} edits lie in no full chunk of this size, and are left out"] if dropped else []
    notes += [f"{len(gone):,} edits were replaced within their chunk, and are left out"] if len(gone) else []
    notes += [f"the stream does not ask {in_words(unasked(found))}"] if unasked(found) else []
    cells = (pl.lit(size).alias("cell"), pl.lit("").alias("part"), pl.col("made").alias("order"))
    return found.with_columns(cells), wanted, tuple(notes)
