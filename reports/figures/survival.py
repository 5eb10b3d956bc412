"""The survival figure: which share of edits that were right at once is still right at an age, and of how many.

Knows fact tables, the estimators and style; reads and writes no files.
"""

from __future__ import annotations

import math
from itertools import combinations

import numpy as np
import polars as pl
from matplotlib.axes import Axes

from reports.analyses.survival import FEWEST_PAIRS, lifetimes, log_rank, survival_band
from reports.figures import style
from reports.figures.looks import palette
from reports.figures.style import Drawn, not_asked
from reports.statistics.paired import holm
from reports.table import Facts

_MOST_PAIRED = 8  # editors of which all pairs are tested; of more each against the one that keeps most
_LINE = 0.17  # inches of a row of the numbers at risk


def survival(facts: Facts) -> Drawn:
    """Draw survival of edits by age with its band, the numbers at risk below; the table has log-rank tests too."""
    lives = lifetimes(facts.probed)
    name, heading = "survival", "Survival of edits"
    editors = [e for e in facts.editors if e in set(lives["editor"]) and _followed(lives, e)]
    if not editors:
        return not_asked(name, heading, "edit that was asked about at once (panels.instant_axes=reliability), was "
                         "right, and was asked about again", pl.DataFrame())  # fmt: skip
    looks = palette(facts.editors, facts.origins)
    ages = _ages(lives)
    figure, (ax,) = style.grid(1, width=5.4, height=3.4 + _LINE * (len(editors) + 1))
    tables = []
    for editor in editors:
        mine = lives.filter(pl.col("editor") == editor)
        followed = ages[ages <= _end(mine)]
        kept, low, high = survival_band(mine, followed)
        look = looks[editor]
        with style.marks_of(editor, ax):
            line = {"color": look.colour, "linestyle": look.dash, "linewidth": 1.5}
            ax.plot(followed, kept, **line, label=style.named(editor))
            ax.fill_between(followed, low, high, color=look.colour, alpha=0.12, linewidth=0)
        at_risk = [int((mine["left"] >= age).sum()) for age in followed]
        tables.append(
            pl.DataFrame({"editor": [editor] * len(followed), "age": followed, "kept": kept, "low": low, "high": high,
                          "at risk": at_risk})
        )  # fmt: skip
    style.score_axis(ax, "share of edits still right")
    style.log_axis(ax.xaxis)
    ax.set_xlim(0.9, ages[-1] * 1.1)
    ax.set_xlabel("age of the edit (edits made since)")
    _numbers_at_risk(ax, lives, editors)
    style.legend(figure, [ax])
    tests, words = _tests(lives, editors, tables)
    table = pl.concat([*tables, tests], how="diagonal") if tests.height else pl.concat(tables)
    seen = int(np.isfinite(lives["right"].to_numpy()).sum())
    caption = (
        "Of edits that were right as soon as they were visible, the share that was never answered wrongly up to an "
        "age. A panel tells only between which two ages the first wrong answer fell: Turnbull's estimate, which is "
        "Kaplan-Meier's where every age was looked at; an edit that was replaced, taken back or never seen wrong is "
        f"followed to when it was last right. Ages above 20 are rounded by at most 5 %. Bands: 95 % of a bootstrap "
        f"over edits. Below: how many edits were seen right at that age or later. {words}"
    )
    return Drawn(name, heading, caption, figure, table, f"n = {len(lives):,} edits right at once, {seen:,} lost")


def _followed(lives: pl.DataFrame, editor: str) -> bool:
    mine = lives.filter(pl.col("editor") == editor)
    return bool(((mine["left"] > 0) | mine["right"].is_finite()).any())


def _end(lives: pl.DataFrame) -> float:
    """Return the last age at which an editor's edits were asked about."""
    seen = np.concatenate([lives["left"].to_numpy(), lives["right"].to_numpy()])
    return float(seen[np.isfinite(seen)].max())


def _ages(lives: pl.DataFrame) -> np.ndarray:
    end = _end(lives)
    return np.unique(np.rint(np.append(np.geomspace(1, max(end, 1), 60), end)))


def _numbers_at_risk(ax: Axes, lives: pl.DataFrame, editors: list[str]) -> None:
    """Write below the axis how many edits of each editor were seen right at the age of each tick, or later."""
    low, high = ax.get_xlim()
    ticks = [t for t in ax.xaxis.get_majorticklocs() if low <= t <= high]
    for row, editor in enumerate(editors, start=1):
        left = lives.filter(pl.col("editor") == editor)["left"]
        below = {"textcoords": "offset points", "fontsize": 8, "annotation_clip": False}
        with style.marks_of(editor, ax):
            ax.annotate(editor, (1, 0), (4, -42 - 72 * _LINE * row), xycoords="axes fraction", **below)
            for tick in ticks:
                count = int((left >= tick).sum())
                where = (0, -42 - 72 * _LINE * row)
                ax.annotate(f"{count:,}", (tick, 0), where, xycoords=ax.get_xaxis_transform(), ha="center", **below)
    ax.annotate("seen right at that age or later:", (0, 0), (0, -42), xycoords="axes fraction",
                textcoords="offset points", fontsize=8, annotation_clip=False)  # fmt: skip


def _tests(lives: pl.DataFrame, editors: list[str], tables: list[pl.DataFrame]) -> tuple[pl.DataFrame, str]:
    """Return the log-rank tests as rows of the table, and as a sentence."""
    best = max(range(len(editors)), key=lambda i: float(tables[i]["kept"][-1]))
    pairs = list(combinations(editors, 2))
    if len(editors) > _MOST_PAIRED:
        pairs = [(editors[best], other) for other in editors if other != editors[best]]
    if not pairs:
        return pl.DataFrame(), ""
    found = [log_rank(lives, one, other) for one, other in pairs]
    adjusted = holm([p for _, p, _ in found])
    rows = pl.DataFrame(
        {
            "editor": [one for one, _ in pairs],
            "against": [other for _, other in pairs],
            "shared edits": [n for _, _, n in found],
            "log-rank z": [z for z, _, _ in found],
            "p (Holm)": adjusted,
        }
    )
    apart = sum(p < 0.05 for p in adjusted if not math.isnan(p))
    tested = sum(not math.isnan(p) for p in adjusted)
    if not tested:
        return rows, f"Not tested: no two editors share {FEWEST_PAIRS} edits that were right at once."
    return rows, (
        f"Log-rank, paired by edit, Holm-adjusted: {apart} of {tested} pairs differ at 5 % (in the table); edits "
        "of a run are taken as independent there."
    )
