"""Cells on other engines than processes here: what a lost node and a preemption cost, and what is said of a mistake.

Ray and submitit are the real ones: two nodes of Ray on this machine, submitit's executor for one machine.
"""

from __future__ import annotations

import os
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from runs_alike import facts_of

import lifelong
from lifelong.cli.sweep import cell_engine
from lifelong.log import RunLog
from lifelong.log.hive import runs_below
from lifelong.log.status import read_status
from lifelong.running.words import ConfigError
from lifelong.studies.engines.engine import Ended, Need
from lifelong.studies.engines.processes import attended
from lifelong.studies.sweep import CellOutcome

WORDS: dict[str, Any] = {
    "editor": ["none", "grace"], "model": "tiny", "stream": "toy", "edits": 24, "threads": 1, "panels.every": 2,
    "panels.latency_routes": 0, "panels.latency_answers": 0,
}  # fmt: skip
BOUND_S = 240.0


def until(holds: Callable[[], object], what: str) -> None:
    """Wait until something holds; fails with `what` after `BOUND_S`."""
    end = time.monotonic() + BOUND_S
    while not holds():
        assert time.monotonic() < end, what
        time.sleep(0.02)


def begun(out: Path) -> list[Path]:
    """The runs below a folder of which a panel is committed."""
    return [run for run in runs_below(out) if list(run.glob("checkpoint/panel-*.json"))]


@pytest.fixture(scope="module")
def alone(tmp_path_factory: pytest.TempPathFactory) -> list[dict[str, Any]]:
    """The facts of the cells, run one after the other in this process."""
    out = str(tmp_path_factory.mktemp("alone"))
    return [facts_of(lifelong.run(quiet=True, out=out, **{**WORDS, "editor": name})) for name in WORDS["editor"]]


def in_background(work: Callable[[], list[CellOutcome]]) -> tuple[threading.Thread, list[CellOutcome]]:
    """Start a sweep in a thread; its outcomes are in the list when the thread has ended."""
    found: list[CellOutcome] = []
    thread = threading.Thread(target=lambda: found.extend(work()), daemon=True)
    thread.start()
    return thread, found


@pytest.fixture
def cluster(monkeypatch: pytest.MonkeyPatch) -> Iterator[Any]:
    """A Ray cluster of two nodes with one core each."""
    pytest.importorskip("ray", reason="Ray is not installed: pip install 'lifelong-edit[ray]'")
    monkeypatch.setenv("RAY_AUTH_MODE", "disabled")
    monkeypatch.setenv("RAY_USAGE_STATS_ENABLED", "0")
    here = str(Path(lifelong.__file__).parents[1])
    monkeypatch.setenv("PYTHONPATH", os.pathsep.join(filter(None, [here, os.environ.get("PYTHONPATH", "")])))
    import ray  # pyright: ignore[reportMissingImports]
    from ray.cluster_utils import Cluster  # pyright: ignore[reportMissingImports]

    nodes = Cluster(initialize_head=True, head_node_args={"num_cpus": 1, "include_dashboard": False})
    try:
        yield nodes
    finally:
        ray.shutdown()
        nodes.shutdown()


def test_the_cells_of_a_lost_node_are_finished_on_another_from_their_last_panel(
    cluster: Any, alone: list[dict[str, Any]], tmp_path: Path
) -> None:
    second = cluster.add_node(num_cpus=1)
    engine = cell_engine(cluster.address, [], Need(cpus=1), str(tmp_path))
    thread, found = in_background(lambda: lifelong.sweep(engine=engine, out=str(tmp_path), **WORDS))
    until(lambda: len(begun(tmp_path)) == 2, "no two cells came to a panel")
    cluster.remove_node(second, allow_graceful=False)
    thread.join(BOUND_S)
    assert [one.state for one in found] == ["done", "done"], [one.error for one in found]
    assert [facts_of(one.folder) for one in found if one.folder] == alone


