"""All runs of a batch as one set of tables for other tools: CSV, Parquet in hive folders, a Hugging Face data set.

Knows run logs and file formats; computes no number. Files of facts are read one at a time, verified, of committed
panels only; what a run's rows are told apart by stands before the facts' own columns.
"""

from __future__ import annotations

import json
import shutil
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, cast

import polars as pl
import pyarrow as pa
import pyarrow.parquet as pq

from lifelong.log import FACTS, LogError, RunLog, schema_of
from lifelong.log.columns import columns_told
from lifelong.log.hive import HIVE, run_place, short_names
from lifelong.log.stream_tables import EDITS_SCHEMA, PROBES_SCHEMA, stream_table
from lifelong.log.whole import whole_folder
from lifelong.running.settings import settings_told
from lifelong.running.signals import stop_if_asked
from lifelong.running.words import ConfigError
from lifelong.studies.report import run_folders
from streams.near import near
from streams.text import printable

EXPORTED = "export.files"
"""The file of an export that names all its files: by it an earlier export is known, and may be replaced."""
OF_A_RUN = {
    "editor": pa.string(),
    "stream": pa.string(),
    "model": pa.string(),
    "seed": pa.int64(),
    "run": pa.string(),
    "label": pa.string(),
    "setting": pa.string(),
}
"""The columns that say which run a row is of, before the facts' own."""
_FACTS = {fact.__name__.lower(): fact for fact in FACTS}
_TABLES: dict[str, pa.Schema] = {
    **{kind: schema_of(fact) for kind, fact in _FACTS.items()},
    "edits": EDITS_SCHEMA,
    "probes": PROBES_SCHEMA,
}
_COMMANDS = ("=", "+", "-", "@", "\t", "\r", "'")


@dataclass(frozen=True)
class _Run:
    """One run that is exported: its log, its configuration's plain table, and what stands before each of its rows."""

    log: RunLog
    config: Mapping[str, Any]
    said: Mapping[str, Any]

    def tables(self, kind: str, columns: Mapping[str, pa.DataType]) -> Iterator[pa.Table]:
        """Yield a kind's rows, as many at a time as a file holds, with `columns` of what is said of the run first."""
        for table in self._tables(kind):
            stop_if_asked()
            for name, of_type in reversed(list(columns.items())):
                column = pa.repeat(pa.scalar(self.said[name], of_type), table.num_rows)
                table = table.add_column(0, pa.field(name, of_type), column)
            yield table

    def _tables(self, kind: str) -> Iterator[pa.Table]:
        if kind in _FACTS:
            yield from self.log.tables(_FACTS[kind])
        elif f"{kind}.parquet" in self.log.manifest.get("files", {}):
            yield stream_table(self.log, kind)


def export(
    runs: str | Path | Iterable[str | Path],
    to: str,
    out: str | Path,
    *,
    say: Callable[[str], None] = lambda _: None,
) -> Path:
    """Write the tables of all runs in some folders into a folder of their own, and return it.

    `to` is csv (a file a table), parquet (a hive folder a table) or hf (a folder that `datasets.load_dataset` reads).
    Only committed panels are exported; `say` is told of runs that have none or are not finished, and how many rows
    there are. Raises `ConfigError`, and `LogError` for a damaged run or where the folder holds other things; `out` is
    then as it was.
    """
    if to not in _FORMATS:
        raise ConfigError(f"--to {to}: no such format.{near(to, _FORMATS)}")
    found = [_run_of(RunLog.open(folder), say) for folder in run_folders(runs, say)]
    _check_names(found)
    with whole_folder(Path(out), EXPORTED) as making:
        rows: dict[str, int] = {}
        for kind in _TABLES:
            rows[kind] = _FORMATS[to](making, kind, found)
            say(f"{kind}: {rows[kind]:,} rows of {len(found)} runs")
        if to == "hf":
            (making / "README.md").write_text(_card(found, rows), encoding="utf-8")
    return Path(out)


def _run_of(log: RunLog, say: Callable[[str], None]) -> _Run:
    """Return a run with what is said of it in each of its rows; raises `LogError` where no panel is committed."""
    if log.last_panel() < 0:
        raise LogError(f"{log.folder}: no panel was committed yet. Let the run reach its first panel, then export.")
    if not log.done():
        say(f"{log.folder}: not finished; its {log.last_panel() + 1} committed panels are exported.")
    config = log.config()
    names = short_names(config)
    label = str(log.manifest.get("label") or names["editor"])
    said = {**names, "run": log.name, "label": label, "setting": settings_told(label, names["editor"])}
    return _Run(log, config, said)


def _check_names(runs: Sequence[_Run]) -> None:
    """Raise `ConfigError` for two folders of one name: the rows of the one could not be told from the other's."""
    seen: dict[str, Path] = {}
    for run in runs:
        other = seen.setdefault(run.log.name, run.log.folder)
        if other != run.log.folder:
            raise ConfigError(f"{other} and {run.log.folder}: both are called {run.log.name}. Give one of them.")


