"""The evidence table: per editor what papers measure, harder questions, and cost at a stream's end.

Knows fact tables and what runs say of themselves; draws nothing. Every number is a mean over runs, each of them of a
stream of its own; an interval is given from five streams on, below that the runs' own numbers are. Of a trained
editor it says how many trainings they are of.
"""

from __future__ import annotations

import json
import math
from collections.abc import Callable, Mapping, Sequence
from typing import Any

import polars as pl

from reports.alike import TRAINING
from reports.numbers.axes import MEASURES, TOKEN_BY_TOKEN
from reports.numbers.floors import REFERENCES, by_label, last_rows, references, scores_by_seed
from reports.numbers.growth import MB, bytes_an_edit, fixed_bytes
from reports.statistics.curves import mean_score
from reports.statistics.fits import given, of_runs
from reports.statistics.percentiles import percentiles
from reports.statistics.seeds import mean_of
from reports.table import Facts, RunInfo

SCORE = "score"
"""The harmonic mean of what was gained above the unedited model and of locality (`reports.numbers.gains`)."""
QUALITY = (SCORE, *MEASURES)
COST = ("edit (s)", "fixed (MB)", "bytes an edit", "route p50 (ms)", "route p99 (ms)", "fit (s)", "run (s)")


def evidence(facts: Facts, runs: Sequence[RunInfo], last: pl.DataFrame | None = None) -> list[dict[str, Any]]:
    """Return one object per editor and measure: mean, n, the runs' own numbers and, from five on, `low`, `high`.

    `seeds` and `fits` say of which streams and trainings the runs are (no `fits` of an editor that is not trained),
    `given` what an interval takes as given. Quality is of the last panel of each run (`last`, from
    `reports.numbers.floors.last_rows`), scored as `MEASURES` says; route latencies are percentiles of the last
    panels' samples together (`reports.statistics.percentiles`). Unknown numbers are nan.
    """
    frames = by_label(last_rows(facts) if last is None else last)
    out = []
    for name, labels in _families(facts, runs).items():
        mine = sorted((r for r in runs if r.editor in labels), key=lambda r: (r.seed, r.fit or 0))
        fits = [r.fit for r in mine if r.fit is not None]
        gauged = facts.gauged.filter(pl.col("editor").is_in(labels))
        record: dict[str, Any] = {
            "editor": name,
            "edits": int(gauged["step"].max()),  # pyright: ignore[reportArgumentType]
            "seeds": [r.seed for r in mine],
            "fits": fits,
            "given": given(fits),
            "collapsed edits": int(
                facts.edited.filter(pl.col("editor").is_in(labels))["outcome"].eq("not finite").sum()
            ),
        }
        scores = {label: _scores(facts, runs, frames, label) for label in labels}
        own = [scores[r.editor].get(r.seed, math.nan) for r in mine]
        known = sum(not math.isnan(x) for x in own)
        record[SCORE] = _over(own, known, mine) if known else mean_of([]) | {"seeds": []}
        for measure, one in MEASURES.items():
            parts = {label: frames[label].filter(one.rows()) for label in labels if label in frames}
            record[measure] = _per_run(parts, mine, mean_score)
        out.append(record | _cost(facts, labels, mine))
    return out


def _families(facts: Facts, runs: Sequence[RunInfo]) -> dict[str, list[str]]:
    """Return the labels of each row of the table: those that only trainings tell apart are one editor."""
    kinds: dict[tuple[Any, ...], list[str]] = {}
    for label in facts.editors:
        made = next(({k: v for k, v in r.made.items() if k not in TRAINING} for r in runs if r.editor == label), None)
        trained = any(r.editor == label and r.fit is not None for r in runs)
        words = " ".join(w for w in label.split(" ") if not trained or not w.startswith(f"{TRAINING[0]}="))
        kinds.setdefault((words, tuple(sorted((made or {}).items()))), []).append(label)
    return {labels[0] if len(labels) == 1 else words: labels for (words, _), labels in kinds.items()}


def _scores(
    facts: Facts, runs: Sequence[RunInfo], frames: Mapping[str, pl.DataFrame], label: str
) -> dict[int, float]:
    return scores_by_seed(frames, label, references(facts, runs, label)) if label in frames else {}


