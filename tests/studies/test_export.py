"""A sweep read by other tools, in place by one line and as exported tables: by their own readers, against RunLog."""

from __future__ import annotations

import glob
import json
import math
import re
import shutil
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

import polars as pl
import pyarrow.dataset
import pytest
from runs_alike import SMALL
from runs_made_up import fake_run
from typer.testing import CliRunner

import lifelong
from lifelong.cli.main import app
from lifelong.cli.words import split_words
from lifelong.log import FACTS, LogError, Probed, RunLog, schema_of
from lifelong.log.columns import columns_told
from lifelong.log.hive import HIVE, runs_below
from lifelong.log.stream_tables import EDITS_SCHEMA, PROBES_SCHEMA, stream_table
from lifelong.running.config import load_config
from lifelong.running.words import ConfigError
from lifelong.studies.export import EXPORTED, OF_A_RUN, export

README = Path(__file__).parents[2] / "reports" / "README.md"
EDITORS = ("none", {"name": "grace", "setting": "tuned"})
SCHEMAS = {
    **{fact.__name__.lower(): schema_of(fact) for fact in FACTS},
    "edits": EDITS_SCHEMA,
    "probes": PROBES_SCHEMA,
}
HOSTILE = ("=1+1", "'quoted", "-5", "a\r\nb", 'say "no", or', "", "\tx", "@me", "NA", "ü\u2028\x1b[1m", "[1]")


