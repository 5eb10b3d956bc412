"""A page of many runs fits into a laptop: what its facts take does not grow into what a laptop has."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import pytest
from runs_made_up import fake_run

ASKED = [
    ("reliability", "exact", "image"), ("generality", "rephrase", "text"), ("generality", "rendering", "image"),
    ("locality", "far", "image"), ("locality", "near", "image"), ("locality", "text", "text"),
    ("locality", "same-image", "image"), ("portability", "hop", "text"), ("specificity", "must", "image"),
    ("specificity", "must-not", "image"), ("negation", "text", "text"),
]  # fmt: skip
REPORTED = """
import json, sys, time
from pathlib import Path
from lifelong.studies.report import report
begun = time.process_time()
report([Path(folder) for folder in sys.argv[2:]], Path(sys.argv[1]))
status = Path("/proc/self/status").read_text()
peak = next(int(line.split()[1]) for line in status.splitlines() if line.startswith("VmHWM"))
print(json.dumps({"cpu_s": time.process_time() - begun, "peak_bytes": 1024 * peak}))
"""


@pytest.mark.soak
@pytest.mark.skipif(not Path("/proc/self/status").exists(), reason="the system does not tell a process's peak memory")
def test_a_page_of_a_hundred_runs_takes_less_than_two_gigabytes(tmp_path: Path) -> None:
    """20 editors by 5 seeds of 1,000 edits, 2.9 million answers; prints the seconds and the bytes."""
    folders = [
        fake_run(
            tmp_path / f"{seed}", f"made{e:02}", 0.9 + 0.005 * e, seed, f"made{e:02}", steps=(1, 10, 100, 1000),
            probes=ASKED, samples=100,
        )
        for e in range(20) for seed in range(5)
    ]  # fmt: skip
    words = [sys.executable, "-c", REPORTED, str(tmp_path / "report"), *map(str, folders)]
    done = subprocess.run(words, capture_output=True, text=True, check=True)
    found = json.loads(done.stdout.splitlines()[-1])
    print(f"\n{found['cpu_s']:.0f} processor seconds, {found['peak_bytes'] / 1e9:.2f} GB")
    assert found["peak_bytes"] < 2.0e9