def _per_run(
    parts: Mapping[str, pl.DataFrame], runs: Sequence[RunInfo], value: Callable[[pl.DataFrame], float]
) -> dict[str, Any]:
    """Return a value of each run's rows (`parts` by label), over runs; not a number of a run without rows."""
    split = {(label, key[0]): rows for label, part in parts.items() for key, rows in part.group_by("seed")}
    if not split:
        return mean_of([]) | {"seeds": []}
    own = [value(split[key]) if (key := (r.editor, r.seed)) in split else math.nan for r in runs]
    return _over(own, sum(map(len, split.values())), runs)


def _over(own: Sequence[float], n: int, runs: Sequence[RunInfo]) -> dict[str, Any]:
    """Return mean and spread over runs."""
    return of_runs(own, n, [r.seed for r in runs], [r.fit for r in runs if r.fit is not None])


def _cost(facts: Facts, labels: Sequence[str], runs: Sequence[RunInfo]) -> dict[str, Any]:
    def own(frame: pl.DataFrame) -> pl.DataFrame:
        return frame.filter(pl.col("editor").is_in(labels))

    gauged = {str(key[0]): part for key, part in own(facts.gauged).group_by("editor")}
    edited = {str(key[0]): part for key, part in own(facts.edited).group_by("editor")}
    routes = own(facts.timed).filter(pl.col("operation") == "route")
    routes = routes.filter(pl.col("step") == pl.col("step").max().over("editor", "seed"))["wall_s"]
    p50, p99 = percentiles(routes, (0.5, 0.99))
    return {
        "edit (s)": _per_run(edited, runs, lambda p: float((p["edit_wall_s"] / p["batch_len"]).mean())),  # pyright: ignore[reportArgumentType]
        "fixed (MB)": _per_run(gauged, runs, lambda p: fixed_bytes(p) / MB),
        "bytes an edit": _per_run(gauged, runs, bytes_an_edit),
        "route p50 (ms)": {"mean": p50.value * 1e3, "n": p50.n},
        "route p99 (ms)": {"mean": p99.value * 1e3, "n": p99.n},
        "fit (s)": mean_of([r.fit_wall_s for r in runs if not math.isnan(r.fit_wall_s)]),
        "run (s)": mean_of([r.wall_s for r in runs if not math.isnan(r.wall_s)]),
    }


def to_json(records: Sequence[dict[str, Any]], runs: Sequence[RunInfo]) -> str:
    """Return the evidence as JSON (nan as null), with what it was measured on."""
    about = {name: sorted({getattr(r, name) for r in runs}) for name in ("stream", "model", "hardware")}
    return json.dumps({**about, "scorer": TOKEN_BY_TOKEN, "editors": plain(list(records))}, indent=1) + "\n"


def plain(value: Any) -> Any:
    """Return a value as JSON holds it: floats of five digits, nan as None."""
    if isinstance(value, dict):
        return {k: plain(v) for k, v in value.items()}
    if isinstance(value, list):
        return [plain(v) for v in value]
    if isinstance(value, float):
        return float(f"{value:.5g}") if math.isfinite(value) else None
    return value


def flat(records: Sequence[dict[str, Any]], found: pl.DataFrame | None = None) -> pl.DataFrame:
    """Return one row per editor and measure: scorer, mean, low, high, n, what is given, and the runs' own numbers.

    Of what should change there are its floor and ceilings too, by the same scorer (`found`, from
    `reports.numbers.floors.gains`); not a number where there is no run of them.
    """
    ends = {(r["editor"], r["measure"]): r for r in ([] if found is None else found.iter_rows(named=True))
            if r["scorer"] == TOKEN_BY_TOKEN}  # fmt: skip
    rows = []
    for record in records:
        for name in (*QUALITY, *COST):
            own, beside = record[name], ends.get((record["editor"], name), {})
            rows.append(
                {
                    "editor": record["editor"],
                    "measure": name,
                    "scorer": MEASURES[name].scorer if name in MEASURES else "",
                }
                | {
                    "mean": own["mean"],
                    "n": own["n"],
                    "low": own.get("low", math.nan),
                    "high": own.get("high", math.nan),
                }
                | {reference: beside.get(reference, math.nan) for reference in REFERENCES}
                | {"given": record["given"], "seeds": " ".join(f"{v:.4g}" for v in own.get("seeds", ()))}
            )
    return pl.DataFrame(rows)