@pytest.fixture(scope="module")
def sweep(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Two editors, two seeds, with traffic: the folder in which `runs/curves` lies."""
    here = tmp_path_factory.mktemp("sweep")
    words = {
        **SMALL,
        "edits": 2,
        "panels": [1],
        "queries": "poisson",
        "queries.rate": 1,
        "cache": str(here / "cache"),
    }
    for editor in EDITORS:
        for seed in (0, 10):
            words |= {"editor": editor, "seed": seed, "cache": str(here / "cache")}
            lifelong.run(quiet=True, **words, out=str(here / "runs" / "curves"))
    return here


def run_log_rows(sweep: Path, kind: str = "probed") -> list[dict[str, Any]]:
    """Every row of a kind as RunLog has it, with what is said of its run, in order."""
    found = []
    for folder in runs_below(sweep / "runs" / "curves"):
        log = RunLog.open(folder)
        name, seed = log.config()["editor"]["name"], log.config()["seed"]
        label = "grace (tuned)" if name == "grace" else "none"
        said = {"editor": name, "stream": "toy", "model": "tiny", "seed": seed, "run": log.name, "label": label}
        said["setting"] = "tuned" if name == "grace" else ""
        fact = next((f for f in FACTS if f.__name__.lower() == kind), None)
        table = stream_table(log, kind) if fact is None else log.table(fact)
        found += [{**said, **row} for row in table.to_pylist()]
    return found


def alike(rows: Iterable[Mapping[str, Any]], columns: Iterable[str]) -> list[str]:
    """Rows by some columns and in an order of their own, whatever a library calls a missing number."""

    def plain(value: Any) -> Any:
        value = value.tolist() if hasattr(value, "tolist") else value
        return None if isinstance(value, float) and math.isnan(value) else value

    return sorted(repr([plain(row[name]) for name in columns]) for row in rows)


IN_PLACE = [*HIVE, *schema_of(Probed).names]


def test_one_line_of_duckdb_polars_and_pandas_reads_a_whole_sweep(sweep: Path, monkeypatch) -> None:
    """The lines of the page themselves."""
    names = {"duckdb": pytest.importorskip("duckdb", reason="extra `export`"), "glob": glob}
    names |= {"pandas": pytest.importorskip("pandas", reason="extra `export`"), "pyarrow": pyarrow, "polars": pl}
    (block,) = re.findall(r"```python\n(.*?)```", README.read_text(encoding="utf-8"), re.DOTALL)
    monkeypatch.chdir(sweep)
    of_duckdb, of_polars, files, of_pandas = block.splitlines()
    wanted = alike(run_log_rows(sweep), IN_PLACE)
    assert len(wanted) > 500
    found = eval(of_duckdb, names)
    assert dict(zip(found.columns, map(str, found.types), strict=True)).items() >= {
        "editor": "VARCHAR", "stream": "VARCHAR", "model": "VARCHAR", "seed": "BIGINT",
    }.items()  # fmt: skip
    assert alike((dict(zip(found.columns, row, strict=True)) for row in found.fetchall()), IN_PLACE) == wanted
    found = eval(of_polars, names).collect()
    assert [found.schema[name] for name in HIVE] == [pl.String, pl.String, pl.String, pl.Int64]
    assert alike(found.to_dicts(), IN_PLACE) == wanted
    exec(files, names)
    found = eval(of_pandas, names)
    assert [found[name].dtype.kind for name in ("seed", "step")] == ["i", "i"] and str(found["editor"].dtype) == "str"
    assert alike(found.to_dict("records"), IN_PLACE) == wanted


def test_a_panel_that_was_not_committed_is_read_in_place_and_never_exported(sweep: Path, tmp_path: Path) -> None:
    """As the page says."""
    shutil.copytree(sweep / "runs", tmp_path / "runs")
    facts = runs_below(tmp_path / "runs" / "curves")[0] / "facts"
    n = len(run_log_rows(sweep))
    shutil.copy(facts / "probed-000000.parquet", facts / "probed-000009.parquet")
    in_place = pl.scan_parquet(f"{tmp_path}/runs/curves/editor=*/**/facts/probed-*.parquet").collect()
    assert in_place.height > n
    out = export(tmp_path / "runs" / "curves", "parquet", tmp_path / "out")
    assert pl.read_parquet(f"{out}/probed/**/*.parquet").height == n


@pytest.fixture(scope="module")
def exported(sweep: Path, tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    out = tmp_path_factory.mktemp("exported")
    said: list[str] = []
    found = {to: export(sweep / "runs" / "curves", to, out / to, say=said.append) for to in ("csv", "parquet", "hf")}
    assert said.count("edits: 8 rows of 4 runs") == 3
    return found


@pytest.mark.parametrize("kind", SCHEMAS)
def test_csv_is_read_back_as_it_was_by_polars(kind: str, sweep: Path, exported: dict[str, Path]) -> None:
    """Lists are JSON, one quote is taken off texts: then all is as in the facts, also what is missing."""
    columns = [*OF_A_RUN, *SCHEMAS[kind].names]
    lists = [field.name for field in SCHEMAS[kind] if pyarrow.types.is_list(field.type)]
    texts = [field.name for field in SCHEMAS[kind] if pyarrow.types.is_string(field.type)]
    types = {name: pl.String for name in (*lists, *texts, *OF_A_RUN) if name != "seed"}
    found = pl.read_csv(exported["csv"] / f"{kind}.csv", schema_overrides=types, infer_schema_length=None)
    assert found.columns == columns
    rows = found.with_columns(pl.col(pl.String).str.strip_prefix("'")).to_dicts()
    for row in rows:
        row |= {name: json.loads(row[name]) for name in lists}
    assert alike(rows, columns) == alike(run_log_rows(sweep, kind), columns)
    assert kind == "served" or rows


def test_csv_is_read_by_pandas_and_duckdb(sweep: Path, exported: dict[str, Path]) -> None:
    pandas, duckdb = (pytest.importorskip(name, reason="extra `export`") for name in ("pandas", "duckdb"))
    path, wanted = exported["csv"] / "probed.csv", run_log_rows(sweep)
    numbers = ["seed", "step", "age", "score", "routed_n", "routed_home", "route_score"]
    assert alike(pandas.read_csv(path).to_dict("records"), numbers) == alike(wanted, numbers)
    found = duckdb.sql(f"FROM read_csv('{path}')")
    rows = [dict(zip(found.columns, row, strict=True)) for row in found.fetchall()]
    assert alike(rows, numbers) == alike(wanted, numbers)


def test_parquet_is_read_by_polars_pandas_and_duckdb(sweep: Path, exported: dict[str, Path]) -> None:
    pandas, duckdb = (pytest.importorskip(name, reason="extra `export`") for name in ("pandas", "duckdb"))
    for kind in SCHEMAS:
        columns, folder = [*OF_A_RUN, *SCHEMAS[kind].names], exported["parquet"] / kind
        wanted = alike(run_log_rows(sweep, kind), columns)
        assert alike(pl.scan_parquet(folder, hive_partitioning=True).collect().to_dicts(), columns) == wanted
        hive = pyarrow.dataset.HivePartitioning.discover()
        found = pandas.read_parquet(folder, partitioning=hive)
        assert alike(found.astype(object).to_dict("records"), columns) == wanted and found["seed"].dtype.kind == "i"
        told = duckdb.sql(f"FROM read_parquet('{folder}/**/*.parquet', hive_partitioning=true)")
        assert alike((dict(zip(told.columns, row, strict=True)) for row in told.fetchall()), columns) == wanted


def test_a_hugging_face_folder_is_loaded_by_datasets_offline(
    sweep: Path, exported: dict[str, Path], tmp_path: Path, monkeypatch
) -> None:
    monkeypatch.setenv("HF_HUB_OFFLINE", "1")
    monkeypatch.setenv("HF_DATASETS_CACHE", str(tmp_path))
    datasets = pytest.importorskip("datasets", reason="extra `export`")
    for kind in ("probed", "served", "probes"):
        columns = [*OF_A_RUN, *SCHEMAS[kind].names]
        found = datasets.load_dataset(str(exported["hf"]), kind, split="train", cache_dir=str(tmp_path))
        assert found.column_names == columns and found.features["seed"].dtype == "int64"
        assert alike(found.to_list(), columns) == alike(run_log_rows(sweep, kind), columns)


def test_the_card_says_what_every_column_is_and_leaves_out_tables_without_rows(
    exported: dict[str, Path], tmp_path: Path
) -> None:
    card = (exported["hf"] / "README.md").read_text(encoding="utf-8")
    for kind, schema in SCHEMAS.items():
        about = columns_told()[kind]
        assert set(schema.names) <= set(re.findall(r"\w+", about)), kind
        assert f"config_name: {kind}\n  data_files: data/{kind}/*.parquet\n" in card
        assert about.splitlines()[-1].strip() in card
    assert "licence" in card and "license:" not in card and str(Path.home()) not in card
    out = export(fake_run(tmp_path, "ft", 0.9, steps=(1, 2)), "hf", tmp_path / "out")
    card = (out / "README.md").read_text(encoding="utf-8")
    assert "no rows of served, edits, probes" in card and "config_name: served" not in card
    assert not (out / "data" / "served").exists()


def test_a_text_comes_through_csv_as_it_was_and_is_never_run_by_a_spreadsheet(tmp_path: Path) -> None:
    folder = fake_run(tmp_path / "runs", "ft", 0.9, steps=(1,), samples=0)
    shutil.rmtree(folder)
    log = RunLog.create(folder, 'editor = "ft"\nstream = "toy"\nmodel = "tiny"\nseed = 3\n', {"label": "=ft()"})
    cells = [
        Probed(1, 0.0, f"p{n}", "e", 0, "a", "", "text", "", "generated", 0.1, text, (text, '",'), route_score=score)
        for n, (text, score) in enumerate(zip(HOSTILE, [None, 1e-300, *[0.1] * 9], strict=True))
    ]
    log.commit(0, cells, lifelong.State({}, {}))
    log.finish()
    out = export(folder, "csv", tmp_path / "out")
    found = pl.read_csv(out / "probed.csv", schema_overrides={"answer": pl.String, "routed_ids": pl.String})
    assert not any(text.startswith(("=", "+", "-", "@", "\t", "\r")) for text in found["answer"])
    assert found["label"].to_list() == ["'=ft()"] * len(HOSTILE)
    assert tuple(found["answer"].str.strip_prefix("'")) == HOSTILE
    assert [tuple(json.loads(text)) for text in found["routed_ids"]] == [(text, '",') for text in HOSTILE]
    assert found["route_score"].to_list() == [None, 1e-300, *[0.1] * 9] and found["seed"].to_list() == [3] * len(
        HOSTILE
    )


def test_a_file_is_read_when_its_rows_are_wanted_and_not_before(tmp_path: Path) -> None:
    log = RunLog.open(fake_run(tmp_path, "ft", 0.9, steps=(1, 2, 5)))
    first, second, _ = log.parts(Probed)
    tables = log.tables(Probed)
    second.write_bytes(b"x" * second.stat().st_size)
    assert next(tables).num_rows == pl.read_parquet(first).height
    with pytest.raises(LogError, match=second.name):
        next(tables)


@pytest.mark.parametrize("to", ["csv", "parquet", "hf"])
def test_a_damaged_run_is_named_and_an_earlier_export_stays(to: str, tmp_path: Path) -> None:
    one, other = (fake_run(tmp_path / "runs", name, 0.9, steps=(1, 2), samples=0) for name in ("ft", "rag"))
    out = export(tmp_path / "runs", to, tmp_path / "out")
    before = {path: path.read_bytes() for path in out.rglob("*") if path.is_file()}
    part = RunLog.open(other).parts(Probed)[-1]
    part.write_bytes(b"x" * part.stat().st_size)
    with pytest.raises(LogError, match=str(part)):
        export(tmp_path / "runs", to, out)
    assert {path: path.read_bytes() for path in out.rglob("*") if path.is_file()} == before
    assert sorted(p.name for p in tmp_path.iterdir()) == ["out", "runs"]
    export(one, to, out)
    listed = (out / EXPORTED).read_text().split()
    assert not any("rag" in name for name in listed) and len(listed) < len(before) + (to == "csv")


def test_what_cannot_be_exported_is_refused_in_one_line(tmp_path: Path) -> None:
    runs, out = tmp_path / "runs", tmp_path / "out"
    folder = fake_run(runs, "ft", 0.9, steps=(1, 2), samples=0)
    with pytest.raises(ConfigError, match="--to parqet: no such format. Did you mean 'parquet'"):
        export(folder, "parqet", out)
    shutil.copytree(folder, tmp_path / "copy" / "ft")
    with pytest.raises(ConfigError, match="both are called ft"):
        export([runs, tmp_path / "copy"], "csv", out)
    begun = RunLog.create(tmp_path / "begun", 'editor = "ft"\n', {}).folder
    with pytest.raises(LogError, match="no panel was committed"):
        export(begun, "csv", out)
    with pytest.raises(LogError, match="other things are there"):
        export(folder, "csv", runs)
    assert not out.exists()


def test_a_run_that_is_not_finished_is_exported_and_said(tmp_path: Path) -> None:
    folder = fake_run(tmp_path / "runs", "ft", 0.9, steps=(1, 2), samples=0)
    (folder / "DONE").unlink()
    said: list[str] = []
    export(tmp_path / "runs", "csv", tmp_path / "out", say=said.append)
    assert f"{folder}: not finished; its 2 committed panels are exported." in said


def test_the_command_prints_the_folder_and_the_rows(tmp_path: Path) -> None:
    folder = fake_run(tmp_path / "runs", "ft", 0.9, steps=(1,), samples=0)
    found = CliRunner().invoke(app, ["export", str(folder), "--to", "csv", "-o", str(tmp_path / "out")])
    assert found.stdout.splitlines()[-1] == str(tmp_path / "out") and "served: 0 rows of 1 runs" in found.stderr


def test_a_run_is_run_again_from_the_configuration_in_its_hive_folder(sweep: Path, monkeypatch) -> None:
    """Its path has `=` in it, also seen from the sweep's folder, and is no key=value word."""
    folder = runs_below(sweep / "runs" / "curves")[0]
    monkeypatch.chdir(sweep / "runs" / "curves")
    for path in (folder / "config.toml", (folder / "config.toml").relative_to(Path.cwd())):
        source, changes = split_words([str(path), "threads=1"])
        assert source == str(path) and changes == {"threads": 1}
        assert load_config(source).seed in (0, 10)
    assert split_words(["editor=grace", "seed=1"]) == (None, {"editor": "grace", "seed": 1})
    assert split_words([str(folder / "confg.toml")])[0] == str(folder / "confg.toml"), "a misspelt path is no key"
    assert split_words(["editor/radius=2"]) == (None, {"editor/radius": 2})
