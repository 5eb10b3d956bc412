"""States that a fit reads again and again, kept where there is room: on the device, in the host's memory, on disk.

Knows rows of states and budgets in bytes; nothing of models, of editors or of what a row stands for.
"""

from __future__ import annotations

import math
import tempfile
from collections.abc import Sequence
from typing import IO

import torch
from torch import Tensor


class StateTable:
    """Rows of states (tokens, width) in bfloat16: the first on their device, those beyond `near_bytes` in the host's
    memory, those beyond `far_bytes` more in a file that nobody else sees and that goes with the table."""

    def __init__(self, near_bytes: int, far_bytes: int) -> None:
        self.near_bytes, self.far_bytes = near_bytes, far_bytes
        self._rows: list[Tensor | tuple[int, tuple[int, ...]]] = []  # a row, or its place in the file and its shape
        self._file: IO[bytes] | None = None
        self._written = 0

    def __len__(self) -> int:
        return len(self._rows)

    @property
    def disk_bytes(self) -> int:
        """Bytes that lie on disk."""
        return self._written

    def add(self, states: Sequence[Tensor]) -> None:
        """Append rows of states, which are rounded to bfloat16."""
        for state in states:
            row = state.to(torch.bfloat16)
            size = row.numel() * row.element_size()
            if size <= self.near_bytes:
                self.near_bytes -= size
                self._rows.append(row)
            elif size <= self.far_bytes:
                self.far_bytes -= size
                self._rows.append(row.cpu())
            else:
                self._rows.append((self._write(row), tuple(row.shape)))

    def take(self, rows: Sequence[int]) -> tuple[Tensor, ...]:
        """Return some rows in float32, each where it lies; those on disk in the host's memory."""
        return tuple(self._read(row).float() for row in (self._rows[i] for i in rows))

    def _opened(self) -> IO[bytes]:
        if self._file is None:
            self._file = tempfile.TemporaryFile()  # noqa: SIM115 (it lives as long as the table)
        return self._file

    def _write(self, row: Tensor) -> int:
        start, file = self._written, self._opened()
        file.seek(start)
        file.write(row.cpu().contiguous().view(torch.int16).numpy().tobytes())
        self._written += 2 * row.numel()
        return start

    def _read(self, row: Tensor | tuple[int, tuple[int, ...]]) -> Tensor:
        if isinstance(row, Tensor):
            return row
        start, shape = row
        file = self._opened()
        file.seek(start)
        data = bytearray(file.read(2 * math.prod(shape)))
        return torch.frombuffer(data, dtype=torch.bfloat16).view(shape)
