"""The numbers that a file of Weights & Biases has of an offline run. Knows the format, and nothing of runs.

W&B has no reader of its own for Python: the file is a log of LevelDB, whose records are W&B's protocol buffers.
"""

from __future__ import annotations

import json
import struct
from collections.abc import Iterator
from importlib import import_module
from pathlib import Path

_BLOCK, _HEAD = 32768, 7  # bytes: of a block of the file, and before each piece of a record


def wandb_rows(path: Path) -> Iterator[dict[str, float]]:
    """Yield what was logged at each step in the file of an offline run, as far as it was written; `_step` is in it.

    Called where a run is gone on with. Raises `OSError`, and what W&B's decoder raises for another file.
    """
    record = import_module("wandb.proto.wandb_internal_pb2").Record
    data, at, whole = path.read_bytes(), _HEAD, b""
    while at + _HEAD <= len(data):
        if _BLOCK - at % _BLOCK < _HEAD:  # no piece begins in the last bytes of a block
            at += _BLOCK - at % _BLOCK
            continue
        _, size, kind = struct.unpack("<IHB", data[at : at + _HEAD])
        piece, at = data[at + _HEAD : at + _HEAD + size], at + _HEAD + size
        if kind == 0 or len(piece) < size:  # what was not written to its end
            return
        whole = piece if kind in (1, 2) else whole + piece  # 1: all of a record; 2, 3, 4: first, middle, last of it
        items = record.FromString(whole).history.item if kind in (1, 4) else ()
        if items:
            yield {item.key or "/".join(item.nested_key): json.loads(item.value_json) for item in items}
