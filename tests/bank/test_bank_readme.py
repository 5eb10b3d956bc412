"""The page of the bank is true: its code runs, and it names every file."""

from __future__ import annotations

import re
from pathlib import Path

FOLDER = Path(__file__).parents[2] / "lifelong" / "bank"
PAGE = (FOLDER / "README.md").read_text()


def test_the_code_of_the_page_runs() -> None:
    (code,) = re.findall(r"```python\n(.*?)```", PAGE, re.DOTALL)
    names: dict = {}
    exec(code, names)
    assert names["found"].ids == [("moon",)] and names["found"].scores[0, 0] == 0


def test_the_page_names_every_file() -> None:
    files = {p.name for p in FOLDER.rglob("*.py")} - {"__init__.py"}
    table = "".join(line for line in PAGE.splitlines() if line.startswith("| `"))
    assert files == set(re.findall(r"(\w+\.py)`", table))
