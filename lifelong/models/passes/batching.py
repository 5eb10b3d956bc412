"""Rows of tokens and how they are put together in batches: sorted by length, at most 64 rows, right padding.

Knows nothing about models, images or hooks; only tensors of token ids and the inputs that go with them.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from functools import cached_property

import torch
from torch import Tensor

from streams.types import Prompt

MAX_ROWS = 64


@dataclass(frozen=True)
class Encoded:
    """One prompt as a model takes it: `ids` (tokens,) long on the CPU, and what belongs to it.

    `aligned` are further inputs with one value per token, `extras` inputs with leading rows per image (sizes, grids),
    `pictures` the content keys of its images in order, `pixel_bytes` what the pixel values of those images take.
    `of_answers` are the values that aligned inputs have at an answer's tokens (0 where not named), and `prompt` is
    what was encoded, for passes that need its pixels again.
    """

    ids: Tensor
    aligned: Mapping[str, Tensor] = field(default_factory=dict)
    extras: Mapping[str, Tensor] = field(default_factory=dict)
    pictures: tuple[str, ...] = ()
    pixel_bytes: int = 0
    of_answers: Mapping[str, int] = field(default_factory=dict)
    prompt: Prompt | None = None


@dataclass(frozen=True)
class Row:
    """One prompt with its target tokens (none when decoding); `place` is its position in the answers and `row` what
    `Layout.rows` says. `prompt` is None where the images have been seen already."""

    place: int
    row: int
    encoded: Encoded
    target_ids: tuple[int, ...] = ()
    prompt: Prompt | None = None

    def __len__(self) -> int:
        return len(self.encoded.ids) + len(self.target_ids)


@dataclass(frozen=True)
class Batch:
    """Rows padded on the right: `ids` (batch, tokens) long and `mask` (batch, tokens) long with 1 for real tokens."""

    rows: tuple[Row, ...]
    ids: Tensor
    mask: Tensor
    aligned: Mapping[str, Tensor]
    extras: Mapping[str, Tensor]

    @property
    def pictures(self) -> list[str]:
        """The content keys of all images, row after row."""
        return [p for r in self.rows for p in r.encoded.pictures]

    @property
    def lengths(self) -> list[int]:
        """Real tokens per row."""
        return [len(r) for r in self.rows]

    def predicting(self) -> Tensor:
        """(batch, tokens) bool: the positions whose logits predict a target token (or the first new one)."""
        return self._predicting

    @cached_property
    def _predicting(self) -> Tensor:
        where = torch.zeros(self.ids.shape, dtype=torch.bool)  # (batch, tokens)
        for i, r in enumerate(self.rows):
            # A position predicts the token after it, so the run starts one before the target.
            start = len(r.encoded.ids) - 1
            where[i, start : start + max(len(r.target_ids), 1)] = True
        return where


def batches(
    rows: Sequence[Row],
    pad_id: int,
    *,
    max_tokens: int = 1 << 30,
    new_tokens: int = 0,
    max_pixel_bytes: int | None = None,
    same_length: bool = False,
    max_rows: int = MAX_ROWS,
) -> Iterator[Batch]:
    """Yield batches of rows sorted by token length (ties by place).

    At most `max_rows` and `max_tokens` padded tokens each, `new_tokens` of every row counted, or one row alone. With
    `max_pixel_bytes` the pixel values of a batch take no more than that, unless one row alone does. With
    `same_length` no batch mixes lengths, for models that cannot decode behind padding.
    """
    ordered = sorted(rows, key=lambda r: (len(r), r.place))
    group: list[Row] = []
    held = 0  # bytes of pixel values
    for row in ordered:
        held += row.encoded.pixel_bytes
        full = len(group) >= max_rows or (len(group) + 1) * (len(row) + new_tokens) > max_tokens
        full = full or (max_pixel_bytes is not None and held > max_pixel_bytes)
        if group and (full or (same_length and len(row) != len(group[0]))):
            yield collate(group, pad_id)
            group, held = [], row.encoded.pixel_bytes
        group.append(row)
    if group:
        yield collate(group, pad_id)


def collate(rows: Sequence[Row], pad_id: int) -> Batch:
    """Return rows as one batch: padded on the right to the longest, inputs with rows per image joined."""
    size = max(len(r) for r in rows)
    ids = torch.full((len(rows), size), pad_id, dtype=torch.long)  # (batch, tokens), as all that is aligned with it
    mask = torch.zeros((len(rows), size), dtype=torch.long)
    aligned = {k: torch.zeros((len(rows), size), dtype=v.dtype) for r in rows for k, v in r.encoded.aligned.items()}
    for i, r in enumerate(rows):
        n = len(r.encoded.ids)
        ids[i, :n] = r.encoded.ids
        if r.target_ids:
            ids[i, n : len(r)] = torch.tensor(r.target_ids)
        mask[i, : len(r)] = 1
        for name, values in r.encoded.aligned.items():
            aligned[name][i, :n] = values
            aligned[name][i, n : len(r)] = r.encoded.of_answers.get(name, 0)
    return Batch(tuple(rows), ids, mask, aligned, join_extras([r.encoded.extras for r in rows]))


def join_extras(parts: Sequence[Mapping[str, Tensor]]) -> dict[str, Tensor]:
    """Concatenate inputs with rows per image along their first dimension."""
    names = dict.fromkeys(name for part in parts for name in part)
    return {name: torch.cat([part[name] for part in parts if name in part]) for name in names}
