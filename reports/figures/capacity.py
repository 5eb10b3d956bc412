"""The capacity plan of replays: goodput, response times and staleness against replicas, as a table and a picture.

Knows arrays of seconds and what is in service; nothing of fleets, clocks or logs.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import polars as pl
from matplotlib.figure import Figure

from reports.figures import style
from reports.numbers.percentiles import Percentile, percentiles


@dataclass(frozen=True)
class Point:
    """One fleet under one load: `goodput_per_s` counts answers within `slo_s` that are not stale.

    `in_slo` and `stale` are shares of all queries. `busy` is the share of all workers' time that they served until
    the last arrival, `load` the work that was offered in the same units: above 1 more comes than can be served.
    `lag` is from an edit's arrival until it is visible everywhere.
    """

    replicas: int
    offered_per_s: float
    goodput_per_s: float
    in_slo: float
    stale: float
    busy: float
    load: float
    p50: Percentile
    p99: Percentile
    p999: Percentile
    lag_p50: Percentile
    lag_p99: Percentile

    def row(self) -> dict[str, float | int]:
        """Return it as a row of a table; percentiles in seconds with their intervals."""
        out: dict[str, float | int] = {}
        for name, value in vars(self).items():
            if isinstance(value, Percentile):
                out |= {f"{name}_s": value.value, f"{name}_low_s": value.low, f"{name}_high_s": value.high}
            else:
                out[name] = value
        return out | {"queries": self.p50.n, "edits": self.lag_p50.n}


def point(
    replicas: int,
    response_s: np.ndarray,
    stale: np.ndarray,
    lag_s: np.ndarray,
    *,
    busy: float,
    load: float,
    span_s: float,
    slo_s: float,
) -> Point:
    """Return the summary of one replay.

    `response_s` and `stale` are by query, `lag_s` by edit; `busy` and `load` as in `Point`, `span_s` is the time
    until the last arrival.
    """
    good = (response_s <= slo_s) & ~stale
    return Point(
        replicas,
        len(response_s) / span_s,
        float(good.sum()) / span_s,
        float((response_s <= slo_s).mean()) if len(response_s) else 0.0,
        float(stale.mean()) if len(stale) else 0.0,
        busy,
        load,
        *percentiles(response_s, (0.5, 0.99, 0.999)),
        *percentiles(lag_s, (0.5, 0.99)),
    )


def table(points: Sequence[Point]) -> pl.DataFrame:
    """Return one row per point."""
    return pl.DataFrame([p.row() for p in points])


def plan_lines(points: Sequence[Point], slo_s: float) -> list[str]:
    """Return the plan as lines of text; a percentile of too few samples is shown by its n alone."""
    head = f"{'replicas':>8}  {'queries/s':>9}  {'goodput/s':>9}  {'in SLO':>6}  {'stale':>7}  "
    head += f"{'busy':>5}  {'load':>5}  "
    out = [
        f"goodput: answered within {slo_s:g} s and not stale by version; in brackets 95 % intervals",
        "busy: share of the workers' time until the last arrival; load: all work that arrived, in the same units",
        head + "p50, p99 ms; edit lag p50, p99 s",
    ]
    for p in points:
        shares = f"{p.in_slo:>6.3f}  {p.stale:>7.5f}  {p.busy:>5.2f}  {p.load:>5.2f}"
        times = f"{p.p50.text(1e3, 1)}, {p.p99.text(1e3, 1)}; {p.lag_p50.text(1, 3)}, {p.lag_p99.text(1, 3)}"
        out.append(f"{p.replicas:>8}  {p.offered_per_s:>9.1f}  {p.goodput_per_s:>9.1f}  {shares}  {times}")
    return out


def draw_plan(points: Sequence[Point], slo_s: float, caption: str, along: str = "replicas") -> Figure:
    """Draw goodput, response times and staleness against `replicas` or, along `queries.rate`, the offered load."""
    figure, (goodput, response, stale) = style.grid(3, columns=3, width=4.0, height=3.2)
    by_load = along != "replicas"
    points = sorted(points, key=lambda p: p.offered_per_s if by_load else p.replicas)

    def at(p: Point) -> float:
        return p.offered_per_s if by_load else p.replicas

    x = [at(p) for p in points]
    goodput.plot(x, [p.offered_per_s for p in points], color="#000000", linestyle=":", label="offered")
    goodput.plot(x, [p.goodput_per_s for p in points], color="#0072B2", marker="o", markersize=3.5, label="goodput")
    goodput.set_ylabel("queries per second")
    if by_load and min(x) > 0 and max(x) > 4 * min(x):
        style.log_axis(goodput.yaxis)
    for name, colour in (("p50", "#56B4E9"), ("p99", "#D55E00")):
        known = [(at(p), getattr(p, name)) for p in points if getattr(p, name).known]
        places, found = [k for k, _ in known], [v for _, v in known]
        response.plot(places, [v.value * 1e3 for v in found], color=colour, marker="o", markersize=3.5, label=name)
        response.fill_between(
            places, [v.low * 1e3 for v in found], [v.high * 1e3 for v in found], color=colour, alpha=0.2
        )
    response.axhline(slo_s * 1e3, color="#000000", linewidth=0.8, linestyle="--", label="SLO")
    style.log_axis(response.yaxis)
    response.set_ylabel("response time (ms)")
    stale.plot(x, [p.stale for p in points], color="#CC79A7", marker="o", markersize=3.5, label="stale by version")
    stale.set_ylabel("share of queries")
    stale.set_ylim(0, 1.1 * max(0.01, *(p.stale for p in points)))
    for ax in (goodput, response, stale):
        if max(x) > 4 * min(x) > 0:
            style.log_axis(ax.xaxis)
        ax.set_xlabel("offered load (queries per second)" if by_load else "replicas")
        ax.legend(fontsize=8, frameon=False)
    figure.suptitle(caption, fontsize=9)
    return figure
