"""Signals: a sweep that is asked to stop ends its cells, starts no other, leaves nothing behind, and can be resumed.

Real processes. Waits poll and are bounded; a bound that is reached fails the test.
"""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import suppress
from pathlib import Path

import pytest

from lifelong.log import Edited, RunLog
from lifelong.log.hive import runs_below
from lifelong.running.words import parse_words

WORDS = ["model=tiny", "stream=toy", "edits=400", "threads=1", "panels.every=1", "panels.latency_routes=0",
         "panels.latency_answers=0"]  # fmt: skip
COMMAND = [sys.executable, "-m", "lifelong.cli"]
BOUND_S = 240.0  # a machine may be busy; what is measured here is what happens, not how fast


def until(holds: Callable[[], bool], what: str) -> None:
    """Wait until something holds; fails with `what` after `BOUND_S`."""
    end = time.monotonic() + BOUND_S
    while not holds():
        assert time.monotonic() < end, what
        time.sleep(0.05)


def committed(out: Path) -> list[Path]:
    """The run folders below `out` in which a panel is committed."""
    return [run for run in runs_below(out) if list(run.glob("checkpoint/panel-*.json"))]


def finished(out: Path) -> list[Path]:
    """The finished runs below `out`."""
    return [run for run in runs_below(out) if (run / "DONE").exists()]


def descendants(of: int) -> set[int]:
    """The processes that a process started, and those that they started."""
    found: set[int] = set()
    for stat in Path("/proc").glob("[0-9]*/stat"):
        with suppress(OSError):
            pid, parent = int(stat.parent.name), int(stat.read_text().rpartition(")")[2].split()[1])
            found |= {pid} if parent == of else set()
    return found | {pid for child in found for pid in descendants(child)}


def alive(pid: int) -> bool:
    """Whether a process runs: one that ended and was not waited for does not."""
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] != "Z"
    except OSError:
        return False


def leftovers(folder: Path) -> list[Path]:
    """What lies in a temporary folder, but for the cache that torch makes there for all its processes."""
    return [path for path in folder.iterdir() if not path.name.startswith("torchinductor")]


@pytest.fixture
def started() -> Iterator[Callable[..., subprocess.Popen[str]]]:
    """Start a command in a process group of its own, which is killed afterwards whatever happens."""
    processes: list[subprocess.Popen[str]] = []

    def start(*words: str, temporary: Path, command: list[str] = COMMAND) -> subprocess.Popen[str]:
        temporary.mkdir(exist_ok=True)
        processes.append(
            subprocess.Popen(
                [*command, *words],
                stdout=subprocess.PIPE,
                stderr=subprocess.STDOUT,
                text=True,
                start_new_session=True,
                env={**os.environ, "TMPDIR": str(temporary)},
                preexec_fn=lambda: signal.signal(signal.SIGINT, signal.default_int_handler),
            )
        )
        return processes[-1]

    yield start
    for process in processes:
        with suppress(ProcessLookupError):
            os.killpg(process.pid, signal.SIGKILL)
        process.communicate()


@pytest.mark.parametrize(
    "number, to_group, code",
    [
        (signal.SIGTERM, False, 143),
        pytest.param(signal.SIGINT, True, 130, marks=pytest.mark.soak),  # as SIGTERM, half a minute more
        pytest.param(signal.SIGHUP, False, 129, marks=pytest.mark.soak),
    ],
)
def test_a_sweep_that_is_asked_to_stop_ends_its_cells_and_starts_no_other(
    number: signal.Signals, to_group: bool, code: int, started, tmp_path: Path
) -> None:
    out, temporary = tmp_path / "runs", tmp_path / "tmp"
    process = started("sweep", "seed=1,2,3,4", *WORDS, f"out={out}", "--jobs", "2", temporary=temporary)
    until(lambda: len(committed(out)) == 2, "no two cells came to a panel")
    below = descendants(process.pid)
    (os.killpg if to_group else os.kill)(process.pid, number)
    said, _ = process.communicate(timeout=BOUND_S)
    assert process.returncode == code, said
    assert len(below) >= 2 and not any(map(alive, below))
    assert len(runs_below(out)) == 2 and not finished(out)
    assert said.count("interrupted after") == 2 and "failed" not in said and "Traceback" not in said
    assert "0 of 4 runs are done, 2 interrupted, 2 not started. Go on with --resume." in said.splitlines()[-1]
    assert not leftovers(temporary)


