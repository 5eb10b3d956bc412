"""Rows of the steps to come, drawn ahead in a thread or in processes of their own; knows no model and no device.

What is drawn for a step depends on the seed, the step and the practice as it stood one period before, so it is the
same however many draw and however far ahead.
"""

from __future__ import annotations

import os
import threading
from collections import deque
from collections.abc import Callable, Iterator
from concurrent.futures import Executor, Future, ProcessPoolExecutor, ThreadPoolExecutor
from contextlib import contextmanager
from multiprocessing import get_context

import numpy as np
import torch

from lifelong.models.atlas.train.mixture import Mixture
from lifelong.models.atlas.train.packing import Packed, pack
from lifelong.models.atlas.train.team import leave_with
from streams.atlas.world import World, load_world

Draw = tuple[Packed, np.ndarray]
"""A packed batch, and the number of the fact that each of its segments asks (-1: none that is practised)."""


def draw(mixture: Mixture, step: int, used: np.ndarray, part: int = 0, parts: int = 1) -> Draw:
    """Return what the member `part` of `parts` trains in a step; `used` is the practice to draw by."""
    mixture.questions.practice.use(used)
    rows = mixture.step(step, part, parts)
    facts = np.array([segment.fact for row in rows for segment in row.segments])
    return pack(rows, mixture.mix.length, mixture.frame, mixture.mix.dense), facts


class Ahead:
    """The draws of coming steps, in their order; `ahead` of them are under way at any time."""

    def __init__(self, submit: Callable[[int, np.ndarray], Future[Draw]], ahead: int) -> None:
        self.ahead, self._submit = ahead, submit
        self._coming: deque[Future[Draw]] = deque()
        self._next = -1

    def take(self, step: int, last: int, used: Callable[[int], np.ndarray]) -> Draw:
        """Return the draw of `step`, and have those up to `ahead` steps later (before `last`) begun.

        Steps are taken one after the other; `used` says by which practice a step is drawn.
        """
        if self._next < 0:
            self._next = step
        while self._next < min(last, step + 1 + self.ahead):
            self._coming.append(self._submit(self._next, used(self._next)))
            self._next += 1
        return self._coming.popleft().result()


@contextmanager
def drawing(mixture: Mixture, part: int, parts: int, processes: int) -> Iterator[Ahead]:
    """Draw ahead for one member of a team: in a second thread, or in `processes` new ones where that is not 0."""
    period = mixture.questions.practice.period
    if not processes:
        with ThreadPoolExecutor(1) as thread:
            yield Ahead(lambda step, used: thread.submit(draw, mixture, step, used, part, parts), min(1, period))
        return
    pool: Executor
    with ProcessPoolExecutor(processes, get_context("spawn"), _begin, (mixture.again(),)) as pool:
        yield Ahead(lambda step, used: pool.submit(_drawn, step, used, part, parts), min(3 * processes, period))


_own: dict[str, Mixture] = {}  # of a drawing process, which has no other way to keep what it was begun with


def _begin(again: Callable[[World], Mixture]) -> None:
    # One that waits for steps to draw does not notice that the training was killed.
    threading.Thread(target=leave_with, args=(os.getppid(),), daemon=True).start()
    torch.set_num_threads(1)
    _own["mixture"] = again(load_world())


def _drawn(step: int, used: np.ndarray, part: int, parts: int) -> Draw:
    return draw(_own["mixture"], step, used, part, parts)
