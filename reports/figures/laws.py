"""The figure of degradation laws: a curve's beginning, the law that fits it best, and what came later.

Knows fact tables, the laws and style; reads and writes no files.
"""

from __future__ import annotations

import numpy as np
import polars as pl
from matplotlib.axes import Axes

from reports.analyses.laws import FEWEST_PANELS, FITTED_UNTIL, Forecast, forecast
from reports.figures import style
from reports.figures.style import Drawn, not_asked
from reports.numbers.metrics import HOLDS, panels_of
from reports.numbers.panels import matrix_of, whole_panels_of
from reports.table import Facts

_MEASURES = {"retention": ("reliability", "#0072B2"), "locality": ("locality", "#D55E00")}


def laws(facts: Facts) -> Drawn:
    """Draw retention and locality over edits with the law of the first 1,000 edits and its later interval."""
    rows = panels_of(facts).lazy().filter(HOLDS & (pl.col("scorer") == "generated"))
    rows = rows.select("editor", "seed", "step", "edit_id", "axis", "score").collect()
    whole = whole_panels_of(facts)
    found: dict[tuple[str, str], tuple[np.ndarray, np.ndarray, np.ndarray, Forecast]] = {}
    for editor in facts.editors:
        for measure, (axis, _) in _MEASURES.items():
            mine = rows.filter((pl.col("editor") == editor) & (pl.col("axis") == axis))
            mine = mine.join(whole, on=["editor", "seed", "step"], how="semi")
            scores, steps, seeds = matrix_of(mine)
            said = forecast(scores, steps, seeds) if len(steps) else None
            if said is not None:
                found[editor, measure] = (steps, np.nanmean(scores, axis=0), (~np.isnan(scores)).sum(0), said)
    name, heading = "laws", "Laws of degradation"
    if not found:
        what = f"editor with {FEWEST_PANELS} panels of all past edits within {FITTED_UNTIL:,} edits"
        return not_asked(name, heading, what, pl.DataFrame())
    editors = list(dict.fromkeys(editor for editor, _ in found))
    figure, axes = style.grid(len(editors))
    rows_out = []
    for ax, editor in zip(axes, editors, strict=True):
        for measure, (_, colour) in _MEASURES.items():
            if (editor, measure) in found:
                _draw(ax, *found[editor, measure], measure, colour)
                rows_out += _rows(editor, measure, *found[editor, measure])
        style.of_editor(ax, editor)
        style.score_axis(ax, "exact match, agreement")
        style.edits_axis(ax, int(max(found[key][0][-1] for key in found if key[0] == editor)))
    style.legend(figure, axes)
    table = pl.DataFrame(rows_out, orient="row", schema=_TABLE)
    later = table.filter(pl.col("inside").is_not_null())
    checked, inside = len(later), int(later["inside"].sum())
    verdict = (
        f"the truth lies inside at {inside} of {checked}" if checked else "no panel is later: nothing is checked"
    )
    caption = (
        "Points: means over all edits asked at a panel. Line: of constant, exponential, power law and logistic in "
        f"log N, the one of smallest AICc on the panels up to {FITTED_UNTIL:,} edits, weighted by edits; hollow "
        "points are later ones. Bands: their 95 % prediction intervals, by a bootstrap over edits (seeds first) that "
        f"chooses the law anew; {verdict}. Panels that ask a sample only are left out."
    )
    return Drawn(name, heading, caption, figure, table, f"n = {len(found)} curves of {len(editors)} editors")


_TABLE = {
    "editor": pl.String,
    "measure": pl.String,
    "law": pl.String,
    "step": pl.Int64,
    "observed": pl.Float64,
    "n": pl.Int64,
    "law says": pl.Float64,
    "low": pl.Float64,
    "high": pl.Float64,
    "inside": pl.Boolean,
} | {f"AICc {law}": pl.Float64 for law in ("constant", "exponential", "power", "logistic")}


def _draw(
    ax: Axes, steps: np.ndarray, means: np.ndarray, n: np.ndarray, said: Forecast, measure: str, colour: str
) -> None:
    early = steps <= FITTED_UNTIL
    along = np.geomspace(steps[0], steps[-1], 100)
    ax.plot(along, said.law.at(along), color=colour, linewidth=1.2, label=f"{measure}: law")
    ax.plot(steps[early], means[early], "o", color=colour, markersize=4, label=f"{measure}: fitted")
    if len(said.steps):
        ax.plot(steps[~early], means[~early], "o", color=colour, markersize=5, markerfacecolor="white",
                label=f"{measure}: later")  # fmt: skip
        ax.vlines(said.steps, said.low, said.high, color=colour, alpha=0.35, linewidth=5)


def _rows(
    editor: str, measure: str, steps: np.ndarray, means: np.ndarray, n: np.ndarray, said: Forecast
) -> list[tuple[object, ...]]:
    later = {int(s): (lo, hi) for s, lo, hi in zip(said.steps, said.low, said.high, strict=True)}
    rows = []
    for step, mean, count, law in zip(steps, means, n, said.law.at(steps), strict=True):
        low, high = later.get(int(step), (None, None))
        inside = None if low is None else bool(low - 1e-9 <= mean <= high + 1e-9)
        seen = (int(step), float(mean), int(count), float(law), low, high, inside)
        rows.append((editor, measure, said.law.name, *seen, *said.aicc.values()))
    return rows
