"""Periodic history (T-Patcher), and error curves (GRACE, MELO): past edits are asked again and again.

Knows fact tables.
"""

from __future__ import annotations

import polars as pl

from reports.numbers.metrics import panel_rows
from reports.numbers.protocols.scorings import FREE, LIVEEDIT, scored
from reports.numbers.protocols.view import (
    RUN,
    NotHeldError,
    View,
    as_table,
    check_whole,
    means,
    once,
    one_stream,
    replaced,
)
from reports.statistics.curves import curve
from reports.statistics.seeds import of_seeds
from reports.table import Facts

PERIOD = 50
_GENERAL = "stream.general=50 of published files"
KEYS = "keys"
"""The measure that is a count: the entries of the bank."""
TEST = "test"
"""The variant of the general set that was held back from training; all others are of what was learnt from."""


def periodic_history(facts: Facts, every: int = PERIOD) -> View:
    """Return, after every so many edits, T-Patcher's five: ER, SR, GR, TrainR and TestR.

    ER: all past edits, asked then. SR and GR: their questions and rephrases, asked when each was made. TrainR and
    TestR: questions that no edit is about, of what was learnt from and of what was held back, still answered as
    before any edit. Raises `NotHeldError` for runs without panels about all past edits at those steps.
    """
    edits = one_stream(facts, "history")
    last = edits.group_by(RUN).agg(pl.col("made").max().alias("last"))
    steps = last.with_columns(pl.int_ranges(every, pl.col("last") + 1, every).alias("step")).explode("step")
    steps = steps.filter(pl.col("step").is_not_null()).drop("last")
    if steps.is_empty():
        raise NotHeldError(f"history of every {every:,} edits: the runs have fewer. Run with edits={every} or more.")
    asked = once(facts.probed)
    wanted = edits.join(steps, on=RUN).filter(pl.col("made") <= pl.col("step"))
    here = asked.join(wanted.select(*RUN, "edit_id", "step", "made"), on=[*RUN, "edit_id", "step"])
    says = f"Run with panels.every={every} and panels.sample as large as edits."
    check_whole(wanted, here, says, f"after every {every} edits")

    er = _named(scored(here).filter(pl.col("measure") == "Rel"), {"Rel": "ER"})
    at_once = scored(asked.join(edits.select(*RUN, "edit_id", pl.col("made")), on=[*RUN, "edit_id"]).filter(
        pl.col("step") == pl.col("made")
    ))  # fmt: skip
    born = _named(at_once, {"Rel": "SR", "T-Gen": "GR"}).drop("step")
    so_far = born.join(steps, on=RUN).filter(pl.col("made") <= pl.col("step"))
    untouched = asked.join(steps, on=[*RUN, "step"]).filter(pl.col("axis") == "general")
    untouched = untouched.filter(pl.col("scorer") == "generated").with_columns(
        pl.when(pl.col("variant") == TEST).then(pl.lit("TestR")).otherwise(pl.lit("TrainR")).alias("measure"),
        pl.lit(FREE).alias("scoring"),
        pl.lit(0, pl.Int64).alias("made"),
    )
    parts = [part.select(*_KEPT) for part in (er, so_far, untouched)]
    rows = pl.concat(parts).with_columns(
        pl.col("step").alias("cell"), pl.lit("").alias("part"), pl.col("made").alias("order")
    )
    names = set(rows["measure"].unique())
    gone = len(replaced(here))
    notes = [f"{gone:,} times a past edit had been replaced: left out of ER"] if gone else []
    missing = {
        "SR": "no edit was asked as soon as it was made (panels.instant)",
        "GR": "rephrases were not asked as soon as an edit was made (panels.instant, panels.instant_axes)",
        "TrainR": f"the stream has no untouched questions that were learnt from ({_GENERAL})",
        "TestR": f"the stream has no untouched questions that were held back ({_GENERAL})",
    }
    notes += [f"{name} is not held: {why}" for name, why in missing.items() if name not in names]
    return View("history", means(rows.filter(pl.col("scoring").is_in([LIVEEDIT, FREE]))), tuple(notes))