def test_a_preempted_job_commits_what_it_has_is_queued_again_and_goes_on(
    alone: list[dict[str, Any]], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    pytest.importorskip("submitit", reason="submitit is not installed: pip install 'lifelong-edit[slurm]'")
    from submitit.local.local import LocalJob  # pyright: ignore[reportMissingImports]

    jobs: list[Any] = []
    made = LocalJob.__init__
    monkeypatch.setattr(LocalJob, "__init__", lambda self, *a, **k: (made(self, *a, **k), jobs.append(self))[0])
    engine = cell_engine("", ["cluster=local,timeout_min=20"], Need(), str(tmp_path))
    thread, found = in_background(lambda: lifelong.sweep(engine=engine, out=str(tmp_path), **WORDS))
    until(lambda: len(begun(tmp_path)) == 2, "no two cells came to a panel")
    grace = next(folder for folder in begun(tmp_path) if "grace" in folder.name)
    for job in {job.job_id: job for job in jobs}.values():
        preempt(job)
    thread.join(BOUND_S)
    assert [one.state for one in found] == ["done", "done"], [one.error for one in found]
    assert [facts_of(one.folder) for one in found if one.folder] == alone
    said = "".join(path.read_text() for path in (tmp_path / "slurm").rglob("*_log.*"))
    assert "24 edits are kept in" in said and f"{grace}" in said and "Requeued job" in said


def preempt(job: Any) -> None:
    """Send a job the signal by which Slurm warns it: to the process that submitit runs, as Slurm does."""
    import signal

    found = subprocess.run(["pgrep", "-P", job.job_id], capture_output=True, text=True).stdout.split()
    for child in found:
        os.kill(int(child), signal.SIGUSR2)


@pytest.mark.parametrize("last, code, output", [("all done", 0, ("folder",)), ("a line", -6, ("folder", "a line"))])
def test_a_process_that_aborts_while_it_leaves_has_done_its_work_and_one_that_aborts_before_has_not(
    last: str, code: int, output: tuple[str, ...]
) -> None:
    """Libraries abort now and then in the destructors of their threads ("terminate called ...")."""
    words = f"import os; input(); print('folder'); print({last!r}, flush=True); os.abort()"
    process = subprocess.Popen([sys.executable, "-c", words], text=True, stdin=-1, stdout=-1, stderr=-1)
    heard: list[str] = []
    ended = attended(process, {}, heard.append)
    assert (ended.code, ended.output) == (code, output)
    assert heard == (["its work was done when its process ended with code -6"] if code == 0 else [])


@pytest.mark.parametrize(
    "ray, slurm, need, said",
    [
        ("auto", ["timeout_min=5"], Need(), "two clusters"),
        ("", [], Need(gpus=1), "--ray or --slurm"),
        ("", ["partition=gpu"], Need(), "timeout_min"),
        ("", ["cluster=local", "timeout_min=5", "partitoin=gpu"], Need(), "partitoin"),
        ("", ["cluster=lokal", "timeout_min=5"], Need(), "lokal"),
        ("", ["cluster=local", "timeout_min=long"], Need(), "timeout_min"),
    ],
)
def test_a_mistake_in_a_cluster_is_one_line_before_anything_starts(
    ray: str, slurm: list[str], need: Need, said: str, tmp_path: Path
) -> None:
    if slurm and not ray:
        pytest.importorskip("submitit", reason="submitit is not installed: pip install 'lifelong-edit[slurm]'")
    with pytest.raises(ConfigError, match=said) as error:
        cell_engine(ray, slurm, need, str(tmp_path))
    assert "\n" not in str(error.value)


def test_a_cell_that_fails_is_named_the_others_finish_and_retry_takes_up_that_one_alone(tmp_path: Path) -> None:
    """With an engine of the test's own, which runs cells in this process and fails at one of them at first."""
    ran: list[str] = []
    broken = ["grace"]

    def engine(requests: Any, *, told: Any) -> list[Ended]:
        ended = []
        for place, request in enumerate(requests):
            name = request["run"]["editor"]["name"]
            assert request["how"]["wait_s"] > 0  # on a cluster: here a run that somebody holds is an error at once
            ran.append(name)
            if name in broken:
                ended.append(Ended(2, (), "lifelong: out of luck", 1.0))
            else:
                from lifelong.running.config import from_table

                folder = lifelong.run(from_table(request["run"], {}), quiet=True, **request["how"] | {"wait_s": 0.0})
                ended.append(Ended(0, (str(folder),), "", 1.0))
            told.on_end(place, ended[-1])
        return ended

    words = {**WORDS, "edits": 2, "seed": [0, 1], "out": str(tmp_path)}
    found = lifelong.sweep(engine=engine, **words)
    assert [one.state for one in found] == ["done", "done", "failed", "failed"]
    assert found[2].error == "out of luck" and found[2].label == "grace seed=0"
    rows = lifelong.status(tmp_path)
    assert [(row.state, row.status.label) for row in rows][2:] == [
        ("failed", "grace seed=0"),
        ("failed", "grace seed=1"),
    ]
    assert rows[2].status.error == "out of luck"
    broken.clear()
    ran.clear()
    known = read_status(found[3].folder or rows[3].folder)
    assert known is not None and known.state == "failed"
    again = lifelong.sweep(engine=engine, retry=True, **words)
    assert ran == ["grace", "grace"] and [one.state for one in again] == ["finished already"] * 2 + ["done"] * 2
    assert all(RunLog.open(one.folder).done() for one in again if one.folder)
