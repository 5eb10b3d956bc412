"""Run folders to fact tables: reads run logs, adds `editor` and `seed` to every row. Computes no metric.

`editor` is the run's label: the editor and what sets its options apart, as the manifest has it.
"""

from __future__ import annotations

import json
import math
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, fields, replace
from pathlib import Path
from typing import Any, cast

import polars as pl

from lifelong.log import Edited, Gauged, Probed, RunLog, Served, Timed


@dataclass(frozen=True)
class Facts:
    """All fact tables of a report's runs, with the columns `editor` and `seed` added.

    `gauged` has a row per panel and a column per gauge; `withdrawals` one row each, its `value` 1 where an edit was
    taken back.
    """

    probed: pl.DataFrame
    edited: pl.DataFrame
    gauged: pl.DataFrame
    timed: pl.DataFrame
    served: pl.DataFrame
    withdrawals: pl.DataFrame

    @property
    def editors(self) -> list[str]:
        """Editors (labels) in the order of the legend: the unedited reference first, numbers by their value."""
        names = self.gauged["editor"].unique().to_list()
        return sorted(names, key=lambda e: (e != "none", _naturally(e)))


GAUGES = (
    "bank_len",
    "bank_bytes",
    "rss_bytes",
    "probes_asked",
    "probes_reused",
    "encode_wall_s",
    "route_wall_s",
    "answer_wall_s",
    "edit_wall_s",
    "probe_wall_s",
    "commit_wall_s",
    "own_wall_s",
)
SINCE = (
    "answers_not_finite",
    "index_recall",
    "lost_router_miss",
    "lost_index_miss",
    "lost_overwritten",
    "lost_wrong_answer",
)
"""Gauges that runs of earlier versions, and some editors, do not have: null there, where 0 would say something."""


@dataclass(frozen=True)
class RunInfo:
    """Where a run's facts come from: what a caption must say. `editor` is the run's label, `options` its editor's.

    `source` is its stream with the stream's options, by key.

    `wall_s` are the run's measured seconds (nan while it is not finished), `fit_wall_s` those of the fit that it
    used, whenever that was made (nan where there is none, or where nobody noted them).
    """

    folder: Path
    editor: str
    options: Mapping[str, Any]
    stream: str
    model: str
    clock: str
    seed: int
    hardware: str
    done: bool
    wall_s: float = math.nan
    fit_wall_s: float = math.nan
    source: Mapping[str, Any] = field(default_factory=dict)


def load_runs(folders: Sequence[Path]) -> tuple[Facts, list[RunInfo]]:
    """Return the facts of all runs in one set of tables, and what each run was.

    Several seeds of one label are averaged. Raises `ValueError` when no folder is given, when a run has no committed
    panel, or when two runs of one label and seed would be averaged although they differ in configuration.
    """
    if not folders:
        raise ValueError("No run folder was given. Expected one or more folders that `lifelong run` printed.")
    parts: dict[type, list[pl.DataFrame]] = {Edited: [], Probed: [], Gauged: [], Timed: [], Served: []}
    runs: list[RunInfo] = []
    logs = [RunLog.open(folder) for folder in folders]
    for folder, log, info in zip(folders, logs, told_apart([_info(log) for log in logs]), strict=True):
        twin = next((r for r in runs if (r.editor, r.seed, r.stream) == (info.editor, info.seed, info.stream)), None)
        if twin is not None:
            raise ValueError(
                f"{folder} and {twin.folder} are both {info.editor} with seed {info.seed} on {info.stream}: their "
                "curves would be drawn on top of each other. Report them apart, or give the runs different seeds."
            )
        runs.append(info)
        for fact, frames in parts.items():
            frame = cast(pl.DataFrame, pl.from_arrow(log.table(fact)))
            frames.append(frame.with_columns(pl.lit(info.editor).alias("editor"), pl.lit(info.seed).alias("seed")))
        if parts[Gauged][-1].is_empty():
            raise ValueError(f"{folder}: no panel was committed yet. Let the run reach its first panel, then report.")
    tables = {fact: pl.concat(frames) for fact, frames in parts.items()}
    asked_back = pl.col("kind") == "withdrawn"  # told when it happens; everything else is gauged at panels
    gauged, withdrawals = _wide(tables[Gauged].filter(~asked_back)), tables[Gauged].filter(asked_back)
    facts = Facts(tables[Probed], tables[Edited], gauged, tables[Timed], tables[Served], withdrawals)
    return facts, runs


