"""Gradients through more rows than a device holds at a time: a pass that keeps nothing, and is run again going back.

The gradient is the same, to the last digits: what went forward is computed a second time, a few rows at a time, under
the changes that were active when it went forward. Knows passes and their changes; nothing of losses or optimisers.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager, nullcontext

from torch import Tensor
from torch.utils.checkpoint import checkpoint

from lifelong.models.passes.forward import Passes


def with_graph(passes: Passes, rows: int, work: Callable[[], Tensor]) -> Tensor:
    """Return what `work` computes of so many rows, with its graph; of which little is kept once the device was full.

    `work` must compute the same whenever it is called.
    """
    passes.room.graph_of(rows)
    if passes.room.graph_rows is None:
        return work()
    changed, kind = passes.changes.now(), passes.attention_kind

    @contextmanager
    def as_before() -> Iterator[None]:
        with changed(), passes.attention(kind):
            yield

    return checkpoint(work, use_reentrant=False, context_fn=lambda: (nullcontext(), as_before()))  # type: ignore[return-value]
