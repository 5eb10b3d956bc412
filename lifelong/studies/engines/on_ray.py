"""Cells on a Ray cluster: one task each, which starts the cell's process on its node; Ray decides when and where.

Knows Ray and how a cell's process is started; nothing of what is run. A task whose node or worker is lost is begun
again by Ray, and its cell goes on from its last panel: all nodes must see the same file system.
"""

from __future__ import annotations

import os
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from lifelong.running.words import ConfigError
from lifelong.studies.engines.engine import CellEngine, Ended, Hearer, Need, Request
from lifelong.studies.engines.processes import attended, end_all, started

_TRIES = 5  # after so many lost nodes a cell has failed
_LOOKED_EVERY_S = 1.0


def on_ray(address: str, need: Need) -> CellEngine:
    """Return the engine of a cluster: its address (`auto`: of this machine's, `local`: a new one on this machine).

    Raises `ConfigError` where Ray is not installed or the cluster cannot be reached.
    """
    ray = _connected(address)
    wanted: dict[str, Any] = {"num_cpus": need.cpus or 1, "num_gpus": need.gpus}
    if need.memory_bytes:
        wanted["memory"] = need.memory_bytes
    task = ray.remote(_cell).options(max_retries=_TRIES, **wanted)
    home = os.getcwd()

    def run(requests: Sequence[Request], *, told: Hearer) -> list[Ended]:
        begun = time.monotonic()
        due = {task.remote(dict(request), home, int(need.cpus or 1)): n for n, request in enumerate(requests)}
        found: dict[int, Ended] = {}

        def take(reference: Any) -> None:
            number = due.pop(reference)
            found[number] = _got(ray, reference, begun)
            told.on_end(number, found[number])

        try:
            while due:
                ready, _ = ray.wait(list(due), num_returns=1, timeout=_LOOKED_EVERY_S)
                for reference in ready:
                    take(reference)
        except BaseException:
            for reference in due:
                ray.cancel(reference, force=False)  # a KeyboardInterrupt in the task, which stops its cell
            for reference in list(due):
                take(reference)
            raise
        return [found[number] for number in range(len(requests))]

    return run


def _connected(address: str) -> Any:
    try:
        import ray  # pyright: ignore[reportMissingImports]
    except ImportError as error:
        raise ConfigError("--ray needs Ray: pip install 'lifelong-edit[ray]'.") from error
    if not ray.is_initialized():
        try:
            ray.init(None if address == "local" else address, log_to_driver=False, configure_logging=False)
        except (ConnectionError, ValueError, RuntimeError) as error:
            said = str(error).strip().splitlines()[0]
            raise ConfigError(
                f"--ray {address}: no Ray cluster there ({said}). `local` starts one on this machine, `auto` takes "
                "the one that runs here."
            ) from error
    return ray


def _cell(request: Request, home: str, cores: int) -> Ended:
    """Run one cell on this node: what a task of Ray does."""
    if not Path(home).is_dir():
        said = f"{home} is not there on {os.uname().nodename}: all nodes of a cluster must see the same files."
        return Ended(2, (), said, 0.0)
    process = started(cores, home)
    try:
        return attended(process, request, lambda line: print(line, flush=True))
    except BaseException:  # it was cancelled
        end_all([process])
        raise


def _got(ray: Any, reference: Any, begun: float) -> Ended:
    """Return how a task ended, also where it was cancelled or its nodes were lost."""
    try:
        return ray.get(reference)
    except ray.exceptions.TaskCancelledError:
        return Ended(1, (), "stopped", time.monotonic() - begun, asked=True)
    except ray.exceptions.RayError as error:
        said = next((line for line in str(error).splitlines() if line.strip()), type(error).__name__)
        return Ended(1, (), f"Ray gave it up: {said}", time.monotonic() - begun)
