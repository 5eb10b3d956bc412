"""How many rows a batch may have: from the bytes of a token, and less once a device was out of memory.

Knows bytes, rows and a model's configuration; nothing of prompts, hooks or what is computed with a batch.
"""

from __future__ import annotations

import warnings
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from typing import Any, TypeVar

import torch

from lifelong.models.memory import give_back, is_out_of_memory
from lifelong.models.passes.batching import MAX_ROWS

_T = TypeVar("_T")


def bytes_per_token(config: Any, element_bytes: int) -> int:
    """Return what a token of a row takes in a forward pass: keys and values in all layers, and one layer's work.

    `config` is a model's; what it does not say is taken from its width.
    """
    text = config.get_text_config()
    width, heads = int(text.hidden_size), int(getattr(text, "num_attention_heads", None) or 1)
    kv_heads = int(getattr(text, "num_key_value_heads", None) or heads)
    head = int(getattr(text, "head_dim", None) or width // heads)
    inner = getattr(text, "intermediate_size", None) or 4 * width
    inner = max(inner) if isinstance(inner, (list, tuple)) else int(inner)
    kept = 2 * int(text.num_hidden_layers) * kv_heads * head
    at_work = 4 * width + 3 * inner  # states, norm, queries and output of a layer; its MLP's two sides and product
    return (kept + at_work) * element_bytes


@dataclass
class Room:
    """How much of one device a batch may take: padded tokens and rows; `rows` falls when the device was full.

    `say` is told of the first time, in one line; `halved` counts the times.
    """

    device: torch.device
    token_bytes: int
    batch_bytes: int
    say: Callable[[str], None] = warnings.warn
    rows: int = MAX_ROWS
    halved: int = 0

    @property
    def tokens(self) -> int:
        """Padded tokens that a batch may have, rows times the longest; a longer row is a batch of its own."""
        return max(self.batch_bytes // self.token_bytes, 1)

    def rows_of(self, tokens: int) -> int:
        """Return how many rows of so many tokens go together."""
        return max(1, min(self.rows, self.tokens // max(tokens, 1)))

    def each(self, parts: Iterable[Sequence[_T]], work: Callable[[Sequence[_T]], None]) -> None:
        """Do `work` on every part; where the device is out of memory, on its halves, and on no larger one afterwards.

        `work` may be called again with what it had begun. Raises what it raises: out of memory for a single row too.
        """
        for part in parts:
            self._do(part, work)

    def _do(self, part: Sequence[_T], work: Callable[[Sequence[_T]], None]) -> None:
        if self.halved and len(part) > self.rows:  # the device was full meanwhile
            self.each(self._cut(part, self.rows), work)
            return
        try:
            work(part)
            return
        except (RuntimeError, MemoryError) as error:
            if len(part) < 2 or not is_out_of_memory(error):
                raise
        # Outside of `except`: the error's traceback holds on to the tensors of the pass that failed.
        self._halve(len(part))
        self.each(self._cut(part, self.rows), work)

    def _halve(self, rows: int) -> None:
        give_back(self.device)
        self.rows = min(self.rows, max(1, rows // 2))
        if not self.halved:
            self.say(
                f"{self.device}: out of memory with {rows} rows in a batch; going on with {self.rows} at most. Last"
                " digits may differ from a run with more memory; memory_bytes=N sets how much a batch may take."
            )
        self.halved += 1

    @staticmethod
    def _cut(part: Sequence[_T], size: int) -> list[Sequence[_T]]:
        return [part[at : at + size] for at in range(0, len(part), size)]