def test_no_cell_outlives_a_sweep_that_is_killed(started, tmp_path: Path) -> None:
    out, temporary = tmp_path / "runs", tmp_path / "tmp"
    process = started("sweep", "seed=1,2", *WORDS, f"out={out}", temporary=temporary)
    until(lambda: len(committed(out)) == 1, "no cell came to a panel")
    below = descendants(process.pid)
    process.kill()
    assert below
    until(lambda: not any(map(alive, below)), "a cell lives on")
    assert not leftovers(temporary)


@pytest.mark.soak  # three sweeps; a cell that goes on after a stop is tried in test_engines and test_resume as well
def test_an_interrupted_sweep_is_gone_on_with_by_resume(started, tmp_path: Path) -> None:
    out, temporary = tmp_path / "runs", tmp_path / "tmp"
    words = ["sweep", "seed=1,2", *WORDS, "edits=12", f"out={out}"]
    words.remove("edits=400")
    process = started(*words, temporary=temporary)
    until(lambda: len(committed(out)) == 1, "no cell came to a panel")
    process.terminate()
    process.communicate(timeout=BOUND_S)
    partial = not finished(out)
    refused = started(*words, temporary=temporary)
    said, _ = refused.communicate(timeout=BOUND_S)
    assert not partial or (refused.returncode == 2 and "--resume" in said.splitlines()[-1]), said
    resumed = started(*words, "--resume", temporary=temporary)
    said, _ = resumed.communicate(timeout=BOUND_S)
    assert resumed.returncode == 0 and len(finished(out)) == 2, said


@pytest.mark.parametrize(
    "number, code", [(signal.SIGTERM, 143), pytest.param(signal.SIGINT, 130, marks=pytest.mark.soak)]
)
def test_a_run_that_is_asked_to_stop_says_in_its_last_line_what_is_kept(
    number: signal.Signals, code: int, started, tmp_path: Path
) -> None:
    out = tmp_path / "runs"
    process = started("run", "editor=none", *WORDS, f"out={out}", temporary=tmp_path / "tmp")
    until(lambda: len(committed(out)) == 1, "no panel was committed")
    process.send_signal(number)
    said, _ = process.communicate(timeout=BOUND_S)
    (folder,) = committed(out)
    last = said.splitlines()[-1]
    assert process.returncode == code and "Traceback" not in said, said
    assert "stopped; " in last and f" of 400 edits are kept in {folder}. Go on with --resume." in last
    assert f"stopped; {len(RunLog.open(folder).table(Edited))} of 400" in last


@pytest.mark.soak
def test_in_python_an_interrupt_passes_on_when_the_cells_have_ended(started, tmp_path: Path) -> None:
    out = tmp_path / "runs"
    changes = parse_words(WORDS) | {"seed": [1, 2], "out": str(out)}
    call = f"lifelong.sweep(**{changes!r})"
    code = f"import lifelong\ntry:\n    {call}\nexcept KeyboardInterrupt:\n    print('passed on')"
    process = started("-c", code, temporary=tmp_path / "tmp", command=[sys.executable])
    until(lambda: len(committed(out)) == 1, "no cell came to a panel")
    below = descendants(process.pid)
    process.send_signal(signal.SIGINT)
    said, _ = process.communicate(timeout=BOUND_S)
    assert process.returncode == 0 and said.splitlines()[-1] == "passed on", said
    assert below and not any(map(alive, below))
