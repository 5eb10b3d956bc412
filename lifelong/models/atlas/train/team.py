"""Several processes of one machine that train one model together; knows tensors to be added, no model.

On small matrices two threads in one process gain little, two processes of one thread each almost double the
speed. Members agree over gloo; what they hold (weights, optimiser states, practice) stays equal by itself.
"""

from __future__ import annotations

import os
import tempfile
import threading
import time
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path
from typing import Any

import torch
import torch.distributed as dist
from torch.multiprocessing.spawn import spawn


class Team:
    """A member's place among `size` processes; alone (the default) every exchange is a no-op."""

    def __init__(self, rank: int = 0, size: int = 1) -> None:
        self.rank, self.size = rank, size

    @property
    def leads(self) -> bool:
        """Whether this member reports and writes files."""
        return self.rank == 0

    def add_gradients(self, parameters: list[torch.nn.Parameter]) -> None:
        """Replace every gradient by the sum over all members."""
        if self.size == 1:
            return
        gradients = [p.grad if p.grad is not None else torch.zeros_like(p) for p in parameters]
        flat = torch.cat([g.reshape(-1) for g in gradients])
        dist.all_reduce(flat)
        at = 0
        for parameter, gradient in zip(parameters, gradients, strict=True):
            parameter.grad = flat[at : at + gradient.numel()].view_as(gradient)
            at += gradient.numel()

    def largest(self, values: torch.Tensor) -> torch.Tensor:
        """The elementwise maximum over all members."""
        if self.size > 1:
            dist.all_reduce(values, dist.ReduceOp.MAX)
        return values

    def total(self, value: float) -> float:
        """The sum of one number over all members."""
        if self.size == 1:
            return value
        tensor = torch.tensor(value, dtype=torch.float64)
        dist.all_reduce(tensor)
        return float(tensor)

    def map_stack(self, function: Callable[[torch.Tensor], torch.Tensor], stack: torch.Tensor) -> torch.Tensor:
        """`function` over a stack (n, ...) whose items do not depend on each other, each member doing its part."""
        if self.size == 1 or len(stack) < self.size:
            return function(stack)
        parts = [torch.empty_like(part) for part in stack.tensor_split(self.size)]
        own = function(stack.tensor_split(self.size)[self.rank]).contiguous()
        if len({len(part) for part in parts}) > 1:
            # gloo gathers tensors of one shape only; short parts are padded by an item that is thrown away.
            longest = len(parts[0])
            padded = torch.cat([own, own[:1]]) if len(own) < longest else own
            wide = [torch.empty_like(parts[0]) for _ in parts]
            dist.all_gather(wide, padded)
            return torch.cat([full[: len(part)] for full, part in zip(wide, parts, strict=True)])
        dist.all_gather(parts, own)
        return torch.cat(parts)


def run_team(size: int, work: Callable[..., None], *arguments: Any) -> None:
    """`work(team, *arguments)` in `size` new processes, or here if `size` is 1; raises what a member raised."""
    if size < 1:
        raise ValueError(f"processes={size}: expected 1 or more")
    if size == 1:
        work(Team(), *arguments)
        return
    with tempfile.TemporaryDirectory() as folder:
        spawn(_member, (size, str(Path(folder) / "meeting"), work, arguments), nprocs=size)


def leave_with(parent: int, every_s: float = 2.0) -> None:
    """End this process when its starter is gone; run by a thread of a process that would outlive a killed one."""
    while os.getppid() == parent:
        time.sleep(every_s)
    os._exit(1)


def _member(rank: int, size: int, meeting: str, work: Callable[..., None], arguments: tuple[Any, ...]) -> None:
    threading.Thread(target=leave_with, args=(os.getppid(),), daemon=True).start()
    dist.init_process_group("gloo", init_method=f"file://{meeting}", rank=rank, world_size=size)
    try:
        work(Team(rank, size), *arguments)
    finally:
        with suppress(Exception):
            dist.destroy_process_group()
