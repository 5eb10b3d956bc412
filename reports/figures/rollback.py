"""The rollback figure: is an edit that was taken back gone, and what does taking back cost.

Knows fact tables, metrics' intervals and style; reads and writes no files. A probe of a withdrawn edit is scored by
agreement with the frozen model's own answer.
"""

from __future__ import annotations

import polars as pl

from reports.figures import style
from reports.figures.style import Drawn
from reports.numbers.metrics import wilson
from reports.table import Facts

_WITHDRAWN = "withdrawn"
_SCORER = "generated"


def happened(facts: Facts) -> bool:
    """Whether any run took an edit back, or was asked to."""
    return not facts.withdrawals.is_empty()


def rollback(facts: Facts) -> Drawn:
    """Draw withdrawn edits' agreement with the frozen model by step, and a withdrawal's milliseconds by bank size."""
    looks = style.palette(facts.editors)
    back = facts.probed.filter((pl.col("variant") == _WITHDRAWN) & (pl.col("scorer") == _SCORER))
    agree = (
        back.group_by("editor", "axis", "step")
        .agg(pl.col("score").sum().alias("right"), pl.len().alias("n"), pl.col("score").mean().alias("agreement"))
        .sort("editor", "axis", "step")
    )
    taken = facts.withdrawals.filter(pl.col("value") == 1)  # a refusal is timed too, and is no cost of taking back
    cost = facts.timed.filter(pl.col("operation") == "remove").join(taken, on=["editor", "seed", "step"], how="semi")
    cost = cost.select("editor", "step", "bank_len", (pl.col("wall_s") * 1e3).alias("remove_ms"))
    figure, (shares, costs) = style.grid(2, columns=2, width=4.4, height=3.2)
    for editor, look in looks.items():
        mine = _pooled(agree.filter(pl.col("editor") == editor))
        if mine.height:
            low, high = zip(*(wilson(r["right"], r["n"]) for r in mine.iter_rows(named=True)), strict=True)
            shares.plot(mine["step"], mine["agreement"], **look.line(), linewidth=1.3, label=editor)
            shares.fill_between(mine["step"], low, high, color=look.colour, alpha=0.12, linewidth=0)
        spent = cost.filter(pl.col("editor") == editor)
        if spent.height:
            costs.plot(spent["bank_len"], spent["remove_ms"], ".", color=look.colour, markersize=3, label=editor)
    style.score_axis(shares, "agreement with the frozen model")
    style.edits_axis(shares, int(facts.gauged["step"].max() or 0))  # pyright: ignore[reportArgumentType]
    shares.set_title("probes of withdrawn edits", fontsize=10)
    costs.set_title("taking one back", fontsize=10)
    costs.set_xlabel("entries in the bank")
    costs.set_ylabel("measured time (ms)")
    if not cost.is_empty():
        costs.set_yscale("log")
    style.legend(figure, (shares, costs))
    refused = facts.withdrawals.filter(pl.col("value") == 0).group_by("editor").len().sort("editor")
    words = ", ".join(f"{r['editor']} {r['len']}" for r in refused.iter_rows(named=True)) or "none"
    caption = (
        "1 on the left: every probe of an edit that was taken back is answered as before it was made; bands are 95 % "
        f"(Wilson). {len(facts.withdrawals)} withdrawals were asked for; not taken back, as the editor cannot or the "
        f"edit was not there: {words}."
    )
    table = pl.concat([agree.drop("right"), cost], how="diagonal").sort("editor", "step")
    return Drawn("rollback", "Is an edit gone when it is taken back?", caption, figure, table)


def _pooled(agree: pl.DataFrame) -> pl.DataFrame:
    """Return all axes together, by step."""
    return (
        agree.group_by("step")
        .agg(pl.col("right").sum(), pl.col("n").sum())
        .with_columns((pl.col("right") / pl.col("n")).alias("agreement"))
        .sort("step")
    )
