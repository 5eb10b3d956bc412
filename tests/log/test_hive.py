"""Hive folders: where a run lies, that other tools read the names as they were, which runs are found in a folder."""

from __future__ import annotations

from pathlib import Path

import polars as pl
import pyarrow as pa
import pyarrow.dataset as ds
import pyarrow.parquet as pq
import pytest
from runs_made_up import fake_run

from lifelong.log.hive import run_place, runs_below, short_names
from lifelong.running.words import ConfigError
from lifelong.studies.report import run_folders

NAMES = (
    "ft",
    "my ed%it",
    "a=b",
    "über",
    "007",
    "null",
    "x+y",
    "a[b]*?",
    "1.5",
    "~x",
    "q'uo\"te",
    ":c#&",
    "%20",
    "a\\b",
)


def placed(out: Path, editor: str, seed: int = 0, name: str = "run") -> Path:
    return run_place(out, {"editor": editor, "stream": "toy", "model": "tiny", "seed": seed}, name)


def test_pyarrow_polars_and_duckdb_read_every_name_as_it_was(tmp_path: Path) -> None:
    duckdb = pytest.importorskip("duckdb", reason="extra `export`")
    for number, name in enumerate(NAMES):
        (facts := placed(tmp_path, name, number) / "facts").mkdir(parents=True)
        pq.write_table(pa.table({"number": [number]}), facts / "timed-000000.parquet")
    found = [
        ds.dataset(tmp_path, partitioning="hive").to_table().to_pylist(),
        pl.scan_parquet(f"{tmp_path}/editor=*/**/facts/*.parquet", hive_partitioning=True).collect().to_dicts(),
        duckdb.sql(f"FROM read_parquet('{tmp_path}/editor=*/**/facts/*.parquet', hive_partitioning=true)")
        .pl()
        .to_dicts(),
    ]
    for rows in found:
        assert {row["number"]: (row["editor"], row["seed"]) for row in rows} == {
            number: (name, number) for number, name in enumerate(NAMES)
        }


def test_a_file_a_folder_and_a_hub_id_give_their_last_name() -> None:
    found = short_names({"editor": {"name": "/me/my.ed.py"}, "stream": "toy", "model": {"name": "/m/Qwen2.5-VL"}})
    assert found == {"editor": "my.ed", "stream": "toy", "model": "Qwen2.5-VL", "seed": 0}
    assert short_names({"model": {"name": "org/Name"}})["model"] == "Name"


@pytest.mark.parametrize("letter", ["x", "ü", "\ud800"])
def test_a_long_name_fits_a_file_system_and_two_stay_two(letter: str, tmp_path: Path) -> None:
    one, other = (placed(tmp_path, letter * 240 + end) for end in "ab")
    one.mkdir(parents=True)
    assert one != other and max(len(part.encode()) for part in one.parts) <= 255


def test_runs_are_found_in_a_folder_and_its_hive_folders_and_nowhere_else(tmp_path: Path) -> None:
    flat, deep = tmp_path / "b-1", placed(tmp_path, "ft", 3)
    rung, inner = tmp_path / "stress-ft-1" / "step-000032", deep / "editor=ft" / "c-1"
    for folder in (flat, deep, rung, inner, tmp_path / "report"):
        folder.mkdir(parents=True)
    for folder in (flat, deep, rung, inner):
        (folder / "manifest.json").touch()
    (tmp_path / "editor=stray").write_text("a file")
    assert runs_below(tmp_path) == [flat, deep]
    assert runs_below(tmp_path / "editor=ft") == runs_below(deep.parent) == [deep]
    assert runs_below(deep) == [] == runs_below(tmp_path / "nothing")
    (circle := tmp_path / "editor=circle").symlink_to(tmp_path)
    assert runs_below(tmp_path) == [flat, circle / flat.name, deep], "a link is followed, and not in a circle"


def test_a_report_is_of_the_runs_of_one_editor_where_its_folder_is_given(tmp_path: Path) -> None:
    one, other = (
        fake_run(placed(tmp_path, name).parent, name, 0.9, steps=(1, 2), samples=0) for name in ("ft", "rag")
    )
    assert run_folders(tmp_path) == [one, other] and run_folders(tmp_path / "editor=ft") == [one]


def test_a_folder_of_folders_of_runs_is_refused_with_their_names(tmp_path: Path) -> None:
    for name in ("curves", "editors"):
        fake_run(placed(tmp_path / name, "ft").parent, "ft", 0.9, steps=(1, 2), samples=0)
    (tmp_path / "bench").mkdir()
    with pytest.raises(ConfigError, match=f"hold runs: give {tmp_path}/curves {tmp_path}/editors\\."):
        run_folders(tmp_path)
