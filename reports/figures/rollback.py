"""The rollback figure: is an edit that was taken back gone, and what does taking back cost.

Knows fact tables, metrics' intervals and style; reads and writes no files. A probe of a withdrawn edit is scored by
agreement with the frozen model's own answer.
"""

from __future__ import annotations

import polars as pl

from reports.figures import style
from reports.figures.looks import palette
from reports.figures.style import Drawn
from reports.numbers.metrics import panels_of
from reports.statistics.curves import curve
from reports.table import Facts

_WITHDRAWN = "withdrawn"
_SCORER = "generated"


def happened(facts: Facts) -> bool:
    """Whether any run took an edit back, or was asked to."""
    return not facts.withdrawals.is_empty()


def rollback(facts: Facts) -> Drawn:
    """Draw withdrawn edits' agreement with the frozen model by step, and a withdrawal's milliseconds by bank size."""
    looks = palette(facts.editors, facts.origins)
    back = panels_of(facts)
    back = back.filter((pl.col("variant") == _WITHDRAWN) & (pl.col("scorer") == _SCORER))
    agree = curve(back, ("editor", "axis", "step")).rename({"mean": "agreement"})
    agree = agree.drop("low", "high", "seeds", "sampled")
    together = curve(back, ("editor", "step"))  # all axes
    taken = facts.withdrawals.filter(pl.col("value") == 1)  # a refusal is timed too, and is no cost of taking back
    cost = facts.timed.filter(pl.col("operation") == "remove").join(taken, on=["editor", "seed", "step"], how="semi")
    cost = cost.select("editor", "step", "bank_len", (pl.col("wall_s") * 1e3).alias("remove_ms"))
    figure, (shares, costs) = style.grid(2, columns=2, width=4.4, height=3.2)
    for editor, look in style.each(looks, shares, costs):
        mine = together.filter(pl.col("editor") == editor)
        if mine.height:
            shares.plot(mine["step"], mine["mean"], **look.line(), linewidth=1.3, label=style.named(editor))
            shares.fill_between(mine["step"], mine["low"], mine["high"], color=look.colour, alpha=0.12, linewidth=0)
        spent = cost.filter(pl.col("editor") == editor)
        if spent.height:
            costs.plot(
                spent["bank_len"], spent["remove_ms"], ".", color=look.colour, markersize=3, label=style.named(editor)
            )
    style.score_axis(shares, "agreement with the frozen model")
    style.edits_axis(shares, int(facts.gauged["step"].max() or 0))  # pyright: ignore[reportArgumentType]
    shares.set_title("probes of withdrawn edits", fontsize=10)
    costs.set_title("taking one back", fontsize=10)
    costs.set_xlabel("entries in the bank")
    costs.set_ylabel("measured time (ms)")
    if not cost.is_empty():
        style.log_axis(costs.yaxis)
    style.legend(figure, (shares, costs))
    # What was not taken back is said in words.
    refused = facts.withdrawals.filter(pl.col("value") == 0).group_by("editor").len().sort("editor")
    words = ", ".join(f"{r['editor']} {r['len']}" for r in refused.iter_rows(named=True)) or "none"
    caption = (
        "1 on the left: every probe of an edit that was taken back is answered as before it was made; bands are "
        f"those of the curves. {len(facts.withdrawals)} withdrawals were asked for; not taken back, as the editor "
        f"cannot or the edit was not there: {words}."
    )
    table = pl.concat([agree, cost], how="diagonal").sort("editor", "step")
    n = f"n = {len(back):,} answers about withdrawn edits, {len(cost):,} withdrawals that were timed"
    return Drawn("rollback", "Is an edit gone when it is taken back?", caption, figure, table, n)
