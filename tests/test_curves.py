"""The main job, shortened to 20 edits, on the shipped model and weights: `make curves EDITS=20` in one process."""

from pathlib import Path

import polars as pl
import pytest

import lifelong
from reports.page import write_report

EDITORS = ("none", "ft", "grace", "liveedit", "rag")


@pytest.fixture(scope="module")
def curves(tmp_path_factory: pytest.TempPathFactory) -> Path:
    out = tmp_path_factory.mktemp("curves")
    few = {"panels.at": [1, 10, 20], "panels.latency_routes": 10, "panels.latency_answers": 2}
    changes = {"edits": 20, "out": str(out), **few}
    folders = [lifelong.run("curves", quiet=True, **{"editor": editor, **changes}) for editor in EDITORS]
    return write_report(folders, out / "report").parent


@pytest.fixture(scope="module")
def summary(curves: Path) -> dict[str, dict[str, float]]:
    rows = pl.read_csv(curves / "tables" / "summary.csv").iter_rows(named=True)
    return {row["editor"]: row for row in rows}


def test_liveedit_ships_what_it_learnt() -> None:
    """The run must not train: the fit of the shipped configuration, model and pool is in the package."""
    from lifelong.running.prepare import prepare, resolve

    ready = prepare(resolve("curves", {"editor": "liveedit", "edits": 20}))
    assert ready.fit is not None and ready.fit.places(Path("nowhere"))["shipped"].is_file()


def test_grace_is_reliable_right_after_each_edit(summary: dict) -> None:
    assert summary["grace"]["reliability right after the edit"] >= 0.95


def test_the_unedited_model_is_exactly_flat(curves: Path) -> None:
    table = pl.read_csv(curves / "tables" / "degradation.csv").filter(pl.col("editor") == "none")
    kept = table.filter(pl.col("measure").str.contains("locality|must not"))
    assert len(kept) > 10 and set(kept["mean"]) == {1.0}


@pytest.mark.soak
def test_fine_tuning_loses_locality(tmp_path: Path) -> None:
    """Over a hundred edits: thirty, at the rate that is chosen for hundreds, leave it whole."""
    once = {"panels.at": [100], "panels.instant": False, "panels.latency_routes": 0, "panels.latency_answers": 0}
    run = lifelong.run("curves", quiet=True, editor="ft", edits=100, out=str(tmp_path), **once)
    found = pl.read_csv(write_report([run], tmp_path / "report").parent / "tables" / "summary.csv").row(0, named=True)
    names = ("text locality: far", "modal locality: near", "modal locality: same image", "modal locality: far")
    assert min(found[name] for name in names) < 1


@pytest.mark.parametrize("name", ["reliability (retention)", "text generality", "modal generality"])
def test_liveedit_is_reliable_and_general(summary: dict, name: str) -> None:
    assert summary["liveedit"][name] > 0.7  # of some forty questions; .79 to .90 over 2,000 edits


def test_every_figure_of_the_page_is_there(curves: Path) -> None:
    names = {p.stem for p in (curves / "figures").glob("*.png")}
    assert {"degradation", "scorers", "age_heatmap", "routing", "latency", "memory", "prompt_kinds"} <= names
