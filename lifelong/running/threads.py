"""How many threads a run computes with: as many as are asked for, or the better of one and all, as measured.

Knows a model and some of its questions; nothing of runs. Small matrix products on cores that others use as well are
many times slower with all threads than with one, because every product waits for the slowest of them.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from statistics import median
from typing import TYPE_CHECKING

from streams.types import Probe

if TYPE_CHECKING:
    from lifelong.models.vlm import VLM

_BATCH = 32  # probes of the measured batch
TIMES = 3  # measurements of each number of threads, in turns
BETTER = 0.9  # all threads must take less than this share of one thread's time: they are used by others, too


def settle_threads(vlm: VLM, probes: Sequence[Probe], say: Callable[[str], None] = lambda _: None) -> int:
    """Set the number of threads of this process to the better of one and all, and return it.

    Called before a run's work begins, where its configuration names no number; `say` is told what was measured. All
    threads are those that torch uses now (`OMP_NUM_THREADS` says how many).
    """
    import torch

    most = torch.get_num_threads()
    if most == 1 or not probes:
        return most
    one_s, all_s = seconds_of(vlm, probes[:_BATCH], (1, most))
    best = most if all_s < BETTER * one_s else 1
    torch.set_num_threads(best)
    say(f"threads: {best} (a batch takes {one_s * 1e3:.0f} ms with 1, {all_s * 1e3:.0f} ms with {most})")
    return best


def seconds_of(vlm: VLM, probes: Sequence[Probe], numbers: Sequence[int]) -> list[float]:
    """Return the median seconds that a model needs to score a batch of probes with each number of threads.

    Prompts and pictures are read before; measured in turns, so that a machine's moods reach all numbers alike.
    """
    import torch

    queries, targets = [p.query for p in probes], [p.target for p in probes]
    taken: dict[int, list[float]] = {number: [] for number in numbers}
    with vlm.serving_with():
        vlm.score(queries, targets)
        for _ in range(TIMES):
            for number in numbers:
                torch.set_num_threads(number)
                start = time.perf_counter()
                vlm.score(queries, targets)
                vlm.sync()
                taken[number].append(time.perf_counter() - start)
    return [median(taken[number]) for number in numbers]
