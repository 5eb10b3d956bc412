"""Run folders to fact tables: reads run logs, adds `editor` and `seed` to every row. Computes no metric.

`editor` is the run's label: the editor and its options as the manifest has them, what sets it apart from other runs
of that label (`reports.alike`), and a mark where it is not finished. Texts of people are made printable here.
"""

from __future__ import annotations

import json
import math
import re
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, fields, replace
from pathlib import Path
from typing import Any, cast

import polars as pl

from lifelong.log import Edited, Gauged, LogError, Probed, RunLog, Served, Timed
from lifelong.log.facts import RESTORED
from lifelong.log.stream_tables import stream_table
from reports.alike import TRAINING, made_of, told_apart, without_fits
from streams.text import printable

UNFINISHED = " (unfinished)"


_RUN: dict[str, Any] = {"editor": pl.String, "seed": pl.Int32}
_WORDS = ("edit_id", "prompt", "picture", "target", "source")
TOLD_WORDS = {"step": pl.Int64} | dict.fromkeys(_WORDS, pl.String) | _RUN
PUT_BACK = {"step": pl.Int64, "value": pl.Float64} | _RUN
"""The columns of `Facts.restored`: after which step the editor was put back, and how many edits that took out."""
ASKED_OUTSIDE = (
    dict.fromkeys(("probe_id", "edit_id", "axis", "variant", "modality", "prompt", "picture"), pl.String) | _RUN
)
"""The columns of a stream's words that reports read: of its edits, and of the questions out of their scope."""


@dataclass(frozen=True)
class Facts:
    """All fact tables of a report's runs, with the columns `editor` and `seed` added.

    `gauged` has a row per panel and a column per gauge; `withdrawals` one row each, its `value` 1 where an edit was
    taken back; `restored` a row each time that the editor was put back to its beginning. `names` has the editor's own
    name for each label, `origins` what runs called themselves whose labels a reader chose. `told` has the words of
    every edit, `outside` those of every question that is out of its edit's scope; both are empty for runs that kept
    none.
    """

    probed: pl.DataFrame
    edited: pl.DataFrame
    gauged: pl.DataFrame
    timed: pl.DataFrame
    served: pl.DataFrame
    withdrawals: pl.DataFrame
    names: Mapping[str, str] = field(default_factory=dict)
    origins: Mapping[str, str] = field(default_factory=dict)
    told: pl.DataFrame = field(default_factory=lambda: pl.DataFrame(schema=TOLD_WORDS))
    outside: pl.DataFrame = field(default_factory=lambda: pl.DataFrame(schema=ASKED_OUTSIDE))
    restored: pl.DataFrame = field(default_factory=lambda: pl.DataFrame(schema=PUT_BACK))

    made: dict[str, Any] = field(default_factory=dict, init=False, compare=False, repr=False)

    def once(self, name: str, make: Callable[[], Any]) -> Any:
        """Return what `make` returns for these facts, made when it is first asked for by this name."""
        if name not in self.made:
            self.made[name] = make()
        return self.made[name]

    @property
    def editors(self) -> list[str]:
        """Editors (labels) in the order of the legend: the unedited reference first, numbers by their value."""
        labels = self.gauged["editor"].unique().to_list()
        return sorted(labels, key=lambda e: (self.names.get(e, e) != "none", _naturally(e)))


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
    "weight_drift",
)
"""Gauges that runs of earlier versions, and some editors, do not have: null there, where 0 would say something."""


@dataclass(frozen=True)
class RunInfo:
    """Where a run's facts come from: what a caption must say. `editor` is the run's label, `name` its editor's name.

    `wall_s` are the run's measured seconds (nan while it is not finished), `fit_wall_s` those of the fit that it
    used, whenever that was made (nan where there is none, or where nobody noted them). `made` is all that it was made
    of but its seed. `editable_weights`, `model_bytes` and `width` are its model's (0 of a run of an earlier version).
    """

    folder: Path
    editor: str
    name: str
    stream: str
    model: str
    clock: str
    seed: int
    hardware: str
    done: bool
    wall_s: float = math.nan
    fit_wall_s: float = math.nan
    made: Mapping[str, str] = field(default_factory=dict)
    editable_weights: int = 0
    model_bytes: int = 0
    width: int = 0
    called: str = ""

    @property
    def origin(self) -> str:
        """What the run called itself, where a reader chose another label."""
        return self.called or self.editor

    @property
    def fit(self) -> int | None:
        """The seed of the training that it used; None of an editor that is not trained."""
        seed = self.made.get(TRAINING[0], "")
        return int(seed) if TRAINING[1] in self.made and seed.isdigit() else None

    @property
    def ground(self) -> tuple[tuple[str, str], ...]:
        """What it was asked on: its model and its stream with their options. Only runs of one ground are compared."""
        on = {k: v for k, v in self.made.items() if k.split(".")[0] in ("model", "stream") or k == "digest.model"}
        return tuple(sorted({**on, "model": self.model, "stream": self.stream}.items()))


