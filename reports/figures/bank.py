"""The figure of a bank's stress: seconds of a search and bytes against entries, with their budgets and the law.

Knows the plain record of a search; reads and writes no files.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np
import polars as pl

from reports.figures import style
from reports.figures.style import Drawn


def bank(found: Mapping[str, Any]) -> Drawn:
    """Draw p50 and p99 of a search, the line that a flat bank should follow, and bytes, against entries."""
    table = pl.DataFrame(found["sizes"])
    figure, (left, right) = style.grid(2, columns=2, width=4.6, height=3.5)
    x = table["entries"].to_numpy()
    for column, colour, mark in (("p50_s", "#0072B2", "o"), ("p99_s", "#D55E00", "s")):
        left.plot(x, table[column] * 1e3, mark, color=colour, markersize=4, linestyle="-", label=column[:3])
    left.fill_between(
        x, table["p99_low_s"] * 1e3, table["p99_high_s"] * 1e3, color="#D55E00", alpha=0.15, linewidth=0
    )
    law = found["law"]
    if law:
        line = law["fixed_s"] + law["per_entry_s"] * x
        left.plot(x, line * 1e3, color="#000000", linewidth=0.9, linestyle=":", label="fixed + per entry (p50)")
    left.axhline(found["p99_s"] * 1e3, color="#000000", linewidth=0.9, linestyle="--", label="budget")
    left.set_ylabel(f"{found['clock']} time of a search (ms)")
    right.plot(x, table["bytes"] / 2**20, "^-", color="#009E73", markersize=4, label="keys")
    right.plot(
        x, np.maximum(table["process_bytes"] / 2**20, 1e-3), "v-", color="#CC79A7", markersize=4, label="process"
    )
    right.axhline(found["bytes"] / 2**20, color="#000000", linewidth=0.9, linestyle="--", label="budget")
    right.set_ylabel("memory (MiB)")
    for ax in (left, right):
        style.log_axis(ax.xaxis)
        style.log_axis(ax.yaxis)
        ax.set_xlabel("bank size (entries)")
    style.legend(figure, (left, right))
    caption = (
        f"A bank ({found['index']}) of {found['width']} numbers a key, searched for the {found['k']} nearest, one "
        "query at a time, uncached; shaded: 95 % of the p99. "
        + (f"Dotted: the line of a flat bank nearest to p50, at most {law['off']:.0%} off. " if law else "")
        + "Process: by how much it grew since the bank was empty."
    )
    return Drawn("bank", "Bank size until a budget breaks", caption, figure, table)


def bank_lines(found: Mapping[str, Any]) -> list[str]:
    """Return the table, and in words which budget broke and where the law expects it."""
    out = [
        f"{'entries':>9}  {'p50 ms':>8}  {'p99 ms':>8}  {'95 %':>18}  {'MiB':>8}  {'process MiB':>11}  {'recall':>6}"
    ]
    for s in found["sizes"]:
        band = f"[{s['p99_low_s'] * 1e3:.3f}, {s['p99_high_s'] * 1e3:.3f}]"
        sizes = f"{s['bytes'] / 2**20:>8.1f}  {s['process_bytes'] / 2**20:>11.1f}  {s['recall']:>6.3f}"
        out.append(f"{s['entries']:>9}  {s['p50_s'] * 1e3:>8.3f}  {s['p99_s'] * 1e3:>8.3f}  {band:>18}  {sizes}")
    broke = " and ".join(found["broke"]) or "no budget"
    kept = f"the largest size tried that keeps both budgets: {found['entries']:,} entries of width {found['width']}"
    out.append(f"{broke} broke; {kept}")
    if found["unsure"]:
        better = "more --searches" if found["clock"] == "cpu" else "--cpu, which counts the thread's own seconds"
        sizes = ", ".join(f"{n:,}" for n in found["unsure"])
        out.append(f"cannot tell of {sizes} entries: the budget of p99 lies within its 95 %; try {better}")
    return [*out, _law_said(found)]


def _law_said(found: Mapping[str, Any]) -> str:
    """Return the line of a flat bank and where it expects budgets to break, or why there is none."""
    law = found["law"]
    if not law:
        return f"{found['index']}, {found['clock']} time: too few sizes for a line ({len(found['sizes'])} of 3)"
    line = f"{law['fixed_s'] * 1e6:.1f} us + {law['per_entry_s'] * 1e9:.2f} ns an entry (p50)"
    expected = ", ".join(f"{name} at {size:,.0f}" for name, size in found["expected"].items() if size is not None)
    return (
        f"{found['index']}, {found['clock']} time, against the line of a flat bank: {line}, at most "
        f"{law['off']:.0%} off; by it budgets break here: {expected} entries"
    )
