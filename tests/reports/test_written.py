"""What is written is whole or not there; leftovers of older reports go, files of others stay; words are words."""

from __future__ import annotations

import errno
import json
import os
import re
from pathlib import Path
from xml.etree import ElementTree

import polars as pl
import pytest
from runs_made_up import fake_run
from typer.testing import CliRunner

from lifelong.cli.main import app
from lifelong.log import LogError
from lifelong.running.catalog import EVIDENCE
from reports.figures.scores import degradation
from reports.figures.style import grid, image_bytes, legend, named
from reports.numbers.joined import read_evidence
from reports.page import write_report
from reports.rendering import html_text
from reports.table import load_runs
from reports.written import LISTED, csv_bytes, put, report_folder, write_whole

HOSTILE = ["cost$\\frac{$", "_mine", "=1+1", "_child0", "<script>alert(1)</script>", "a\x1b[31mb", "$", "鳥 \u202e x"]


def files_of(folder: Path) -> dict[str, bytes]:
    return {str(p.relative_to(folder)): p.read_bytes() for p in folder.rglob("*") if p.is_file()}


def test_what_an_older_report_left_is_removed_and_files_of_others_stay(tmp_path: Path) -> None:
    out = tmp_path / "out"
    for made in (["index.html", "tables/old.csv"], ["index.html", "figures/new.svg"]):
        with report_folder(out) as making:
            for name in made:
                put(making, name, name.encode())
        (out / "tables" / "mine.csv").write_text("mine")
        (out / "notes.txt").write_text("mine")
    assert set(files_of(out)) == {"index.html", "figures/new.svg", "tables/mine.csv", "notes.txt", LISTED}