_UNREAD = ["sim_s", "routed_ids", "route_digest", "route_score", "reused"]
"""Columns of probes that no report reads; of 100 runs they would take as much memory as all others."""
_KINDS = {Probed: ("axis", "variant", "modality", "prompt_kind", "scorer", "answer")}
"""Columns of few different values, kept as numbers: as texts they take two fifths of the memory of a report."""
_TEXTS = ("prompt_kind", "variant", "axis", "scorer", "relation")
"""Columns whose few values become titles and names of columns."""


def load_runs(folders: Sequence[Path]) -> tuple[Facts, list[RunInfo]]:
    """Return the facts of all runs in one set of tables, and what each run was.

    Runs of one label are seeds of each other: equal in everything else, but for the seed of a training. Raises
    `ValueError` when no folder is given, when a run has no committed panel, or when two runs are equal in everything
    and in their seed too.
    """
    if not folders:
        raise ValueError("No run folder was given. Expected one or more folders that `lifelong run` printed.")
    parts: dict[type, list[pl.DataFrame]] = {Edited: [], Probed: [], Gauged: [], Timed: [], Served: []}
    runs: list[RunInfo] = []
    words: dict[str, list[pl.DataFrame]] = {"edits": [], "probes": []}
    logs = [RunLog.open(folder) for folder in folders]
    for folder, log, info in zip(folders, logs, labelled([_info(log) for log in logs]), strict=True):
        twin = next((r for r in runs if (r.editor, r.seed) == (info.editor, info.seed)), None)
        if twin is not None:
            raise ValueError(
                f"{folder} and {twin.folder} are both {info.editor} with seed {info.seed} on {info.stream}: their "
                "curves would be drawn on top of each other. Report them apart, or give the runs different seeds."
            )
        runs.append(info)
        for fact, frames in parts.items():
            rows = log.table(fact)
            frame = cast(pl.DataFrame, pl.from_arrow(rows.drop_columns(_UNREAD if fact is Probed else [])))
            frame = _printable(frame).with_columns(pl.col(n).cast(pl.Categorical) for n in _KINDS.get(fact, ()))
            frames.append(frame.with_columns(pl.lit(info.editor).alias("editor"), pl.lit(info.seed).alias("seed")))
        for table, frames in words.items():
            frames.append(_words(log, table, info))
        if parts[Gauged][-1].is_empty():
            raise ValueError(f"{folder}: no panel was committed yet. Let the run reach its first panel, then report.")
    tables = {fact: pl.concat(frames) for fact, frames in parts.items()}
    # Two kinds are told when it happens; everything else is gauged at panels.
    asked_back, put_back = pl.col("kind") == "withdrawn", pl.col("kind") == RESTORED
    gauged, withdrawals = _wide(tables[Gauged].filter(~asked_back & ~put_back)), tables[Gauged].filter(asked_back)
    restored = tables[Gauged].filter(put_back).select(pl.col(name).cast(kind) for name, kind in PUT_BACK.items())
    names = {r.editor: r.name for r in runs}
    facts = Facts(
        tables[Probed], tables[Edited], gauged, tables[Timed], tables[Served], withdrawals, names,
        told=pl.concat(words["edits"]), outside=pl.concat(words["probes"]), restored=restored,
    )  # fmt: skip
    return facts, runs


def _words(log: RunLog, table: str, run: RunInfo) -> pl.DataFrame:
    """Return the words of a run's edits, or of its questions out of scope: as `TOLD_WORDS` or `ASKED_OUTSIDE` say."""
    schema = TOLD_WORDS if table == "edits" else ASKED_OUTSIDE
    if f"{table}.parquet" not in log.manifest.get("files", {}):
        return pl.DataFrame(schema=schema)
    found = cast(pl.DataFrame, pl.from_arrow(stream_table(log, table)))
    if table == "probes":
        must_not = (pl.col("axis") == "specificity") & (pl.col("reference") == "baseline")
        found = found.filter((pl.col("axis") == "locality") | must_not)
    labelled = found.with_columns(pl.lit(run.editor).alias("editor"), pl.lit(run.seed, pl.Int32).alias("seed"))
    return labelled.select(pl.col(name).cast(kind) for name, kind in schema.items())


