"""The life of one edit is what the facts say of it, in words; nobody who never served is named."""

from __future__ import annotations

from pathlib import Path

import pytest
from runs_alike import SMALL
from typer.testing import CliRunner

from lifelong.cli.main import app
from lifelong.cli.story import story_lines
from lifelong.log import LogError, Probed, RunLog
from lifelong.running.run import run
from lifelong.running.story import Moment, _broke, story
from lifelong.running.words import ConfigError


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A finished run of four edits, asked at every step."""
    return run(quiet=True, **{**SMALL, "edits": 4, "panels": [1, 2, 3], "out": str(tmp_path_factory.mktemp("runs"))})


def test_every_moment_is_a_row_of_the_facts(folder: Path) -> None:
    told = story(folder, "2")
    own = {"edit_id": told.told["edit_id"], "axis": "reliability", "scorer": "generated"}
    facts = RunLog.open(folder).table(Probed).to_pylist()
    rows = [row for row in facts if all(row[key] == value for key, value in own.items())]
    assert [m.step for m in told.moments] == sorted({r["step"] for r in rows}) == [2, 3, 4]
    for moment in told.moments:
        fact = [r for r in rows if r["step"] == moment.step][-1]
        assert (moment.answer, moment.home, list(moment.served)) == (
            fact["answer"],
            fact["routed_home"],
            fact["routed_ids"],
        )
        assert moment.right == (fact["score"] >= 1) and moment.others["locality"][1] > 0
    assert story(folder, told.told["edit_id"]) == told and told.number == 2 and told.of == 4


def test_it_is_told_in_words_and_drawn(folder: Path, tmp_path: Path) -> None:
    said = CliRunner().invoke(app, ["story", str(folder), "1", "-o", str(tmp_path / "life.png")]).output
    assert "edit 1 of 4" in said and "visible at step 1" in said and "served by" in said
    assert (tmp_path / "life.png").stat().st_size > 1000


def test_an_unknown_edit_and_a_folder_that_is_no_run_are_said(folder: Path, tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match="numbered 1 to 4"):
        story(folder, "9")
    with pytest.raises(LogError):
        story(tmp_path / "nowhere", "1")


def moment(step: int, right: bool, served: tuple[str, ...] = (), state: str = "") -> Moment:
    return Moment(step, step - 1, state, "said", right, served, "a" in served, None, {})


@pytest.mark.parametrize(
    "last, said",
    [
        (moment(5, False, ("b",)), "Another expert serves it: b ('the other')"),
        (moment(5, False), "the router refuses its own question"),
        (moment(5, False, ("a",)), "Its own expert still serves it and answers otherwise"),
        (moment(5, False, ("a", "b")), "Its own expert still serves it, beside 1 others"),
    ],
)
def test_how_it_broke_is_said_by_who_serves_it(last: Moment, said: str) -> None:
    before = moment(3, True, ("a",))
    found = _broke([before, last], "a", [(4, "b"), (5, "c")], {"b": "the other"})
    assert "right at step 3, wrong at step 5: 2 edits were made in between" in found and said in found


def test_an_edit_that_was_taken_back_or_never_right_did_not_break() -> None:
    assert _broke([moment(3, True), moment(5, False, state="taken back")], "a", [], {}) == ""
    assert _broke([moment(3, False), moment(5, False)], "a", [], {}) == ""


def test_steps_that_say_the_same_are_one_row(folder: Path) -> None:
    told = story(folder, "1")
    assert len(story_lines(told)) <= 8 + len(told.moments) + 2
