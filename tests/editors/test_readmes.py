"""The page of the editors lists them all, and both pages stay short."""

from __future__ import annotations

import re
from pathlib import Path

from lifelong.editing.find import editor_class, editor_names

FOLDER = Path(__file__).parents[2] / "lifelong"
ROWS = dict(re.findall(r"^\| `(\w+)` \| ([^|]+) \|", (FOLDER / "editors/README.md").read_text(), re.MULTILINE))


def test_the_table_has_every_editor_and_says_which_are_trained():
    assert sorted(ROWS) == editor_names()
    assert {name for name, family in ROWS.items() if "trained" in family} == {
        name for name in editor_names() if editor_class(name).trains
    }


def test_pages_are_short_and_their_links_lead_somewhere():
    for page in (FOLDER / "editors/README.md", FOLDER / "editing/README.md"):
        text = page.read_text()
        assert len(text.splitlines()) <= 80
        for target in re.findall(r"\]\(([^)]+)\)", text):
            assert (page.parent / target).exists(), target
