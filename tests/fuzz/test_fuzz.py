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


def fuzzed(reader: str, seconds: float, folder: Path) -> None:
    """Let a process of its own damage and read for some seconds; fail with the number of each example that failed."""
    note = folder / "example"
    words = [sys.executable, str(CHILD), reader, "--seconds", str(seconds), "--note", str(note)]
    try:
        ended = subprocess.run(words, capture_output=True, text=True, timeout=seconds + 2 * SLOW_S + 120, check=False,
                               env={**os.environ, "OMP_NUM_THREADS": "1"})  # fmt: skip
    except subprocess.TimeoutExpired:
        pytest.fail(f"{reader}: example {note.read_text()} hangs")
    tried = note.read_text() if note.is_file() else "none"
    assert ended.returncode == 0, f"{reader}: ended by {ended.returncode} in example {tried}\n{ended.stderr[-3000:]}"
    found = json.loads(ended.stdout.splitlines()[-1])
    assert not found["failed"], "\n".join([reader, *found["failed"].values()])
    assert found["peak_bytes"] < MOST_BYTES
    came = set(found["came"])
    assert came >= ({"read"} if reader in MADE_AGAIN else {"refused"}), "the damage does not reach the reader"


@pytest.mark.parametrize("reader", READERS)
def test_damaged_files_are_read_or_refused_in_words(reader: str, tmp_path: Path) -> None:
    fuzzed(reader, 120 / len(READERS), tmp_path)


@pytest.mark.soak
@pytest.mark.parametrize("reader", READERS)
def test_an_hour_of_damaged_files(reader: str, tmp_path: Path) -> None:
    fuzzed(reader, 3600 / len(READERS), tmp_path)
