"""What a forward pass says about itself, and what comes out of one: `Layout`, `Scored`, `Hidden`.

Plain data. Knows nothing about a particular model, editor or probe.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any, TypeVar

import numpy as np
from torch import Tensor

from lifelong.models.passes.batching import Encoded, Row

_T = TypeVar("_T")


@dataclass(frozen=True)
class Layout:
    """Where everything is in the tokens of the forward pass that is running.

    `rows` (batch,) long: index of each batch row in the list of prompts that the caller answers. `image`,
    `prompt` and `answer` (batch, tokens) bool are disjoint and leave out padding; `prompt` holds the prompt's text
    tokens (with those of the chat template), `answer` the target's tokens, or everything at a decode step.
    `last_prompt` (batch,) long is the position of the last prompt token, -1 at decode steps. `decode_step` is 0 at
    prefill and under teacher forcing, and 1, 2, ... at the passes that each read one more token of every row.
    """

    rows: Tensor
    image: Tensor
    prompt: Tensor
    answer: Tensor
    last_prompt: Tensor
    decode_step: int = 0


@dataclass(frozen=True)
class Scored:
    """The teacher-forced result of one row: m target tokens, the end token included.

    `target_ids` and `argmax_ids` (m,) int32; `logprobs` (m,) float32, natural logarithms, of the target ids;
    `top_ids` (tokens, top) int32, best first, at every position of the row, or None where none were asked for.
    """

    target_ids: np.ndarray
    argmax_ids: np.ndarray
    logprobs: np.ndarray
    top_ids: np.ndarray | None = None

    @property
    def token_accuracy(self) -> float:
        """Share of the target's tokens, without the end token, that are the argmax."""
        return float((self.target_ids[:-1] == self.argmax_ids[:-1]).mean())

    @property
    def exact(self) -> bool:
        """Whether every target token including the end token is the argmax: greedy decoding gives the target."""
        return bool((self.target_ids == self.argmax_ids).all())

    @property
    def nll(self) -> float:
        """Mean negative log-likelihood of the target tokens, in nats per token."""
        return float(-self.logprobs.mean())


@dataclass(frozen=True)
class Hidden:
    """Inputs of decoder layer `layer`, one unpadded row per prompt (and target).

    `states` are (tokens, width) tensors of the model's type; the masks are (tokens,) bool as in `Layout`;
    `target_ids` are int32 arrays, empty where a row has no target; `encoded` is what `resume` needs to go on, and
    `memo` what it computed that will be the same the next time.
    """

    layer: int
    states: tuple[Tensor, ...]
    image: tuple[Tensor, ...]
    prompt: tuple[Tensor, ...]
    answer: tuple[Tensor, ...]
    target_ids: tuple[np.ndarray, ...]
    encoded: tuple[Encoded, ...]
    memo: dict[Any, Any] = field(default_factory=dict, compare=False, repr=False, kw_only=True)

    def __len__(self) -> int:
        return len(self.states)

    def rows(self, names: Sequence[int] | None = None) -> list[Row]:
        """Return the rows to batch; `names` are what `Layout.rows` says (0, 1, ...)."""
        ids = [tuple(int(t) for t in targets) for targets in self.target_ids]
        said = [i if names is None else names[i] for i in range(len(self))]
        return [Row(i, said[i], e, ids[i], e.prompt) for i, e in enumerate(self.encoded)]

    def take(self, rows: Sequence[int]) -> Hidden:
        """Return some rows, in the order given."""

        def of(part: tuple[_T, ...]) -> tuple[_T, ...]:
            return tuple(part[r] for r in rows)

        return Hidden(
            self.layer,
            of(self.states),
            of(self.image),
            of(self.prompt),
            of(self.answer),
            of(self.target_ids),
            of(self.encoded),
        )