_KEPT = ("editor", "seed", "step", "edit_id", "probe_id", "score", "measure", "scoring", "made")


def _named(rows: pl.DataFrame, names: dict[str, str]) -> pl.DataFrame:
    return rows.filter(pl.col("measure").is_in(list(names))).with_columns(pl.col("measure").replace(names))


def error_curves(facts: Facts) -> View:
    """Return GRACE's and MELO's curves at every panel: ERR, TRR, keys and conflicts.

    ERR: past edits, of a sample by age weighted to all of them. TRR: untouched questions, answered as before any
    edit. Keys: entries of the bank. Conflicts: the share of past edits whose own question another edit's key answers.
    """
    one_stream(facts, "curves")
    rows = panel_rows(facts.probed, facts.gauged)
    past = _named(scored(rows), {"Rel": "ERR"}).filter(pl.col("scoring").is_in([LIVEEDIT, FREE]))
    if past.is_empty():
        raise NotHeldError("curves: no panel asked about past edits. Run with panels.every=200.")
    general = rows.filter((pl.col("axis") == "general") & (pl.col("scorer") == "generated"))
    general = general.with_columns(pl.lit("TRR").alias("measure"), pl.lit(FREE).alias("scoring"))
    has_bank = facts.gauged.group_by("editor").agg(pl.col("bank_len").max().alias("most")).filter(pl.col("most") > 0)
    own = past.filter(pl.col("scoring") == FREE).join(has_bank, on="editor", how="semi")
    elsewhere = ((pl.col("routed_n") > 0) & ~pl.col("routed_home")).cast(pl.Float64)
    own = own.with_columns(
        pl.lit("conflicts").alias("measure"), elsewhere.alias("score"), pl.lit("").alias("scoring")
    )
    shares = pl.concat([part.select(past.columns) for part in (past, general, own)])
    keys = ["editor", "step", "measure", "scoring"]
    found = curve(shares, keys).select(*keys, "mean", "low", "high", "n", "edits", "seeds")
    table = pl.concat([found, _keys(facts.gauged, has_bank, keys)])
    table = table.rename({"step": "cell"}).with_columns(pl.lit("").alias("part"))
    flat = sorted(set(facts.gauged["editor"].unique()) - set(has_bank["editor"]))
    notes = [f"{', '.join(flat)}: it keeps no keys, so there are neither keys nor conflicts"] if flat else []
    notes += [f"TRR is not held: the stream has no untouched questions ({_GENERAL})"] if general.is_empty() else []
    sampled = curve(past, ["editor", "step"]).filter("sampled")
    notes += ["panels asked about a sample by age: each edit counts for those it stands for"] if len(sampled) else []
    return View("curves", as_table(table), tuple(notes))


def _keys(gauged: pl.DataFrame, has_bank: pl.DataFrame, keys: list[str]) -> pl.DataFrame:
    """Return the size of the bank at every panel, over seeds."""
    rows = []
    mine = gauged.join(has_bank, on="editor", how="semi").sort("editor", "step", "seed")
    for (editor, step), part in mine.group_by("editor", "step", maintain_order=True):
        found = of_seeds([float(size) for size in part["bank_len"]], len(part))
        ends = (found.get("low"), found.get("high"))
        rows.append((editor, step, KEYS, "", found["mean"], *ends, found["n"], int(found["mean"]), len(part)))
    names = [*keys, "mean", "low", "high", "n", "edits", "seeds"]
    kinds = [pl.String, pl.Int64, pl.String, pl.String, *[pl.Float64] * 3, pl.UInt32, pl.UInt32, pl.Int64]
    return pl.DataFrame(rows, schema=dict(zip(names, kinds, strict=True)), orient="row")
