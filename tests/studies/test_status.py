"""How far runs are, from what lies in and beside their folders: states, order, a table that reads well in a file."""

from __future__ import annotations

import io
import time
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from runs_alike import SMALL

import lifelong
from lifelong.log.status import SILENT_S, RunStatus, read_status, status_path, write_status
from lifelong.running.pulse import pulse
from lifelong.running.signals import Stopped
from lifelong.running.words import ConfigError
from lifelong.studies.live_table import LiveTable, terminal_table
from lifelong.studies.status import RunRow, counted

NOW = time.time() + 10 * 365 * 86_400  # far ahead: what is written now never grows old while tests run
RUNNING = RunStatus(
    "grace seed=1", "running", 200, 80, 2.5, 48.0, {"retention": 0.975, "bank": 80.0}, "", "", 1, at=NOW
)


def test_a_running_run_tells_edits_pace_numbers_and_what_is_left() -> None:
    assert RunRow(Path("x"), RUNNING).line() == (
        "running   grace seed=1  80/200  2.5 edits/s  retention 0.975  about 0:48 left"
    )
    slow = replace(RUNNING, edits_per_s=0.1, doing="fit, 0:30 so far")
    assert "10.0 s an edit" in RunRow(Path("x"), slow).line() and "fit, 0:30 so far" in RunRow(Path("x"), slow).line()


def test_a_run_that_gives_no_sign_for_a_minute_is_lost_and_says_where_it_ran() -> None:
    row = RunRow(Path("x"), replace(RUNNING, at=time.time() - SILENT_S - 65, host="node7"))
    assert row.state == "lost" and "no sign of it for 2:0" in row.line() and "node7" in row.line()
    assert RunRow(Path("x"), replace(row.status, state="done")).state == "done"
    assert counted([row, RunRow(Path("y"), RUNNING)]) == "2 runs: 1 running, 1 lost"


def test_a_pulse_writes_while_it_works_and_how_it_ended(tmp_path: Path) -> None:
    folder = tmp_path / "run"

    def ended(error: BaseException | None) -> RunStatus:
        with pytest.raises(type(error) if error else StopIteration), pulse(folder, lambda: RUNNING, every_s=0.01):
            until_beaten = read_status(folder)
            assert until_beaten is not None and until_beaten.state == "running"
            raise error or StopIteration
        found = read_status(folder)
        assert found is not None
        return found

    failed = ended(ValueError("no such layer\nat all"))
    assert (failed.state, failed.error) == ("failed", "no such layer")
    assert ended(Stopped(15)).state == "stopped" and ended(KeyboardInterrupt()).state == "stopped"
    write_status(folder, replace(RUNNING, label="cell 7", place=7))
    with pulse(folder, lambda: RUNNING, every_s=0.01):
        time.sleep(0.05)
    done = read_status(folder)
    assert done is not None and (done.state, done.label, done.place) == ("done", "cell 7", 7)


def test_a_status_file_that_is_torn_or_foreign_is_no_status(tmp_path: Path) -> None:
    path = status_path(tmp_path / "run")
    for text in ("", "{", "[]", '{"label": "a"}', path.name):
        path.write_text(text)
        assert read_status(tmp_path / "run") is None
    write_status(tmp_path / "run", replace(RUNNING, state="dancing"))  # pyright: ignore[reportArgumentType]
    assert read_status(tmp_path / "run") is None


def test_the_status_of_a_folder_is_what_its_runs_are_whatever_their_files_say(tmp_path: Path) -> None:
    words: dict[str, Any] = {**SMALL, "edits": 2, "panels": [2], "editor": "none"}
    folder = lifelong.run(out=str(tmp_path / "out"), **words)  # its display and its pulse work
    (row,) = lifelong.status(folder.parent)
    assert (row.state, row.status.edits, row.status.total) == ("done", 2, 2)
    status_path(folder).unlink()
    assert [one.state for one in lifelong.status([folder])] == ["done"]
    write_status(folder, RUNNING)
    write_status(folder.parent / "planned", replace(RUNNING, state="waiting", label="first", place=0))
    found = lifelong.status(tmp_path)
    assert [(one.state, one.status.label) for one in found] == [("waiting", "first"), ("done", "grace seed=1")]
    with pytest.raises(ConfigError, match="no run"):
        lifelong.status(tmp_path / "elsewhere")


def test_in_a_file_the_table_shows_what_moves_once_for_each_change(tmp_path: Path) -> None:
    rows = [RunRow(Path("a"), replace(RUNNING, state="done")), RunRow(Path("b"), RUNNING)]
    rows.append(RunRow(Path("c"), replace(RUNNING, state="waiting")))
    out = io.StringIO()
    table = LiveTable([], stream=out, rows=lambda _: rows)
    table.show()
    table.show()
    lines = out.getvalue().splitlines()
    assert len(lines) == 2 and lines[0].endswith("3 runs: 1 running, 1 waiting, 1 done") and "80/200" in lines[1]
    rows[1] = RunRow(Path("b"), replace(RUNNING, edits=90))
    table.show()
    assert "90/200" in out.getvalue()


def test_on_a_terminal_names_are_text_and_not_markup() -> None:
    from rich.console import Console

    shown = Console(width=120, record=True, file=io.StringIO())
    shown.print(
        terminal_table([RunRow(Path("a"), replace(RUNNING, label="ft [red]", state="failed", error="a [b] c"))])
    )
    text = shown.export_text()
    assert "ft [red]" in text and "a [b] c" in text and "1 runs: 1 failed" in text
