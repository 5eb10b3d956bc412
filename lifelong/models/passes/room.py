"""How many rows a batch may have: from the bytes of a token, and less once a device was out of memory.

Knows bytes, rows and a model's configuration; nothing of prompts, hooks or what is computed with a batch.
"""

from __future__ import annotations

import warnings
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, field
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


class OutOfRoomError(MemoryError):
    """A single row takes more memory than a device has."""


@dataclass
class Room:
    """How much of one device a batch may take: padded tokens and rows; `rows` falls when the device was full.

    `graph_rows` are those whose graph is kept at a time for a gradient: None while it is kept of all. `say` is told
    of the first time of either, in one line; `halved` and `graph_halved` count the times.
    """

    device: torch.device
    token_bytes: int
    batch_bytes: int
    say: Callable[[str], None] = warnings.warn
    rows: int = MAX_ROWS
    halved: int = 0
    graph_rows: int | None = None
    graph_halved: int = 0
    _graph: list[int] = field(default_factory=list)  # rows of each pass of the step that is taken

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

    def graph_of(self, rows: int) -> None:
        """Note that a pass of the step that is taken keeps the graph of so many rows."""
        self._graph.append(rows)

    def step(self, work: Callable[[], _T], again: Callable[[], None]) -> _T:
        """Do a step of a training, its loss and its gradient; once more, on fewer rows at a time, on a full device.

        `again` puts back before that what `work` had begun. A step may hold others, whose graphs are gone when they
        end. Raises `OutOfRoomError` where a single row is too much.
        """
        before = list(self._graph)
        while True:
            self._graph = list(before)
            try:
                done = work()
                self._graph = before
                return done
            except (RuntimeError, MemoryError) as error:
                if not self._graph or isinstance(error, OutOfRoomError) or not is_out_of_memory(error):
                    raise
                if sum(self._graph) == 1 or self.graph_rows == 1:
                    raise OutOfRoomError(
                        f"{self.device}: a training step does not fit even with one row at a time. Let edits act"
                        " nearer the end of the model or on less of it (editor.layer, editor.module), compute in"
                        " dtype=bfloat16, or take smaller pictures or a device with more memory."
                    ) from error
            self._halve_graph()  # outside of `except`, as below
            again()

    def _halve_graph(self) -> None:
        give_back(self.device)
        before, all_rows = max(self._graph), sum(self._graph)
        self.graph_rows = max(1, (before if self.graph_rows is None else min(before, self.graph_rows)) // 2)
        if not self.graph_halved:
            self.say(
                f"{self.device}: out of memory in a training step of {all_rows} rows; going on with {self.graph_rows}"
                " at a time, each read once more going back: slower, and the same gradient but for last digits."
            )
        self.graph_halved += 1

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