def _printable(frame: pl.DataFrame) -> pl.DataFrame:
    """Return a table whose texts that people wrote hold no control characters."""
    texts = [name for name in _TEXTS if name in frame.columns]
    told = {name: {v: printable(v) for v in frame[name].unique().drop_nulls()} for name in texts}
    changed = {name: {k: v for k, v in values.items() if k != v} for name, values in told.items()}
    return frame.with_columns(pl.col(name).replace(values) for name, values in changed.items() if values)


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
    """Return the facts without unfinished runs of editors that have finished ones of the same kind.

    Their last panels are at other steps: beside each other they would be compared.
    """
    whole = {r.editor for r in runs if r.done}
    kept = [r for r in runs if r.done or r.editor.removesuffix(UNFINISHED) not in whole]
    if len(kept) == len(runs):
        return facts, kept
    pairs = pl.DataFrame(
        {"editor": [r.editor for r in kept], "seed": [r.seed for r in kept]},
        schema={"editor": facts.gauged.schema["editor"], "seed": facts.gauged.schema["seed"]},
    ).unique()
    return facts_of_runs(facts, pairs), kept


def check_lived_through(facts: Facts, runs: Sequence[RunInfo]) -> None:
    """Raise `ValueError` naming a run that put its model back: what a report says is about one long stream."""
    back = {(editor, seed) for editor, seed in facts.restored.select("editor", "seed").iter_rows()}
    folder = next((run.folder for run in runs if (run.editor, run.seed) in back), None)
    if folder is not None:
        raise ValueError(
            f"{folder}: this run put its model back after every chunk (restore_every), and a report is about one "
            f"long stream. See what it measured: lifelong protocol end-of-chunk {folder}"
        )


def facts_of_runs(facts: Facts, pairs: pl.DataFrame) -> Facts:
    """Return the facts of some runs alone: of those whose `editor` and `seed` are among the rows of `pairs`."""
    tables = {f.name: getattr(facts, f.name) for f in fields(facts) if f.name not in ("names", "origins", "made")}
    whole = {name: table for name, table in tables.items() if "editor" in table.columns}
    found = {name: table.join(pairs, on=["editor", "seed"], how="semi") for name, table in whole.items()}
    return replace(facts, **found)


def labelled(runs: Sequence[RunInfo]) -> list[RunInfo]:
    """Return the runs with labels that only seeds of each other share; unfinished ones are marked as such."""
    own = [printable(r.editor) for r in runs]
    labels = told_apart(own, without_fits(own, [r.made for r in runs], [r.seed for r in runs]))
    return [
        replace(run, editor=label + ("" if run.done else UNFINISHED)) for run, label in zip(runs, labels, strict=True)
    ]


def _naturally(label: str) -> list[tuple[int, float, str]]:
    """Return a sorting key in which rank=8 comes before rank=16."""
    parts = re.split(r"(\d+(?:\.\d+)?)", label)
    return [(0, float(part), "") if i % 2 else (1, 0.0, part) for i, part in enumerate(parts)]


def _info(log: RunLog) -> RunInfo:
    config = log.config()
    done = log.folder / "DONE"
    try:
        notes = json.loads(done.read_text(encoding="utf-8")) if done.exists() else {}
        wall_s = sum(notes["wall_s"].values()) if "wall_s" in notes else math.nan
        fit_wall_s, seed = float(notes.get("fit_wall_s", math.nan)), int(config.get("seed", 0))
    except (AttributeError, TypeError, ValueError) as error:
        raise LogError(f"{done}: cannot be read ({error}). Run again with --fresh.") from error
    size = log.manifest.get("model_size", {})
    return RunInfo(
        folder=log.folder,
        editor=str(log.manifest.get("label") or Path(_name(config, "editor")).stem),
        name=_name(config, "editor"),
        stream=printable(_name(config, "stream")),
        model=printable(_name(config, "model")),
        clock=printable(_name(config, "clock")),
        seed=seed,
        hardware=printable(hardware_line(log.manifest.get("hardware", ""))),
        done=done.exists(),
        wall_s=wall_s,
        fit_wall_s=fit_wall_s,
        made=made_of(config, log.manifest),
        editable_weights=int(size.get("editable_weights", 0)),
        model_bytes=int(size.get("model_bytes", 0)),
        width=int(size.get("width", 0)),
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
