"""The capacity plan of replays: goodput, response times and staleness against replicas, as a table and a picture.

Knows what replications measured, in seconds; nothing of fleets, clocks or logs.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import polars as pl
from matplotlib.figure import Figure

from reports.figures import style
from reports.statistics.replications import WARM_UP, Replicate, Replicated, percentiles_over, share_over
from reports.statistics.seeds import ENOUGH


@dataclass(frozen=True)
class Point:
    """One fleet under one load, over replications: `goodput_per_s` counts answers within `slo_s` that are not stale.

    `in_slo` and `stale` are shares of all queries. `busy` is the share of all workers' time that they served until
    the last arrival, `load` the work that was offered in the same units: above 1 more comes than can be served.
    `lag` is from an edit's arrival until it is visible everywhere.
    """

    replicas: int
    offered_per_s: float
    goodput_per_s: float
    in_slo: Replicated
    stale: Replicated
    busy: float
    load: float
    p50: Replicated
    p99: Replicated
    p999: Replicated
    lag_p50: Replicated
    lag_p99: Replicated

    def row(self) -> dict[str, float | int]:
        """Return it as a row of a table; percentiles in seconds, each number of replications with its interval."""
        out: dict[str, float | int] = {}
        for name, value in vars(self).items():
            if isinstance(value, Replicated):
                unit = "" if name in ("in_slo", "stale") else "_s"
                out |= {
                    f"{name}{unit}": value.value,
                    f"{name}_low{unit}": value.low,
                    f"{name}_high{unit}": value.high,
                }
            else:
                out[name] = value
        about = {"replications": self.p50.replications, "queries": self.p50.n, "edits": self.lag_p50.n}
        return out | about | {"effective_queries": self.p50.effective_n, "effective_edits": self.lag_p50.effective_n}


def point(replicas: int, parts: Sequence[Replicate], *, slo_s: float) -> Point:
    """Return the summary of the replications of one replay, after their warm-up.

    Rates are those of all replications together, `busy` and `load` their means.
    """
    counted_s = sum(part.counted_s for part in parts)
    sizes = [len(part.response_s) for part in parts]
    late = [part.response_s > slo_s for part in parts]
    good = sum(int((~slow & ~part.stale).sum()) for slow, part in zip(late, parts, strict=True))
    return Point(
        replicas,
        sum(sizes) / counted_s,
        good / counted_s,
        share_over([n - int(slow.sum()) for n, slow in zip(sizes, late, strict=True)], sizes),
        share_over([int(part.stale.sum()) for part in parts], sizes),
        float(np.mean([part.busy for part in parts])),
        float(np.mean([part.load for part in parts])),
        *percentiles_over([part.response_s for part in parts], (0.5, 0.99, 0.999)),
        *percentiles_over([part.lag_s for part in parts], (0.5, 0.99)),
    )


def table(points: Sequence[Point]) -> pl.DataFrame:
    """Return one row per point."""
    return pl.DataFrame([p.row() for p in points])


def plan_lines(points: Sequence[Point], slo_s: float) -> list[str]:
    """Return the plan as lines of text: columns, then what they mean; '-' where a percentile is not known."""
    count = points[0].p50.replications
    heads = ["replicas", "queries/s", "goodput/s", "in SLO", "stale", "busy", "load", "p50 ms", "p99 ms"]
    heads += ["lag p50 s", "lag p99 s", "n: queries", "edits"]
    rows = [heads]
    for p in points:
        shares = [p.in_slo.text(1, 3), p.stale.text(1, 4), f"{p.busy:.2f}", f"{p.load:.2f}"]
        times = [p.p50.text(1e3, 1), p.p99.text(1e3, 1), p.lag_p50.text(1, 3), p.lag_p99.text(1, 3)]
        sizes = [_sizes(p.p50), _sizes(p.lag_p50)]
        rows.append([f"{p.replicas}", f"{p.offered_per_s:.1f}", f"{p.goodput_per_s:.1f}", *shares, *times, *sizes])
    widths = [max(len(row[k]) for row in rows) for k in range(len(heads))]
    out = ["  ".join(f"{cell:>{w}}" for cell, w in zip(row, widths, strict=True)) for row in rows]
    brackets = "in brackets 95 % intervals over them" if count >= ENOUGH else f"no intervals below {ENOUGH}"
    return [
        *out,
        f"{count} replication{'s' if count > 1 else ''} of equal edits, other arrivals, questions and services: "
        f"{brackets}; the first {WARM_UP:.0%} of the time is left out",
        f"goodput: answered within {slo_s:g} s and not stale by version; lag: from an edit's arrival to visibility",
        "busy: share of the workers' time until the last arrival; load: all work that arrived, in the same units",
        "n: all samples (in parentheses: so many independent ones say as much); -: too few for such a percentile",
        *([_OVERLOADED] if any(p.load > 1 for p in points) else []),
    ]


_OVERLOADED = "load above 1: what waits grows to the end, so a longer replay would have longer response times"


def _sizes(found: Replicated) -> str:
    """Return how many samples there are, and the effective number in parentheses."""
    known = "" if math.isnan(found.effective_n) else f" ({found.effective_n:,.0f})"
    return f"{found.n:,}{known}"


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
        there = [(at(p), getattr(p, name)) for p in points if not math.isnan(getattr(p, name).value)]
        places, found = [k for k, _ in there], [v for _, v in there]
        response.plot(places, [v.value * 1e3 for v in found], color=colour, marker="o", markersize=3.5, label=name)
        response.fill_between(
            places, [v.low * 1e3 for v in found], [v.high * 1e3 for v in found], color=colour, alpha=0.2
        )
    response.axhline(slo_s * 1e3, color="#000000", linewidth=0.8, linestyle="--", label="SLO")
    style.log_axis(response.yaxis)
    response.set_ylabel("response time (ms)")
    stale.plot(
        x, [p.stale.value for p in points], color="#CC79A7", marker="o", markersize=3.5, label="stale by version"
    )
    stale.fill_between(
        x, [p.stale.low for p in points], [p.stale.high for p in points], color="#CC79A7", alpha=0.2, linewidth=0
    )
    stale.set_ylabel("share of queries")
    stale.set_ylim(0, 1.1 * max(0.01, *np.nan_to_num([max(p.stale.value, p.stale.high) for p in points])))
    for ax in (goodput, response, stale):
        if max(x) > 4 * min(x) > 0:
            style.log_axis(ax.xaxis)
        ax.set_xlabel("offered load (queries per second)" if by_load else "replicas")
        ax.legend(fontsize=8, frameon=False)
    figure.suptitle(caption, fontsize=9)
    return figure
