"""Every reader takes damaged files: it reads them or refuses them in its own words, in time and in memory."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest
from fuzz.child import SLOW_S
from fuzz.readers import READERS

CHILD = Path(__file__).with_name("child.py")
MOST_BYTES = 2 * 10**9
MADE_AGAIN = {"cache"}  # what is damaged there is not refused


def fuzzed(reader: str, seconds: float, folder: Path, *, last: int = 10**9) -> None:
    """Let a process of its own damage and read; fail with the number of each example that failed.

    It ends after example `last` or after some seconds, whichever comes first.
    """
    note, said, told = folder / "example", folder / "said", folder / "told"
    words = [sys.executable, str(CHILD), reader, "--seconds", str(seconds), "--last", str(last), "--note", str(note)]
    with said.open("w") as out, told.open("w") as err:  # no pipes: whoever else holds one must not keep us waiting
        child = subprocess.Popen(words, stdout=out, stderr=err, env={**os.environ, "OMP_NUM_THREADS": "1"})
        try:
            code = child.wait(seconds + SLOW_S + 60)
        except subprocess.TimeoutExpired:
            child.kill()
            pytest.fail(f"{reader}: example {note.read_text()} hangs")
    tried = note.read_text() if note.is_file() else "none"
    assert code == 0, f"{reader}: ended by {code} in example {tried}\n{told.read_text()[-3000:]}"
    found = json.loads(said.read_text().splitlines()[-1])
    assert not found["failed"], "\n".join([reader, *found["failed"].values()])
    assert found["peak_bytes"] < MOST_BYTES
    came = set(found["came"])
    assert came >= ({"read"} if reader in MADE_AGAIN else {"refused"}), "the damage does not reach the reader"


WHOLE = "report"  # writes a page for each example: half a minute for a few


@pytest.mark.parametrize("reader", [pytest.param(r, marks=[pytest.mark.soak] * (r == WHOLE)) for r in READERS])
def test_damaged_files_are_read_or_refused_in_words(reader: str, tmp_path: Path) -> None:
    """The same examples on every machine, about a minute of them."""
    fuzzed(reader, 60, tmp_path, last=READERS[reader].examples)


@pytest.mark.soak
@pytest.mark.parametrize("reader", READERS)
def test_an_hour_of_damaged_files(reader: str, tmp_path: Path) -> None:
    fuzzed(reader, 3600 / len(READERS), tmp_path)
