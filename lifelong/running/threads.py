"""What a run computes with: how many threads, the better of one and all as measured once, and which arithmetic.

Knows a model and some of its questions; nothing of runs. Small matrix products on cores that others use as well are
many times slower with all threads than with one, because every product waits for the slowest of them. Sums round
otherwise with another number, so the number is part of what names a run, and what was chosen is kept for the next.
"""

from __future__ import annotations

import json
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from statistics import median
from typing import TYPE_CHECKING

from lifelong.log.files import LogError, held
from lifelong.log.machine import package_version, processor
from lifelong.log.sealed import digest_of_bytes, read_sealed, write_sealed
from streams.types import Probe

if TYPE_CHECKING:
    from lifelong.models.vlm import VLM

_BATCH = 32  # probes of the measured batch
TIMES = 3  # measurements of each number of threads, in turns
BETTER = 0.9  # all threads must take less than this share of one thread's time: they are used by others, too


@contextmanager
def computing_with(threads: int) -> Iterator[None]:
    """Compute with so many threads in the body; afterwards the process has as many as before."""
    import torch

    before = torch.get_num_threads()
    torch.set_num_threads(threads)
    try:
        yield
    finally:
        torch.set_num_threads(before)


def arithmetic_of(vlm: VLM) -> str:
    """Return in words what decides the last digits of a model's numbers, beside the number of threads."""
    import torch

    products = "oneDNN" if vlm.quick_layers else "PyTorch's"
    kernels = f"{torch.backends.cpu.get_cpu_capability()}, products {products}" if vlm.home.type == "cpu" else ""
    parts = [f"lifelong-edit {package_version()}", f"torch {torch.__version__}", vlm.home.type, kernels]
    return ", ".join(part for part in parts if part)


def threads_for(vlm: VLM, probes: Sequence[Probe], cache: Path, say: Callable[[str], None] = lambda _: None) -> int:
    """Return the better number of threads of one and all for a model here, measured where the cache does not know it.

    Called before a run is named, where its configuration gives no number; `say` is told what was measured. Of a model
    without its weights nothing can be measured: 0 where the cache does not know it. All
    threads are those that torch uses now (`OMP_NUM_THREADS` says how many). The choice is kept in `cache` for this
    processor, model, device and number of all threads. Raises `LogError` or `OSError` where it cannot be kept.
    """
    import torch

    most = torch.get_num_threads()
    if most == 1 or not probes:
        return most
    key = json.dumps([processor(), vlm.digest, str(vlm.home), most], sort_keys=True)
    path = cache / f"{digest_of_bytes(key.encode())}.json"
    known = _kept(path, most, lambda _: None)
    if known or vlm.empty:
        return known
    with held(path.with_suffix(".lock"), wait=True):
        known = _kept(path, most, say)  # another process may have measured it since
        if known:
            return known
        one_s, all_s = seconds_of(vlm, probes[:_BATCH], (1, most))
        best = most if all_s < BETTER * one_s else 1
        say(f"threads: {best} (a batch takes {one_s * 1e3:.0f} ms with 1, {all_s * 1e3:.0f} ms with {most})")
        write_sealed(path, {"threads": best, "most": most, "one_wall_s": one_s, "all_wall_s": all_s})
    return best


def _kept(path: Path, most: int, say: Callable[[str], None]) -> int:
    """Return the number that was chosen earlier, 0 where none was or the file is damaged, which is said."""
    try:
        found = read_sealed(path).get("threads")
    except FileNotFoundError:
        return 0
    except LogError as error:
        say(f"{error} It is measured again.")
        return 0
    return found if type(found) is int and found in (1, most) else 0


def seconds_of(vlm: VLM, probes: Sequence[Probe], numbers: Sequence[int]) -> list[float]:
    """Return the median seconds that a model needs to score a batch of probes with each number of threads.

    Prompts and pictures are read before; measured in turns, so that a machine's moods reach all numbers alike.
    """
    queries, targets = [p.query for p in probes], [p.target for p in probes]
    taken: dict[int, list[float]] = {number: [] for number in numbers}
    with vlm.serving_with():
        vlm.score(queries, targets)
        for _ in range(TIMES):
            for number in numbers:
                with computing_with(number):
                    start = time.perf_counter()
                    vlm.score(queries, targets)
                    vlm.sync()
                    taken[number].append(time.perf_counter() - start)
    return [median(taken[number]) for number in numbers]
