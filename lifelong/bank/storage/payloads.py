"""Where the payloads of a bank lie: in RAM, on a device, or in files that are mapped into memory.

Knows tensors, files and bytes; nothing of entries or keys. Mapped files have no name once they are made, so that
nothing is left behind however the process ends, and the pages that this process holds of them stay below a budget:
a page given back is read again from the file when it is needed.
"""

from __future__ import annotations

import mmap
import os
import tempfile
from pathlib import Path
from weakref import WeakSet

import torch
from torch import Tensor

RESIDENT_BYTES = 256 * 2**20
DISK = "disk"


class PayloadTables:
    """Tables for payloads at a `place`: a torch device, `disk` or `disk:FOLDER`; else where the first come from.

    On disk at most `resident_bytes` of what was written and read stay mapped in this process (give or take one call).
    """

    def __init__(self, place: str = "", *, resident_bytes: int = RESIDENT_BYTES) -> None:
        kind, _, folder = place.partition(":")
        self.on_disk = kind == DISK
        self.folder = Path(folder or tempfile.gettempdir()) if self.on_disk else None
        if self.folder is not None and not self.folder.is_dir():
            raise ValueError(f"payloads={place!r}: {self.folder} is no folder. Make it, or give one on a large disk.")
        try:
            self.device = None if self.on_disk or not place else torch.device(place)
        except RuntimeError:
            raise ValueError(
                f"payloads={place!r}: expected a torch device such as cpu or cuda, disk, or disk:FOLDER."
            ) from None
        self.resident_bytes, self._touched_bytes = resident_bytes, 0
        self._maps: WeakSet[mmap.mmap] = WeakSet()  # a file is gone with the last tensor that shows it

    def device_of(self, first: Tensor) -> torch.device:
        """Return where payloads like `first` are kept."""
        return torch.device("cpu") if self.on_disk else self.device or first.device

    def table(self, rows: int, like: Tensor) -> Tensor:
        """Return a table of so many rows shaped as those of `like`; what is in it means nothing yet.

        Raises `OSError` with the folder's name where the disk has no room for it.
        """
        shape = (rows, *like.shape[1:])
        nbytes = like.element_size() * torch.Size(shape).numel()
        if not self.on_disk or not nbytes:
            return torch.empty(shape, dtype=like.dtype, device=like.device)
        try:
            mapped = self._mapped(nbytes)
        except OSError as error:
            # All in the text: the event loop raises errors again with nothing but their arguments.
            text = f"payloads=disk:{self.folder}: no room for {nbytes:,} bytes ({error.strerror})"
            raise OSError(error.errno, text) from error
        self._maps.add(mapped)
        return torch.frombuffer(mapped, dtype=like.dtype).reshape(shape)

    def _mapped(self, nbytes: int) -> mmap.mmap:
        handle, name = tempfile.mkstemp(prefix="bank-", dir=self.folder)
        try:
            os.unlink(name)
            # Takes the space now: where a disk is full when a mapped page is written, the process is killed.
            os.posix_fallocate(handle, 0, nbytes)
            return mmap.mmap(handle, nbytes)
        finally:
            os.close(handle)

    def picked(self, table: Tensor, slots: Tensor) -> Tensor:
        """Return a copy of some slots of a table: on disk, if the table is."""
        if not self.on_disk:
            return table.index_select(0, slots.to(table.device)).cpu()
        out = self.table(len(slots), table)
        torch.index_select(table, 0, slots, out=out)
        self.touched(2 * out.numel() * out.element_size())
        return out

    def touched(self, nbytes: int) -> None:
        """Note that so many bytes of tables were written or read, and give pages back when they are too many."""
        if not self.on_disk:
            return
        self._touched_bytes += nbytes
        if self._touched_bytes > self.resident_bytes:
            self.release()

    def release(self) -> None:
        """Give the mapped pages of all tables back to the system; their content stays in the files."""
        for mapped in self._maps:
            mapped.madvise(mmap.MADV_DONTNEED)
        self._touched_bytes = 0
