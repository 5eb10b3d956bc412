"""What is wrong with an editor's file or options is one line that says where."""

from __future__ import annotations

from pathlib import Path

import pytest

from lifelong.editing.checks.check import check_editor
from lifelong.editing.find import editor_class

HEAD = "from lifelong import Editor\n\n\n"
EDITS = "    def edit(self, edits):\n        pass\n"
MINE = HEAD + "class Mine(Editor):\n"
MORE = MINE + EDITS + "\n"


@pytest.mark.parametrize(
    ("source", "told"),
    [
        ("def oops(:\n    pass\n", r"mine\.py, line 1: this file cannot be run \(SyntaxError"),
        ("import os\n\nimport no_such_module\n", r"mine\.py, line 3: .*ModuleNotFoundError: No module named"),
        (HEAD + "x = 1 / 0\n", r"mine\.py, line 4: .*ZeroDivisionError"),
        ("raise ValueError('two\\nlines')\n", r"mine\.py, line 1: .*two lines"),
        ("x = 1\n", r"exactly one Editor class, with its `edit`; found none\.$"),
        ("class Mine:\n" + EDITS, r"found none \(Mine, line 1, is not derived from `lifelong.Editor`\)"),
        (MINE + "    pass\n", r"found none \(Mine, line 4, lacks `edit`\)"),
        (HEAD + f"class A(Editor):\n{EDITS}\n\nclass B(Editor):\n{EDITS}", r"found A \(line 4\), B \(line 9\)"),
        (MINE + "    def edit(self):\n        pass\n", r"line 5: `edit` of Mine cannot .*edit\(self, edits\)"),
        (MORE + "    def applied(self, queries):\n        pass\n", r"line 8: `applied` .*routes\)"),
        (MORE + "    def __init__(self, vlm):\n        pass\n", r"line 8: `__init__` .*seed\)"),
        (MORE + "    @classmethod\n    def fit_options(cls):\n        pass\n", r"`fit_options`"),
        (MORE + "    state = 3\n", r"`state` of Mine cannot be called .*it is no method"),
    ],
)  # fmt: skip
def test_an_editors_file_fails_with_one_line_that_says_where(source: str, told: str, tmp_path: Path) -> None:
    path = tmp_path / "mine.py"
    path.write_text(source)
    with pytest.raises(ValueError, match=told) as caught:
        editor_class(str(path))
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize(
    "body",
    [
        "    def edit(self, batch):\n        pass\n",
        EDITS + "\n    def applied(self, queries, routes, extra=None):\n        pass\n",
        EDITS + "\n    def __init__(self, *args, **words):\n        pass\n",
        EDITS + "\n    @staticmethod\n    def turn_of(options):\n        return 1\n",
    ],
)
def test_a_method_may_have_names_and_defaults_of_its_own(body: str, tmp_path: Path) -> None:
    path = tmp_path / "mine.py"
    path.write_text(MINE + body)
    assert editor_class(str(path)).__name__ == "Mine"


@pytest.mark.parametrize(
    ("options", "told"),
    [({"radius": -1}, r"^Grace: radius: .*greater than 0 \(given: -1\)\.$"), ({"radus": 1}, r"radus: .*radius")],
)
def test_a_bad_option_is_told_once_and_not_by_every_check(options: dict, told: str, tiny_vlm) -> None:
    with pytest.raises(ValueError, match=told) as caught:
        check_editor("grace", tiny_vlm, **options)
    assert "\n" not in str(caught.value) and "pydantic" not in str(caught.value)


def test_a_report_speaks_in_claims_and_not_in_numbers_of_laws(tiny_vlm) -> None:
    text = check_editor("none", tiny_vlm).text()
    assert "law" not in text and "keeps the contract" in text