def test_a_report_that_fails_leaves_the_earlier_one(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    out = tmp_path / "out"
    write_report([fake_run(tmp_path / "a", "grace", 0.9, steps=(1, 2))], out)
    before, other = files_of(out), fake_run(tmp_path / "b", "ft", 0.9, steps=(1, 2))

    def full(handle: int) -> None:
        raise OSError(errno.ENOSPC, "No space left on device")

    with monkeypatch.context() as patch:
        patch.setattr("reports.written.os.fsync", full)
        with pytest.raises(LogError, match=r"out/tables/summary\.csv: could not be written \(No space left"):
            write_report([other], out)
    assert files_of(out) == before
    with pytest.raises(ValueError, match="first panel"):
        write_report([fake_run(tmp_path / "c", "ft", 0.9, steps=())], tmp_path / "none")
    assert not (tmp_path / "none").exists()


def test_a_list_that_names_other_files_removes_none_of_them(tmp_path: Path) -> None:
    out = tmp_path / "out"
    (out / "tables").mkdir(parents=True)
    (tmp_path / "precious.csv").write_text("x")
    (out / LISTED).write_bytes(b"../precious.csv\n/etc/passwd\ntables/../../precious.csv\n\xff\nnotes.txt\n")
    (out / "notes.txt").write_text("x")
    with report_folder(out) as making:
        put(making, "index.html", b"x")
    assert (tmp_path / "precious.csv").exists() and (out / "notes.txt").exists()


def test_a_file_or_a_device_in_the_place_of_a_report_is_refused(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("x")
    with pytest.raises(LogError, match="a file is there"), report_folder(tmp_path / "file"):
        pass
    assert (tmp_path / "file").read_text() == "x"
    run = fake_run(tmp_path, "grace", 0.9, steps=(1,))
    before = files_of(run)
    with pytest.raises(LogError, match="a run is there"):
        write_report([run], run)
    assert files_of(run) == before
    (tmp_path / "link.json").symlink_to(tmp_path / "file")
    write_whole(tmp_path / "link.json", b"y")
    assert (tmp_path / "file").read_text() == "y" and (tmp_path / "link.json").is_symlink()
    os.mkfifo(tmp_path / "pipe")
    with pytest.raises(LogError, match="pipe: no file is there"):
        write_whole(tmp_path / "pipe", b"x")
    assert (tmp_path / "pipe").is_fifo()


def test_cells_are_no_formulas_and_numbers_stay_numbers() -> None:
    table = pl.DataFrame({"=name": ["=1+1", "+1", "-x", "@a", "\tb", "\rc", "ok", None], "n": [-1.5] * 8})
    lines = csv_bytes(table).decode().splitlines()
    assert lines[0] == "'=name,n" and all(line.startswith("'") for line in lines[1:7])
    assert lines[7] == "ok,-1.5" and lines[8] == ",-1.5"


def test_no_text_is_markup_or_moves_the_cursor() -> None:
    assert html_text("<a href='x'>\x1b[1m") == "&lt;a href=&#39;x&#39;&gt;\\x1b[1m"


def test_names_stand_in_pictures_legends_tables_and_pages_as_they_are(tmp_path: Path) -> None:
    said = {"hardware": "<b>here</b>"}
    runs = [
        fake_run(
            tmp_path / str(i),
            "mine.py",
            0.9,
            label=label,
            steps=(1, 2),
            samples=9,
            kinds=(label, label, label),
            said=said,
        )
        for i, label in enumerate(HOSTILE)
    ]
    text = write_report(runs, tmp_path / "out").read_text()
    shown = load_runs(runs)[0].editors
    assert text.count("<script") == 1 and "<b>here" not in text and not re.search(r"[\x00-\x08\x0b-\x1f\u202e]", text)
    svg = ElementTree.parse(tmp_path / "out" / "figures" / "degradation.svg")
    words = {e.text for e in svg.iter("{http://www.w3.org/2000/svg}text")}
    owners = {e.get("data-editor") for e in svg.iter()}
    for label, one in zip(sorted(HOSTILE), sorted(shown), strict=True):
        assert f'scope="row">{html_text(label)}</th>' in text and f'data-of="{html_text(label)}"' in text
        assert one in words and one in owners, "the legend has it"
    rows = (tmp_path / "out" / "tables" / "summary.csv").read_text().splitlines()[1:]
    assert len(rows) == len(HOSTILE) and not any(row.startswith(("=", "+", "-", "@")) for row in rows)


def test_a_legend_has_every_name_once_in_order() -> None:
    figure, (ax,) = grid(1)
    for name in HOSTILE:
        ax.plot([1, 2], [1, 2], label=named(name))
    legend(figure, [ax])
    assert [t.get_text() for t in figure.legends[0].get_texts()] == HOSTILE
    assert image_bytes(figure).startswith(b"\x89PNG") and b"<svg" in image_bytes(figure, "svg")


def test_no_figure_is_made_but_by_the_one_door() -> None:
    """`savefig` and canvases read mathematics; so would a logarithmic axis whose labels are matplotlib's own."""
    root = Path(__file__).parents[2]
    for package in ("lifelong", "reports"):
        for path in (root / package).rglob("*.py"):
            text = path.read_text()
            assert path.name == "style.py" or not re.search(r"\.savefig\(|FigureCanvas", text), path


def test_tick_labels_are_plain_numbers(tmp_path: Path) -> None:
    figure = degradation(load_runs([fake_run(tmp_path, "grace", 0.9)])[0]).figure
    assert figure is not None
    assert b"mathdefault" not in image_bytes(figure) + image_bytes(figure, "svg")


@pytest.mark.parametrize(
    "data", [b"", b"a,b\n1,2\n", b"[]", b"{}", b"[" * 10**5, b"\xff\xfe", b'{"editors": []}', b'{"editors": [{}]}']
)
def test_evidence_names_the_file_that_is_none(tmp_path: Path, data: bytes) -> None:
    path = tmp_path / "other.csv"
    path.write_bytes(data)
    said = CliRunner().invoke(app, ["evidence", str(path), "-o", str(tmp_path / "out.json")])
    assert isinstance(said.exception, ValueError) and str(path) in str(said.exception)
    assert "evidence.json of a report" in str(said.exception) and not (tmp_path / "out.json").exists()


def test_evidence_prints_its_table_and_writes_it(tmp_path: Path) -> None:
    tables = []
    for seed in (0, 1):
        run = fake_run(tmp_path / str(seed), "grace", 0.9, seed, steps=(1, 9))
        tables.append(write_report([run], tmp_path / f"report{seed}").parent / "tables" / "evidence.json")
    (tmp_path / "bom.json").write_bytes(b"\xef\xbb\xbf" + tables[1].read_bytes())
    words = [str(tables[0]), str(tmp_path / "bom.json"), "-o", str(tmp_path / "both" / "joined.json")]
    said = CliRunner().invoke(app, ["evidence", *words])
    assert said.exit_code == 0, said.exception
    lines = said.stdout.splitlines()
    assert (
        lines[1].split()[:3] == ["grace", "9", "2"] and len(lines[0]) == len(lines[1]) and "tiny on toy" in lines[2]
    )
    shipped = CliRunner().invoke(app, ["evidence", str(EVIDENCE), "-o", str(tmp_path / "again.json")])
    assert shipped.exit_code == 0 and "liveedit" in shipped.stdout
    assert read_evidence(tmp_path / "both" / "joined.json")["editors"][0]["seeds"] == [0, 1]
    assert json.loads(tables[0].read_text())["editors"][0]["must change"]["n"] == 9
