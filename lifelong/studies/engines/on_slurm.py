"""Cells on a Slurm cluster, by submitit: an array of jobs, each of which starts its cell's process and waits for it.

Knows submitit and how a cell's process is started; nothing of what is run. A job that is preempted, or comes to the
end of its time, stops its cell, which commits what it has, and is queued again: then the cell goes on from there.
`cluster=local` runs the same jobs on this machine without Slurm.
"""

from __future__ import annotations

import os
import threading
import time
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from lifelong.running.signals import GRACE_S
from lifelong.running.words import ConfigError
from lifelong.studies.engines.engine import CellEngine, Ended, Hearer, Need, Request
from lifelong.studies.engines.processes import attended, end_all, started

_LOOKED_EVERY_S = {"local": 0.2, "debug": 0.2}  # Slurm's own daemon is asked more seldom
_TRIES = 100  # times that a cell may come to the end of its job's time
SIGNAL_BEFORE_S = 90  # before the end the end of a job's time: GRACE_S, and what it takes to be queued again


def on_slurm(settings: Mapping[str, Any], need: Need, folder: Path) -> CellEngine:
    """Return the engine of this machine's Slurm cluster; jobs leave their output below `folder`.

    `settings` are submitit's, such as `timeout_min` or `slurm_partition`, with or without the `slurm_` of those that
    only Slurm has, and `cluster` (`slurm`, `local`). Raises `ConfigError` for a setting that there is not, where
    submitit is not installed, and where this machine has no Slurm.
    """
    executor, cluster = _executor(dict(settings), need, folder)
    home = os.getcwd()

    def run(requests: Sequence[Request], *, told: Hearer) -> list[Ended]:
        with executor.batch():
            jobs = [executor.submit(SlurmCell(dict(request), home, int(need.cpus or 0))) for request in requests]
        begun, found = time.monotonic(), dict[int, Ended]()
        due = dict(enumerate(jobs))

        def take(number: int) -> None:
            found[number] = _got(due.pop(number), begun)
            told.on_end(number, found[number])

        try:
            while due:
                for number in [n for n, job in due.items() if job.done()]:
                    take(number)
                time.sleep(_LOOKED_EVERY_S.get(cluster, 5.0) if due else 0.0)
        except BaseException:
            for job in due.values():
                job.cancel()
            until = time.monotonic() + GRACE_S
            while time.monotonic() < until and not all(job.done() for job in due.values()):
                time.sleep(_LOOKED_EVERY_S.get(cluster, 1.0))
            for number in list(due):
                found[number] = Ended(1, (), "stopped", time.monotonic() - begun, asked=True)
                told.on_end(number, found[number])
            raise
        return [found[number] for number in range(len(requests))]

    return run


class SlurmCell:
    """One cell as a job: called on its node, and asked for what to queue again when the node is taken away."""

    def __init__(self, request: Request, home: str, cores: int) -> None:
        self.request, self.home, self.cores = request, home, cores
        self._process: Any = None
        self._attending: threading.Thread | None = None

    def __call__(self) -> Ended:
        """Run the cell's process to its end and return how it ended."""
        ended: list[Ended] = []
        self._process = process = started(self.cores, self.home)

        def attend() -> None:
            ended.append(attended(process, self.request, lambda line: print(line, flush=True)))

        # In a thread, because submitit's signal handler runs in this one and stops the process while we wait for it.
        self._attending = threading.Thread(target=attend, daemon=True)
        self._attending.start()
        self._attending.join()
        return ended[0]

    def checkpoint(self) -> Any:
        """Stop the cell's process, which commits what it has, and return what is queued again: submitit calls it."""
        from submitit.helpers import DelayedSubmission  # pyright: ignore[reportMissingImports]

        if self._process is not None and self._attending is not None:
            end_all([self._process])
            self._attending.join(GRACE_S)
        return DelayedSubmission(SlurmCell(self.request, self.home, self.cores))


def _executor(settings: dict[str, Any], need: Need, folder: Path) -> tuple[Any, str]:
    try:
        import submitit  # pyright: ignore[reportMissingImports]
    except ImportError as error:
        raise ConfigError("--slurm needs submitit: pip install 'lifelong-edit[slurm]'.") from error
    cluster = str(settings.pop("cluster", "slurm"))
    shared = submitit.AutoExecutor._typed_parameters()
    wanted = {"cpus_per_task": need.cpus, "gpus_per_node": need.gpus, "mem_gb": need.memory_bytes / 1e9}
    given: dict[str, Any] = {"name": "lifelong", "signal_delay_s": SIGNAL_BEFORE_S}
    given |= {name: value for name, value in wanted.items() if value} | settings
    if not {"timeout_min", "time", "slurm_time"} & given.keys():
        raise ConfigError(
            "--slurm: how long may a job take? Say timeout_min=240, for instance; a cell that needs longer is queued "
            "again and goes on."
        )
    try:
        tries = {"slurm_max_num_timeout": _TRIES, "local_max_num_timeout": _TRIES}
        executor = submitit.AutoExecutor(folder / "%j", cluster=cluster, **tries)
        own = {name for name in given if name not in shared and not name.startswith("slurm_")}
        executor.update_parameters(**{f"slurm_{n}" if n in own else n: value for n, value in given.items()})
    except (RuntimeError, ValueError, NameError, AssertionError) as error:
        said = str(error).strip().splitlines()[0]
        raise ConfigError(f"--slurm: {said} (cluster={cluster}; `cluster=local` needs no Slurm)") from error
    return executor, cluster


def _got(job: Any, begun: float) -> Ended:
    """Return how a job ended, with the file of what it said."""
    where = str(job.paths.stderr)
    try:
        return job.result()
    except Exception as error:  # submitit's, and what its jobs raise
        said = next((line for line in reversed(str(error).splitlines()) if line.strip()), type(error).__name__)
        return Ended(1, (), said, time.monotonic() - begun, where=where)
