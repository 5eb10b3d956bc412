"""Figures of stress searches: the capacity card, the curves behind it, and the Pareto of capacity against its cost.

Knows the plain records of `stress_page`; reads and writes no files.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from typing import Any

import polars as pl
from matplotlib.axes import Axes

from reports.figures import style
from reports.figures.looks import palette
from reports.figures.style import Drawn

MEASURE_WORDS = {
    "retention": "retention",
    "generality": "generality",
    "locality": "locality",
    "route_p99_s": "p99 of routing",
}
MARKS = {"retention": "o", "generality": "s", "locality": "^", "route_p99_s": "D"}
INK = {"retention": "#D55E00", "generality": "#0072B2", "locality": "#009E73", "route_p99_s": "#CC79A7"}
_FLOOR = 0.7  # where 0 edits are drawn on a logarithmic axis


def card(record: Mapping[str, Any]) -> Drawn:
    """Draw, per editor, how many edits it bears, where each limit breaks, and in words which one binds."""
    found: Sequence[Mapping[str, Any]] = record["editors"]
    figure, (ax,) = style.grid(1, width=9.0, height=1.2 + 0.62 * len(found))
    most = max(one["most"] for one in found)
    rows = []
    for place, one in enumerate(reversed(found)):
        ax.plot(
            [_FLOOR, max(_FLOOR, one["edits"])], [place, place], color="#bbbbbb", linewidth=7, solid_capstyle="butt"
        )
        for climb in one["seeds"]:
            fine = max(_FLOOR, climb["verdict"]["fine"])
            ax.plot([fine, fine], [place - 0.17, place + 0.17], color="#000000", linewidth=1.2)
            for name, step in climb["verdict"]["crossings"].items():
                rows.append(_row(one, climb, name, step))
                if step is not None:
                    binds = name in climb["verdict"]["binding"]
                    face = INK[name] if binds else "white"
                    ax.plot(
                        step, place + 0.09 * (list(MEASURE_WORDS).index(name) - 1.5), MARKS[name], color=INK[name],
                        markerfacecolor=face, markersize=7, label=MEASURE_WORDS[name],
                    )  # fmt: skip
        if one["at_least"]:
            ax.plot(one["edits"], place, ">", color="#555555", markersize=9)
        if one["interval"]:
            low, high = one["interval"]
            ends = [max(_FLOOR, low), most * 1.6 if high is None else high]
            ax.plot(ends, [place - 0.3] * 2, color="#000000", linewidth=1.4)
        kinds = ", ".join(dict.fromkeys(climb["decay"]["kind"] for climb in one["seeds"]))
        beside = {"transform": ax.get_yaxis_transform(), "va": "center"}
        ax.text(1.02, place + 0.12, said(one), fontsize=10, **beside)
        ax.text(1.02, place - 0.18, f"decay of retention: {kinds}", fontsize=8, color="#555555", **beside)
    ax.set_yticks(range(len(found)), [one["editor"] for one in reversed(found)])
    ax.set_ylim(-0.6, len(found) - 0.4)
    ax.set_xscale("log")
    ax.set_xlim(_FLOOR, most * 1.6)
    style.plain_ticks(ax.xaxis)
    ax.set_xlabel("edits (step)")
    style.legend(figure, [ax])
    caption = (
        "Bar: the largest number of edits at which all limits hold (median over seeds of a log-normal fitted to what "
        "is known of each; an arrow where the stream ended first for all). Upright lines: each seed's last fine "
        "panel. Marks: where a limit is broken at two panels in a row, by seed; filled, the binding one. Black line "
        "below: 95 % by likelihood, from five seeds on. "
        f"Limits: {limits_said(record)}."
    )
    return Drawn("capacity", "Edit capacity and what binds it", caption, figure, pl.DataFrame(rows))


def said(one: Mapping[str, Any]) -> str:
    """Return an editor's capacity and its binding limit in words.

    >>> said({"edits": 40.0, "at_least": False, "binding": {"locality": 2}, "seeds": [1, 2]})
    '40: locality (2 of 2)'
    """
    binding = ", ".join(f"{MEASURE_WORDS[name]} ({n} of {len(one['seeds'])})" for name, n in one["binding"].items())
    return f"{edits_said(one)}: {binding or 'nothing broke'}"


def edits_said(one: Mapping[str, Any]) -> str:
    """Return how many edits an editor bears: below ten with a digit, for half an edit is much of them.

    >>> edits_said({"edits": 2.4, "at_least": False}), edits_said({"edits": 1200.0, "at_least": True})
    ('2.4', 'at least 1,200')
    """
    digits = 1 if 0 < one["edits"] < 10 and not one["at_least"] else 0
    return f"{'at least ' if one['at_least'] else ''}{one['edits']:,.{digits}f}"


def interval_said(one: Mapping[str, Any]) -> str:
    """Return an editor's interval in words; its upper end may not be known (None).

    >>> interval_said({"interval": (80.0, 120.0)}), interval_said({"interval": (80.0, None)})
    ('[80, 120]', '[80, no end]')
    """
    low, high = one["interval"]
    return f"[{low:,.0f}, {'no end' if high is None else format(high, ',.0f')}]"


def limits_said(record: Mapping[str, Any]) -> str:
    """Return the limits in words."""
    parts = [f"{MEASURE_WORDS[k]} at least {v:g}" for k, v in record["limits"].items() if k != "route_p99_s"]
    of_once = " of what was right at once" if record.get("relative") else ""
    return f"{', '.join(parts)}{of_once}, p99 of routing at most {record['limits']['route_p99_s'] * 1e3:g} ms"


def _row(one: Mapping[str, Any], climb: Mapping[str, Any], name: str, step: int | None) -> dict[str, Any]:
    return {
        "editor": one["editor"],
        "seed": climb["seed"],
        "edits": climb["verdict"]["fine"],
        "at_least": climb["at_least"],
        "limit": name,
        "crossed_at": step,
        "binds": name in climb["verdict"]["binding"],
        "decay": climb["decay"]["kind"],
    }


def curves(record: Mapping[str, Any]) -> Drawn:
    """Draw every limited measure against edits, with its limit, one thin line per seed, and the change points."""
    looks = palette([one["editor"] for one in record["editors"]])
    figure, axes = style.grid(len(MEASURE_WORDS), columns=4, height=3.0)
    rows = []
    for ax, (name, words) in zip(axes, MEASURE_WORDS.items(), strict=True):
        scale = 1e3 if name == "route_p99_s" else 1.0
        last, smallest, largest = 1, math.inf, 1.0
        for one in record["editors"]:
            look = looks[one["editor"]]
            for i, climb in enumerate(one["seeds"]):
                points = [
                    (p["step"], p["values"][name] * scale, p["n"][name]) for p in climb["panels"] if name in p["n"]
                ]
                if not points:
                    continue
                steps, values, _ = zip(*points, strict=True)
                last, smallest, largest = max(last, *steps), min(smallest, *values), max(largest, *values)
                with style.marks_of(one["editor"], ax):
                    label = style.named(one["editor"]) if i == 0 else None
                    ax.plot(steps, values, **look.line(), linewidth=1.1, label=label)
                about = {"editor": one["editor"], "seed": climb["seed"], "measure": name}
                rows += [{**about, "step": at, "value": value / scale, "n": n} for at, value, n in points]
                if name == "retention" and climb["decay"]["between"]:
                    ax.axvspan(*climb["decay"]["between"], color=look.colour, alpha=0.12, linewidth=0)
        ax.axhline(record["limits"][name] * scale, color="#000000", linestyle="--", linewidth=0.9, label="limit")
        ax.set_title(words, fontsize=10)
        style.edits_axis(ax, last)
        if scale == 1.0:
            style.score_axis(ax, "share of that at once" if record.get("relative") else "mean score")
            ax.set_ylim(top=1.03 * largest)
        elif smallest < math.inf:
            ax.set_yscale("log")
            style.plain_ticks(ax.yaxis)
            ax.set_ylabel("measured time (ms)")
    style.legend(figure, axes)
    caption = (
        "The panels of the search: doubled until a limit was broken twice in a row, then halved in between. One line "
        "a seed. Shaded: the change point of a retention that ends in a catastrophe. The table has n of every point."
    )
    return Drawn("stress_curves", "The curves behind the capacity", caption, figure, pl.DataFrame(rows))


def pareto(record: Mapping[str, Any]) -> Drawn:
    """Draw capacity against p99 of routing and against bytes per edit, both at the capacity; the best are joined."""
    looks = palette([one["editor"] for one in record["editors"]])
    figure, axes = style.grid(2, columns=2, width=4.6, height=3.6)
    costs = (("route_p99_s", "p99 of routing (ms)", 1e3), ("bytes_per_edit", "bytes per edit", 1.0))
    rows = []
    for ax, (name, words, scale) in zip(axes, costs, strict=True):
        points = {one["editor"]: (at_capacity(one, name), float(one["edits"])) for one in record["editors"]}
        points = {editor: point for editor, point in points.items() if not math.isnan(point[0])}
        best = front(list(points.values()))
        for one in record["editors"]:
            if one["editor"] not in points:
                continue
            cost, edits = points[one["editor"]]
            look, x, y = looks[one["editor"]], max(cost * scale, 1e-6), max(edits, _FLOOR)
            with style.marks_of(one["editor"], ax):
                ax.plot(x, y, look.marker, color=look.colour, markersize=8, label=style.named(one["editor"]))
            if one["at_least"]:
                arrow = {"arrowstyle": "->", "color": look.colour}
                ax.annotate("", (x, y * 1.35), (x, y * 1.06), arrowprops=arrow)
            about = {"editor": one["editor"], "cost": name, "value": cost, "edits": edits}
            rows.append({**about, "at_least": one["at_least"], "best": (cost, edits) in best})
        ax.plot(
            [c * scale for c, _ in best], [max(e, _FLOOR) for _, e in best], color="#777777", linewidth=0.9, zorder=0
        )
        _log_axes(ax, [(cost * scale, max(edits, _FLOOR)) for cost, edits in points.values()])
        ax.set_xlabel(words)
        ax.set_ylabel("edit capacity (edits)")
    style.legend(figure, axes)
    caption = (
        "Each editor at the largest number of edits that keeps all limits (median over seeds). Joined: editors "
        "that no other one beats in both. Arrows: at least so many, the stream ended first. No edit at all is drawn "
        f"at {_FLOOR:g}; what does not search a bank routes in no time. Limits: {limits_said(record)}."
    )
    return Drawn("capacity_pareto", "Capacity against its cost", caption, figure, pl.DataFrame(rows))


def _log_axes(ax: Axes, points: Sequence[tuple[float, float]]) -> None:
    """Make both axes logarithmic and wide enough that what is nearly equal looks so."""
    sides = ((ax.xaxis, ax.set_xscale, ax.set_xlim), (ax.yaxis, ax.set_yscale, ax.set_ylim))
    for values, (axis, scale, limit) in zip(zip(*points, strict=True), sides, strict=bool(points)):
        if min(values) <= 0:
            continue
        scale("log")
        half = 1.6 * max(2.0, math.sqrt(max(values) / min(values)))
        middle = math.sqrt(max(values) * min(values))
        limit(middle / half, middle * half)
        style.plain_ticks(axis)


def at_capacity(one: Mapping[str, Any], name: str) -> float:
    """Return the mean over seeds of a measure at the largest panel that was fine (the first where none was)."""
    found = []
    for climb in one["seeds"]:
        fine = [p for p in climb["panels"] if p["step"] <= climb["verdict"]["fine"]] or climb["panels"][:1]
        found += [fine[-1]["values"][name]] if name in fine[-1]["values"] else []
    return sum(found) / len(found) if found else math.nan


def front(points: Sequence[tuple[float, float]]) -> list[tuple[float, float]]:
    """Return the (cost, gain) points that no other one beats, by cost: less cost and no less gain, or more gain.

    >>> front([(1.0, 10.0), (2.0, 5.0), (3.0, 30.0)])
    [(1.0, 10.0), (3.0, 30.0)]
    """
    best: list[tuple[float, float]] = []
    for cost, gain in sorted(set(points), key=lambda p: (p[0], -p[1])):
        if not best or gain > best[-1][1]:
            best.append((cost, gain))
    return best
