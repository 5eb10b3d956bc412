"""A user's own test suite inherits the contract: one test a sentence, failures and skips where they belong."""

from __future__ import annotations

import os
import re
import subprocess
import sys
from pathlib import Path

import pytest

from lifelong.editing.checks.check import CHECKS

ROOT = Path(__file__).parents[2]
RIGHT = '''"""Mine."""
from lifelong import Editor, EditorOptions, State


class Mine(Editor):
    """A list of what was edited, which answers nothing (a reference)."""

    class Options(EditorOptions):
        most: int = 3

    def __init__(self, vlm, options=None, *, seed=0):
        super().__init__(vlm, options, seed=seed)
        self.seen = []

    def edit(self, edits):
        self.seen = [*self.seen, *(e.id for e in edits)]

    def state(self):
        return State({}, {"revision": 0, "seen": self.seen})

    def load(self, state):
        self.seen = list(state.meta["seen"])
'''
WRONG = '''"""Forgetful."""
from lifelong import Editor


class Forgetful(Editor):
    """Takes edits in and does nothing with them (a reference)."""

    def edit(self, edits):
        self.revision += 1
'''
SUITE = """from lifelong.editing.checks.suite import EditorContract


class TestRight(EditorContract):
    editor = "right.py"
    options = {"most": 2}


class TestWrong(EditorContract):
    editor = "wrong.py"
"""


@pytest.fixture(scope="module")
def said(tmp_path_factory) -> str:
    folder = tmp_path_factory.mktemp("user")
    for name, text in (("right.py", RIGHT), ("wrong.py", WRONG), ("test_mine.py", SUITE)):
        (folder / name).write_text(text)
    (folder / "pytest.ini").write_text("[pytest]\n")
    command = [sys.executable, "-m", "pytest", "-v", "-rs", "-p", "no:cacheprovider", "test_mine.py"]
    env = {**os.environ, "PYTHONPATH": str(ROOT)}
    done = subprocess.run(command, cwd=folder, capture_output=True, text=True, env=env)
    assert done.returncode == 1, done.stdout + done.stderr
    return done.stdout


def outcomes(said: str, name: str) -> dict[str, str]:
    """What became of each sentence in one class of tests."""
    return dict(re.findall(rf"::{name}::test_contract\[(\w+)\] (\w+)", said))


def test_a_right_editor_passes_and_what_it_does_not_promise_is_skipped_with_a_reason(said):
    found = outcomes(said, "TestRight")
    assert found.keys() == {check.name for check in CHECKS}
    skipped = {check.name for check in CHECKS if check.needs not in ("", "routed")}
    assert found == {name: "SKIPPED" if name in skipped else "PASSED" for name in found}
    assert "Mine does not promise it: trains = False" in said


def test_an_editor_that_changes_nothing_is_named_as_such(said):
    failed = {name for name, outcome in outcomes(said, "TestWrong").items() if outcome == "FAILED"}
    assert failed == {"an_edit_changes_something"}
    assert "edit of Forgetful changes nothing" in said


def test_pytest_is_imported_by_the_suite_alone():
    code = "import sys, lifelong; lifelong.check_editor; sys.exit('pytest' in sys.modules)"
    subprocess.run([sys.executable, "-c", code], check=True, cwd=ROOT)
