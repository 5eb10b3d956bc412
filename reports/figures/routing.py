"""The picture of `bench routing`: recall against latency of every index, a panel for each number of keys."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from reports.figures.looks import in_order
from reports.figures.style import grid, log_axis, save

TARGET_MS, TARGET_RECALL = 1.0, 0.99


def draw_frontier(rows: Sequence[Mapping[str, Any]], target: str | Path) -> Path:
    """Draw the rows about the frontier as one picture and return its path; raises `ValueError` without any."""
    rows = [row for row in rows if row["what"] == "frontier"]
    if not rows:
        raise ValueError("no row is about the frontier: measure that part first (--part frontier).")
    sizes = sorted({row["n"] for row in rows})
    looks = in_order(list(dict.fromkeys(row["index"] for row in rows)))
    figure, axes = grid(len(sizes), columns=3)
    for ax, n in zip(axes, sizes, strict=True):
        here = [row for row in rows if row["n"] == n]
        for index in dict.fromkeys(row["index"] for row in here):
            points = sorted((row["wall_p50_s"] * 1e3, row["recall_at_1"]) for row in here if row["index"] == index)
            ax.plot(*zip(*points, strict=True), label=index, linewidth=1.1, **looks[index].line())
        log_axis(ax.xaxis)
        ax.axvline(TARGET_MS, color="#888888", linewidth=0.8, linestyle=":")
        ax.axhline(TARGET_RECALL, color="#888888", linewidth=0.8, linestyle=":")
        mixed = here[0].get("mixed", 0)
        ax.set_title(f"{n:,} keys" + (f" ({mixed:,} mixed)" if mixed else " (all states)"), fontsize=9)
        ax.set_xlabel("one query, wall p50 (ms)")
        ax.set_ylabel("recall@1")
    axes[0].legend(frameon=False, fontsize=8)
    return save(figure, target)
