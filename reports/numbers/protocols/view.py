"""What every protocol gives: a table of means, notes in words, and an error that says what a log does not hold.

Knows fact tables and spans of edits on one model; no protocol.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import polars as pl

from reports.numbers.metrics import HOLDS
from reports.statistics.curves import curve
from reports.statistics.seeds import ENOUGH
from reports.table import Facts

RUN = ["editor", "seed"]
VIEW_COLUMNS = ("editor", "cell", "part", "measure", "scoring", "mean", "low", "high", "n", "edits", "seeds")
_EDIT = [*RUN, "edit_id"]
_UNIT = pl.when(pl.col("edit_id") == "").then(pl.col("probe_id")).otherwise(pl.col("edit_id")).alias("unit")


class NotHeldError(ValueError):
    """A log does not hold what a protocol needs; the message names it, and the option of a run that makes it."""


@dataclass(frozen=True)
class View:
    """What a protocol makes of facts: `table` has the columns `VIEW_COLUMNS`, `notes` are sentences about it.

    `cell` is the protocol's number (a chunk's size, a gap, a step), `part` the part of a mixed stream ('': all of
    it). A mean comes with the ends of its 95 % interval, n (questions), and how many edits and seeds they are of.
    """

    protocol: str
    table: pl.DataFrame
    notes: tuple[str, ...] = ()


def once(probed: pl.DataFrame) -> pl.DataFrame:
    """Return every answer once: an edit's instant probe can fall on a panel's step."""
    return probed.unique(subset=[*RUN, "step", "probe_id", "scorer"], keep="last", maintain_order=True)


def made(facts: Facts) -> pl.DataFrame:
    """Return one row an edit: the step at which it was made, and the steps between which its model lived.

    `start` is the step after which the model was put back last before it (0: never), `end` the one after which it is
    put back next, or the stream's end.
    """
    edits = facts.edited.select(*_EDIT, pl.col("step").alias("made"), "batch_len").unique(_EDIT, keep="first")
    back = facts.restored.select(*RUN, "step")
    last = edits.group_by(RUN).agg(pl.col("made").max().alias("last"))
    marks = back.join(edits.select(RUN).unique(), on=RUN, how="semi")
    starts = pl.concat([last.select(*RUN, pl.lit(0, pl.Int64).alias("start")), marks.rename({"step": "start"})])
    spans = starts.unique().sort(*RUN, "start")
    spans = spans.join(last, on=RUN).with_columns(
        pl.col("start").shift(-1).over(RUN).fill_null(pl.col("last")).alias("end")
    )
    found = edits.join(spans.drop("last"), on=RUN)
    found = found.filter((pl.col("made") > pl.col("start")) & (pl.col("made") <= pl.col("end")))
    return found.sort(*RUN, "made", "edit_id")


def one_stream(facts: Facts, protocol: str) -> pl.DataFrame:
    """Return `made` of runs that were never put back; raises `NotHeldError` for one that was."""
    edits = made(facts)
    back = facts.restored.select(RUN).unique().sort(RUN).rows()
    if back:
        raise NotHeldError(
            f"{_run(*back[0])}: it put its model back after every chunk (restore_every), and {protocol} is about one "
            "long stream. Run without restore_every, or ask for the protocol end-of-chunk."
        )
    return edits


def _run(editor: str, seed: int) -> str:
    return f"{editor}, seed {seed}"


def check_whole(wanted: pl.DataFrame, asked: pl.DataFrame, says: str, at: str) -> None:
    """Raise `NotHeldError` unless all wanted edits were asked at their step.

    Both have the columns editor, seed, edit_id and step; `says` is what a run has to be told, `at` how a step is
    called.
    """
    missing = wanted.join(asked.select(*_EDIT, "step").unique(), on=[*_EDIT, "step"], how="anti")
    if missing.is_empty():
        return
    editor, seed = missing.sort(RUN).select(RUN).row(0)
    mine = missing.filter((pl.col("editor") == editor) & (pl.col("seed") == seed))
    steps = mine["step"].unique().sort().to_list()
    shown = ", ".join(f"{step:,}" for step in steps[:5]) + (", ..." if len(steps) > 5 else "")
    of = len(wanted.filter((pl.col("editor") == editor) & (pl.col("seed") == seed)))
    raise NotHeldError(
        f"{_run(editor, seed)}: {len(mine):,} of {of:,} edits were not asked {at} (step{'s' * (len(steps) > 1)} "
        f"{shown}). {says}"
    )


def check_measures(known: pl.DataFrame, here: pl.DataFrame, says: str, at: str) -> None:
    """Raise `NotHeldError` naming measures that edits have elsewhere in the log (`known`), and not where they count.

    Both have editor, seed, edit_id and measure.
    """
    keys = [*_EDIT, "measure"]
    missing = known.select(keys).unique().join(here.select(keys).unique(), on=keys, how="anti")
    if missing.is_empty():
        return
    editor, seed = missing.sort(RUN).select(RUN).row(0)
    names = missing.filter((pl.col("editor") == editor) & (pl.col("seed") == seed))["measure"].unique().sort()
    raise NotHeldError(f"{_run(editor, seed)}: {', '.join(names)} was not asked {at}. {says}")


def standing(rows: pl.DataFrame) -> pl.DataFrame:
    """Return the edits (editor, seed, edit_id, step) whose probes at a step are those of an edit that holds."""
    return rows.filter(HOLDS & (pl.col("axis") == "reliability")).select(*_EDIT, "step").unique()


def replaced(rows: pl.DataFrame) -> pl.DataFrame:
    """Return the edits (editor, seed, edit_id, step) that had been replaced or taken back when they were asked."""
    return rows.filter(~HOLDS).select(*_EDIT, "step").unique()


def means(rows: pl.DataFrame, cluster: str = "edit_id") -> pl.DataFrame:
    """Return a view's table of scored rows: a mean, its interval and n per editor, cell, part, measure and scoring.

    Rows have these columns, and score, edit_id, probe_id, seed and `order` (their edit's place in the stream). What
    varies are `cluster`s, with all their questions together, beside neighbours in the stream; from five seeds on
    seeds do (`reports.statistics.curves`).
    """
    keys = ["editor", "cell", "part", "measure", "scoring"]
    plain = rows.select(
        *keys,
        "seed",
        "score",
        "probe_id",
        "edit_id",
        pl.col(cluster).cast(pl.String).alias("cluster"),
        pl.col("order").alias("age"),
        pl.lit(1.0).alias("weight"),
    )
    if plain.is_empty():
        return pl.DataFrame(schema=_SCHEMA)
    edits = plain.group_by(keys).agg(pl.struct("seed", _UNIT).n_unique().cast(pl.Int64).alias("of"))
    found = curve(plain.with_columns(pl.col("cluster").alias("edit_id")), keys).join(edits, on=keys)
    return as_table(found.with_columns(pl.col("of").alias("edits")))


_SCHEMA = {
    **dict.fromkeys(("editor", "part", "measure", "scoring"), pl.String),
    **dict.fromkeys(("cell", "n", "edits", "seeds"), pl.Int64),
    **dict.fromkeys(("mean", "low", "high"), pl.Float64),
}


def as_table(found: pl.DataFrame) -> pl.DataFrame:
    """Return rows in the columns of a view, each of its type."""
    return found.select(pl.col(name).cast(_SCHEMA[name]) for name in VIEW_COLUMNS)


def clusters_of(chunks: int) -> str:
    """Return what varies where edits share a model chunk by chunk: chunks from five on, else edits.

    Edits of a chunk are right and wrong together; fewer chunks do not tell how others differ.
    """
    return "chunk" if chunks >= ENOUGH else "edit_id"


def in_words(values: Sequence[str]) -> str:
    """Return names in a row for a sentence."""
    return ", ".join(values[:-1]) + (" and " if len(values) > 1 else "") + values[-1] if values else ""
