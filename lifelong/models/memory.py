"""How much may be held beside a model's weights, who gets which share of it, and what a device says when it is full.

One budget in bytes: batches, what is kept of them, and tables that a fit reads each take a share. Knows devices and
bytes; nothing of models' parts, rows or editors.
"""

from __future__ import annotations

import os
from dataclasses import dataclass
from pathlib import Path

import torch

LEAST, LEAST_FAR = 8 << 30, 1 << 30
"""Bytes that are counted on whatever the host, or an accelerator, says: with less of the host's the batches of a
small model would depend on the machine."""
SHARE = 0.9  # of what a device has: the rest is the library's own and other processes'
_LIMITS = (Path("/sys/fs/cgroup/memory.max"), Path("/sys/fs/cgroup/memory/memory.limit_in_bytes"))


@dataclass(frozen=True)
class MemoryBudget:
    """Bytes beside the weights: `near` on the model's device, `far` in the host's memory, 0 where that is the device.

    Of what is near, a quarter is for the batch that is computed, an eighth for what is kept of earlier ones, a
    quarter for what a fit reads; the rest is left for what comes and goes. Half of what is far may be such a table's.
    """

    near: int
    far: int = 0

    @property
    def batch_bytes(self) -> int:
        """Bytes that one batch may take: keys, values and what a layer computes."""
        return self.near // 4

    @property
    def kept_bytes(self) -> int:
        """Bytes of features and states that are kept on the device."""
        return self.near // 8

    @property
    def table_bytes(self) -> tuple[int, int]:
        """Bytes that a table of states may take on the device, and in the host's memory beside that."""
        return self.near // 4, self.far // 2


def memory_of(device: torch.device, weights_bytes: int, given: int = 0) -> MemoryBudget:
    """Return what may be held beside weights on a device; called once when a model is there.

    `given` counts where it is not 0. Otherwise it is what the device has in all, which is the same at every start,
    and not what is free at the moment: rows per batch follow from it, and with them the last digits of numbers.
    """
    host = device.type in ("cpu", "meta")
    near = given or max(int(SHARE * device_bytes(device)) - weights_bytes, LEAST if host else LEAST_FAR)
    return MemoryBudget(near, 0 if host else max(int(SHARE * host_bytes()), LEAST))


def device_bytes(device: torch.device) -> int:
    """Return the bytes of a device's memory, 0 where it does not say."""
    if device.type in ("cpu", "meta"):
        return host_bytes()
    if device.type == "mps":
        return int(torch.mps.recommended_max_memory())
    try:
        return int(torch.get_device_module(device).get_device_properties(device).total_memory)
    except (AttributeError, RuntimeError, AssertionError):  # a back end that does not tell
        return 0


def host_bytes() -> int:
    """Return the bytes of memory that this process may have: the machine's, or its container's where that is less."""
    names = getattr(os, "sysconf_names", {})
    found = [os.sysconf("SC_PHYS_PAGES") * os.sysconf("SC_PAGE_SIZE")] if "SC_PHYS_PAGES" in names else []
    for path in _LIMITS:
        try:
            found.append(int(path.read_text()))
        except (OSError, ValueError):  # not there, or "max"
            continue
    return min(found, default=0)


def synchronize(device: torch.device) -> None:
    """Wait until a device has done all that it was given; on the CPU everything is done at once."""
    used = torch.accelerator.current_accelerator()
    if used is not None and device.type == used.type:
        torch.accelerator.synchronize(device)


def is_out_of_memory(error: BaseException) -> bool:
    """Whether an error says that there was no memory for what was asked, in the words of any device."""
    if isinstance(error, (torch.OutOfMemoryError, MemoryError)):
        return True
    said = str(error).lower() if isinstance(error, RuntimeError) else ""
    return any(words in said for words in ("out of memory", "can't allocate memory", "not enough memory"))


def give_back(device: torch.device) -> None:
    """Return to a device what is no longer used, so that a smaller batch finds it in one piece."""
    used = torch.accelerator.current_accelerator()
    if used is not None and device.type == used.type:
        torch.accelerator.empty_cache()
