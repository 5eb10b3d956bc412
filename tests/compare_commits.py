"""`python tests/compare_commits.py COMMIT`: do the same runs give the same facts as at a commit?

Runs several editors over 50 edits with queries, from the commit and from the working tree, on this machine with one
thread, and compares all facts but measured times and bytes. Prints what differs and exits with 1 where anything does.
Digests that were recorded on another processor would not hold here, so both sides run. Not collected by pytest.
"""

from __future__ import annotations

import argparse
import json
import math
import os
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pyarrow.parquet as pq

ROOT = Path(__file__).parents[1]
EDITORS = ("none", "ft", "grace", "liveedit", "rag", "wise", "t_patcher")
PACKAGES = ("lifelong", "streams", "reports")
FACTS = ("edited", "probed", "gauged", "timed", "served")
CHANGES: dict[str, Any] = {
    "edits": 50,
    "seed": 3,
    "threads": 1,
    "queries": "poisson",
    "queries.rate": 4,
    "panels": [1, 2, 5, 10, 20, 50],
    "panels.latency_routes": 0,
    "panels.latency_answers": 0,
}
SIDE = """
import json, sys
import lifelong
editors, changes = json.loads(sys.argv[1])
for editor in editors:
    print(lifelong.run(editor=editor, **changes), flush=True)
"""


def begin(source: Path, editors: list[str], changes: dict[str, Any]) -> subprocess.Popen[str]:
    """Start the runs of one side, whose code lies in `source`."""
    env = dict(os.environ, PYTHONPATH=str(source), OMP_NUM_THREADS="1")
    words = [sys.executable, "-c", SIDE, json.dumps([editors, changes])]
    return subprocess.Popen(words, cwd=source, env=env, stdout=subprocess.PIPE, text=True)


def folders(side: subprocess.Popen[str]) -> list[Path]:
    """Return the run folders that a side printed; leaves the program where it failed."""
    said, _ = side.communicate()
    if side.returncode:
        sys.exit(f"{side.args} failed.")  # pyright: ignore[reportUnknownMemberType]
    return [Path(line) for line in said.split()]


def facts_of(run: Path, name: str) -> list[dict[str, Any]]:
    """Return a run's facts of one type in order, without measured times and bytes."""
    rows = [
        row for part in sorted((run / "facts").glob(f"{name}-*.parquet")) for row in pq.read_table(part).to_pylist()
    ]
    kept = []
    for row in rows:
        if str(row.get("name", "")).endswith(("_wall_s", "_bytes")):
            row["value"] = None
        kept.append({k: v for k, v in row.items() if not k.endswith("wall_s")})
    return kept


def same(left: Any, right: Any) -> bool:
    """Whether two values are equal, to the last bit of a number."""
    if isinstance(left, float) and isinstance(right, float) and math.isnan(left) and math.isnan(right):
        return True
    return left == right


def differences(left: Path, right: Path) -> Iterator[str]:
    """Yield one line for each type of fact in which two runs differ, with the first difference."""
    for name in FACTS:
        ours, theirs = facts_of(left, name), facts_of(right, name)
        if len(ours) != len(theirs):
            yield f"{name}: {len(ours)} and {len(theirs)} rows"
            continue
        apart = [
            (i, k, a.get(k), b.get(k))
            for i, (a, b) in enumerate(zip(ours, theirs, strict=True))
            for k in sorted({*a, *b})
            if not same(a.get(k), b.get(k))
        ]
        if apart:
            rows = len({i for i, *_ in apart})
            columns = ", ".join(sorted({k for _, k, *_ in apart}))
            i, key, a, b = apart[0]
            yield f"{name}: {rows} of {len(ours)} rows differ in {columns}; first row {i}, {key}: {a!r} and {b!r}"


def main() -> None:
    parser = argparse.ArgumentParser(description=str(__doc__).splitlines()[0])
    parser.add_argument("commit")
    parser.add_argument("--editors", default=",".join(EDITORS))
    parser.add_argument("--out", type=Path, default=ROOT / "runs" / "compare", help="the commit's runs are kept here")
    given = parser.parse_args()
    found = subprocess.run(["git", "rev-parse", given.commit], cwd=ROOT, check=True, capture_output=True, text=True)
    commit = found.stdout.strip()
    here, there = given.out.resolve() / "tree", given.out.resolve() / commit[:12]
    shutil.rmtree(here, ignore_errors=True)
    editors = given.editors.split(",")
    with tempfile.TemporaryDirectory() as temporary:
        source, tree = Path(temporary) / "source", Path(temporary) / "tree"
        for package in PACKAGES:  # a copy: work may go on meanwhile
            shutil.copytree(ROOT / package, tree / package)
        subprocess.run(["git", "worktree", "add", "--detach", str(source), commit], cwd=ROOT, check=True)
        try:
            sides = [
                begin(code, editors, {**CHANGES, "out": str(out), "cache": str(out / "cache")})
                for code, out in ((tree, here), (source, there))
            ]
            ours, theirs = (folders(side) for side in sides)
        finally:
            subprocess.run(["git", "worktree", "remove", "--force", str(source)], cwd=ROOT, check=True)
    apart = 0
    for editor, left, right in zip(editors, ours, theirs, strict=True):
        lines = list(differences(left, right))
        rows = sum(len(facts_of(left, name)) for name in FACTS)
        print(f"{editor}: {'; '.join(lines) if lines else f'{rows} facts are equal'}")
        apart += bool(lines)
    sys.exit(1 if apart else 0)


if __name__ == "__main__":
    main()