def _wide(gauged: pl.DataFrame) -> pl.DataFrame:
    """One row per panel with the gauges that figures use as columns (where a run has none: 0, of `SINCE` null)."""
    chosen = gauged.filter(pl.col("name").is_in(GAUGES + SINCE))
    steps = gauged.select("editor", "seed", "step").unique()
    wide = chosen.pivot("name", index=["editor", "seed", "step"], values="value", aggregate_function="last")
    out = steps.join(wide, on=["editor", "seed", "step"], how="left")
    missing = [pl.lit(0.0).alias(g) for g in GAUGES if g not in out.columns]
    missing += [pl.lit(None, dtype=pl.Float64).alias(g) for g in SINCE if g not in out.columns]
    return out.with_columns(missing).with_columns(pl.col(*GAUGES).fill_null(0.0)).sort("editor", "seed", "step")


def finished_runs(facts: Facts, runs: Sequence[RunInfo]) -> tuple[Facts, list[RunInfo]]:
    """Return the facts without unfinished runs of editors that have finished ones.

    Last panels of both are at different steps, and a mean over them would be of nothing.
    """
    whole = {r.editor for r in runs if r.done}
    kept = [r for r in runs if r.done or r.editor not in whole]
    pairs = pl.DataFrame(
        {"editor": [r.editor for r in kept], "seed": [r.seed for r in kept]},
        schema={"editor": facts.gauged.schema["editor"], "seed": facts.gauged.schema["seed"]},
    ).unique()
    tables = (getattr(facts, f.name) for f in fields(facts))
    return Facts(*(table.join(pairs, on=["editor", "seed"], how="semi") for table in tables)), kept


def told_apart(runs: Sequence[RunInfo]) -> list[RunInfo]:
    """Return the runs, labels followed by what runs of one label do not share: options of editors, and streams.

    So runs written before there were labels, under other defaults, or over another stream are never averaged with
    different ones.
    """
    out = []
    for run in runs:
        alike = [r.options for r in runs if r.editor == run.editor]
        apart = [k for k, v in run.options.items() if any(o.get(k, v) != v for o in alike)]
        words = [f"{k}={v if isinstance(v, str) else json.dumps(v)}" for k, v in run.options.items() if k in apart]
        sources = [r.source for r in runs if r.editor == run.editor]  # what a stream does not say is its default
        words += [f"{k}={v}" for k, v in run.source.items() if any(o.get(k) != v for o in sources)]
        out.append(replace(run, editor=" ".join([run.editor, *words])))
    return out


def _naturally(label: str) -> list[tuple[int, float, str]]:
    """Return a sorting key in which rank=8 comes before rank=16."""
    parts = re.split(r"(\d+(?:\.\d+)?)", label)
    return [(0, float(part), "") if i % 2 else (1, 0.0, part) for i, part in enumerate(parts)]


def _info(log: RunLog) -> RunInfo:
    config = log.config()
    done = log.folder / "DONE"
    notes = json.loads(done.read_text(encoding="utf-8")) if done.exists() else {}
    stream = config.get("stream", "")
    of = dict(stream) if isinstance(stream, dict) else {"name": stream}
    return RunInfo(
        folder=log.folder,
        editor=log.manifest.get("label") or _name(config, "editor"),
        options=editor if isinstance(editor := config.get("editor"), dict) else {},
        stream=_name(config, "stream"),
        model=_name(config, "model"),
        clock=_name(config, "clock"),
        seed=int(config.get("seed", 0)),
        hardware=hardware_line(log.manifest.get("hardware", "")),
        done=done.exists(),
        wall_s=sum(notes["wall_s"].values()) if "wall_s" in notes else math.nan,
        fit_wall_s=float(notes.get("fit_wall_s", math.nan)),
        source={"stream" if k == "name" else f"stream.{k}": v for k, v in of.items()},
    )


def _name(config: dict[str, Any], key: str) -> str:
    value = config.get(key, "")
    return str(value.get("name", "")) if isinstance(value, dict) else str(value)


def hardware_line(found: Any) -> str:
    """Return a manifest's hardware in words.

    >>> hardware_line({"cores": 2, "cpu": "AMD EPYC", "memory_bytes": 25276502016, "system": "Linux-6.18"})
    'AMD EPYC, 2 cores, 23.5 GiB, Linux-6.18'
    """
    if not isinstance(found, dict):
        return str(found)
    parts = dict(found)
    if "cores" in parts:
        parts["cores"] = f"{parts['cores']} cores"
    if "memory_bytes" in parts:
        parts["memory_bytes"] = f"{parts['memory_bytes'] / 2**30:.1f} GiB"
    order = ("cpu", "cores", "memory_bytes", *parts)
    return ", ".join(dict.fromkeys(str(parts[k]) for k in order if k in parts))