def _to_csv(making: Path, kind: str, runs: Sequence[_Run]) -> int:
    """Write `KIND.csv`: all columns, a run after the other."""
    n = 0
    with open(making / f"{kind}.csv", "wb") as file:
        _cells(pa.schema([*OF_A_RUN.items(), *_TABLES[kind]]).empty_table()).write_csv(file)
        for run in runs:
            for table in run.tables(kind, OF_A_RUN):
                _cells(table).write_csv(file, include_header=False)
                n += table.num_rows
    return n


def _cells(table: pa.Table) -> pl.DataFrame:
    """Return a table as CSV has it: lists as JSON, and a quote before texts that a spreadsheet would run."""
    for n, field in enumerate(table.schema):
        if pa.types.is_list(field.type):
            texts = [None if v is None else json.dumps(v, ensure_ascii=False) for v in table[n].to_pylist()]
            table = table.set_column(n, field.name, pa.array(texts, pa.string()))
    frame = cast(pl.DataFrame, pl.from_arrow(table))
    text = pl.col(pl.String)
    first = text.str.slice(0, 1)
    return frame.with_columns(pl.when(first.is_in(_COMMANDS)).then(pl.lit("'") + text).otherwise(text).name.keep())


def _to_parquet(making: Path, kind: str, runs: Sequence[_Run]) -> int:
    """Write `KIND/editor=E/.../RUN.parquet`: the columns that the hive folders say are not in the files."""
    inside = {name: of_type for name, of_type in OF_A_RUN.items() if name not in HIVE}
    return sum(
        _write(run_place(making / kind, run.config, f"{run.log.name}.parquet"), run, kind, inside) for run in runs
    )


def _to_hf(making: Path, kind: str, runs: Sequence[_Run]) -> int:
    """Write `data/KIND/RUN.parquet`: all columns in each file; none of a kind without rows, which would not load."""
    folder = making / "data" / kind
    n = sum(_write(folder / f"{run.log.name}.parquet", run, kind, OF_A_RUN) for run in runs)
    if not n:
        shutil.rmtree(folder)
    return n


def _write(path: Path, run: _Run, kind: str, columns: Mapping[str, pa.DataType]) -> int:
    """Write one run's rows of one kind into a file, also where there are none, and return how many there are."""
    path.parent.mkdir(parents=True, exist_ok=True)
    schema, n = pa.schema([*columns.items(), *_TABLES[kind]]), 0
    with pq.ParquetWriter(path, schema, compression="zstd") as writer:
        for table in run.tables(kind, columns):
            writer.write_table(table)
            n += table.num_rows
    return n


_FORMATS: dict[str, Callable[[Path, str, Sequence[_Run]], int]] = {
    "csv": _to_csv,
    "parquet": _to_parquet,
    "hf": _to_hf,
}

_ABOUT = {
    "editor, stream, model": "string: what edited, what was edited and asked, what was edited in",
    "seed": "int64: what everything that is drawn by chance was drawn from",
    "run": "string: the name of the run's folder; its hash names configuration and content",
    "label": "string: the editor and those of its options that are not the defaults",
    "setting": "string: the named setting of its options, published or tuned, as the label tells ('': none)",
}


def _card(runs: Sequence[_Run], rows: Mapping[str, int]) -> str:
    """Return the README.md of a Hugging Face data set: which files are which configuration, and what columns mean."""
    told = columns_told()
    kinds = [kind for kind, n in rows.items() if n]
    configs = "".join(f"- config_name: {kind}\n  data_files: data/{kind}/*.parquet\n" for kind in kinds)
    listed = "\n".join(f"    {printable(run.log.name)}: {printable(run.said['label'])}" for run in runs)
    shared = "\n".join(f"    {name}: {what}" for name, what in _ABOUT.items())
    tables = "\n".join(f"## {kind}: {rows[kind]:,} rows\n\n{_indented(told.get(kind, ''))}\n" for kind in kinds)
    missing = [kind for kind in rows if kind not in kinds]
    without = f" The runs have no rows of {', '.join(missing)}." if missing else ""
    return f"""---
configs:
{configs}---

# Runs of lifelong-edit

Streaming knowledge edits of a multimodal language model, and what it answered at each panel. {len(runs)} runs, one
row a fact; `datasets.load_dataset(FOLDER, "probed")` reads one table. No licence is stated here: state one before you
publish it.{without}

{listed}

## Columns of every table

{shared}

`step` counts the edits that are visible by then. Columns in `_s` are simulated seconds, those in `_wall_s` measured.

{tables}"""


def _indented(text: str) -> str:
    """Return a text as a block that Markdown leaves as it is."""
    return "\n".join(f"    {line}".rstrip() for line in text.splitlines())
