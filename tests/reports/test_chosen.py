"""What a reader chooses: editors, labels, two sets beside each other, figures for a paper; mistakes are named."""

from __future__ import annotations

import re
from pathlib import Path
from xml.etree import ElementTree

import polars as pl
import pytest
from runs_made_up import fake_run
from typer.testing import CliRunner

from lifelong.cli.main import app
from lifelong.running.words import ConfigError
from lifelong.studies.report import report, report_diff, run_folders
from reports.figures.looks import palette
from reports.figures.scores import degradation
from reports.paper import Paper, write_axes
from reports.table import load_runs
from reports.written import report_folder


@pytest.fixture(scope="module")
def sets(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, Path]:
    """Two sets of runs of equal streams; in the second `ft` forgets more, and `grace` is the same."""
    root = tmp_path_factory.mktemp("sets")
    for name, keep in (("one", 0.97), ("two", 0.2)):
        for editor, kept in (("none", 1.0), ("ft", keep), ("grace", 0.9)):
            fake_run(root / name, editor, kept, steps=(1, 5, 40), samples=9)
    return root / "one", root / "two"


@pytest.fixture(scope="module")
def chosen(sets: tuple[Path, Path], tmp_path_factory: pytest.TempPathFactory) -> Path:
    out = tmp_path_factory.mktemp("chosen") / "report"
    page = CliRunner().invoke(app, ["report", str(sets[0]), "-o", str(out), "--editors", "none,ft", "--labels",
                                    "ft=Fine-tuning"])  # fmt: skip
    assert page.exit_code == 0, page.exception
    return out


def test_only_chosen_editors_are_shown_by_their_new_names_and_keep_their_colours(chosen: Path) -> None:
    summary = pl.read_csv(chosen / "tables" / "summary.csv")
    assert summary["editor"].to_list() == ["none", "Fine-tuning"]
    text = (chosen / "index.html").read_text()
    assert "grace" not in re.sub(r"<(style|script)>.*?</\1>", "", text, flags=re.S)
    drawn = (chosen / "figures" / "degradation.svg").read_text().lower()
    assert palette(["ft"])["ft"].colour.lower() in drawn and palette(["grace"])["grace"].colour.lower() not in drawn


@pytest.mark.parametrize(
    "words, said",
    [
        (["--editors", "grase"], "Did you mean 'grace'"),
        (["--labels", "fft=x"], "Did you mean 'ft'"),
        (["--labels", "ft"], "expected LABEL=WORDS"),
        (["--labels", "ft=none"], "label of two editors"),
        (["--style", "papr"], "Did you mean 'paper'"),
        (["--diff"], "1 given"),
    ],
)
def test_a_mistake_is_named_with_what_is_near(sets: tuple[Path, Path], tmp_path: Path, words, said: str) -> None:
    found = CliRunner().invoke(app, ["report", str(sets[0]), "-o", str(tmp_path / "out"), *words])
    assert isinstance(found.exception, ConfigError) and said in str(found.exception)
    assert not (tmp_path / "out").exists()


def test_two_sets_are_compared_over_their_equal_streams(sets: tuple[Path, Path], tmp_path: Path) -> None:
    page = report_diff(*sets, tmp_path / "diff")
    table = pl.read_csv(tmp_path / "diff" / "tables" / "changes.csv")
    kept = {r["editor"]: r for r in table.filter(pl.col("measure") == "Rel").iter_rows(named=True)}
    assert kept["ft [two]"]["better"] == "ft [one]" and kept["ft [two]"]["difference"] < -0.2
    assert kept["grace [two]"]["difference"] == 0 and not kept["grace [two]"]["better"]
    text = page.read_text()
    assert "grace: no difference that is more than chance." in text and "ft: " in text and "Rel fell by" in text


def test_sets_of_other_streams_are_set_beside_each_other_and_nobody_is_better(tmp_path: Path) -> None:
    for name, stream in (("one", "toy"), ("two", "other")):
        fake_run(tmp_path / name, "ft", 0.9 if name == "one" else 0.1, steps=(1, 40), samples=0, on=("tiny", stream))
    text = report_diff(tmp_path / "one", tmp_path / "two", tmp_path / "diff").read_text()
    table = pl.read_csv(tmp_path / "diff" / "tables" / "changes.csv")
    assert set(table["rule"]) == {"not paired: other streams"} and set(table["better"]) == {""}
    assert "other streams, so that nothing is tested" in text


def test_a_report_stands_for_its_runs_while_they_are_there(
    chosen: Path, sets: tuple[Path, Path], tmp_path: Path
) -> None:
    assert {p.name for p in run_folders(chosen)} == {"none", "ft"} and run_folders(chosen)[0].parent == sets[0]
    run = fake_run(tmp_path / "runs", "ft", 0.9, steps=(1, 2), samples=0)
    page = report(run, tmp_path / "report")
    run.rename(tmp_path / "moved")
    with pytest.raises(ConfigError, match="not there any more"):
        run_folders(page.parent)


def test_a_paper_has_one_axis_a_file_of_its_width_with_words_that_are_words(
    sets: tuple[Path, Path], tmp_path: Path
) -> None:
    drawn = degradation(load_runs(run_folders(sets[0]))[0])
    assert drawn.figure is not None
    axes = len(drawn.figure.axes)
    with report_folder(tmp_path / "out") as making:
        write_axes(drawn, making, Paper(width=2.5, size=7))
    files = sorted((tmp_path / "out" / "paper").iterdir())
    assert len(files) == 2 * axes and {f.suffix for f in files} == {".pdf", ".svg"}
    svg = ElementTree.parse(next(f for f in files if f.name == "degradation-1-reliability-retention.svg")).getroot()
    assert svg.get("width") == "180pt"  # 2.5 inches
    words = [(e.text, e.get("style", "")) for e in svg.iter("{http://www.w3.org/2000/svg}text")]
    assert "exact match" in [w for w, _ in words] and all("7px" in style for _, style in words)
    assert "text generality" not in [w for w, _ in words]
    pdf = next(f for f in files if f.name == "degradation-1-reliability-retention.pdf").read_bytes()
    assert b"/FontFile2" in pdf and b"/MediaBox [ 0 0 180 " in pdf
