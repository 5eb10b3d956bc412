"""Rows of several independent questions about the same pictures, and the tensors that train them.

A row begins with what the template writes first and the tokens of its pictures; each question sees those and itself,
nothing else, and its positions go on from there as if it stood alone. Knows token numbers, no words.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import torch

from lifelong.models.atlas.model import IMAGE_TOKENS
from lifelong.models.atlas.train.frame import Frame


@dataclass(frozen=True)
class Segment:
    """Token numbers of one question (with its mark) and its answer (with the end token); `fact` is kept as is."""

    prompt: Sequence[int]
    answer: Sequence[int]
    fact: int = -1

    def __len__(self) -> int:
        # The end token is only predicted, never read.
        return len(self.prompt) + len(self.answer) - 1


@dataclass(frozen=True)
class QuestionRow:
    """Pictures (row numbers of the feature cache, in order) and the segments that are asked about them."""

    pictures: tuple[int, ...]
    segments: tuple[Segment, ...]


@dataclass(frozen=True)
class Packed:
    """A batch: ids, positions (B, L) long; group (B, L) int32; images (B, L) bool.

    `group` is 0 for the frame's head and pictures, 1, 2, ... for the segments of a row, -1 for padding. `pictures`
    (P,) are feature rows in order; `asked` (A,) flat indices of the predicting positions, `answers` (A,) the tokens
    they should give, `owner` (A,) the number of the segment, counted over the batch.
    """

    ids: torch.Tensor
    positions: torch.Tensor
    group: torch.Tensor
    images: torch.Tensor
    pictures: torch.Tensor
    asked: torch.Tensor
    answers: torch.Tensor
    owner: torch.Tensor

    def mask(self, device: torch.device, dtype: torch.dtype = torch.float32) -> torch.Tensor:
        """Return the additive mask (B, 1, L, L), made on `device`: a segment sees the pictures and itself."""
        return _mask(self.group.to(device), dtype)


def begun(pictures: int, frame: Frame) -> int:
    """Return the tokens of a row before its first question."""
    return len(frame.head) + IMAGE_TOKENS * pictures


def fill(
    pictures: tuple[int, ...], segments: Sequence[Segment], length: int, frame: Frame
) -> tuple[QuestionRow, list[Segment]]:
    """The first segments that fit into `length` tokens as one row, and the rest; too long ones are skipped over."""
    left = length - begun(len(pictures), frame)
    taken, rest = [], []
    for segment in segments:
        if len(segment) <= left:
            taken.append(segment)
            left -= len(segment)
        else:
            rest.append(segment)
    return QuestionRow(pictures, tuple(taken)), rest


def pack(rows: Sequence[QuestionRow], length: int, frame: Frame) -> Packed:
    """Tensors of `rows`, all `length` tokens long; raises ValueError for a row that does not fit."""
    n = len(rows)
    ids = np.full((n, length), frame.pad, np.int64)
    positions = np.zeros((n, length), np.int64)
    group = np.full((n, length), -1, np.int32)
    images = np.zeros((n, length), bool)
    pictures: list[int] = []
    asked: list[int] = []
    answers: list[int] = []
    owner: list[int] = []
    number = 0
    for index, row in enumerate(rows):
        at = base = begun(len(row.pictures), frame)
        front = len(frame.head)
        ids[index, :front] = frame.head
        ids[index, front:base] = frame.image
        positions[index, :base] = np.arange(base)
        group[index, :base] = 0
        images[index, front:base] = True
        pictures.extend(row.pictures)
        for place, segment in enumerate(row.segments, start=1):
            end = at + len(segment)
            if end > length:
                raise ValueError(f"row {index} needs {end} tokens, has {length}; use `fill`")
            ids[index, at:end] = [*segment.prompt, *segment.answer[:-1]]
            positions[index, at:end] = np.arange(base, base + len(segment))
            group[index, at:end] = place
            first = index * length + at + len(segment.prompt) - 1
            asked.extend(range(first, first + len(segment.answer)))
            answers.extend(segment.answer)
            owner.extend([number] * len(segment.answer))
            number += 1
            at = end
    return Packed(
        ids=torch.from_numpy(ids),
        positions=torch.from_numpy(positions),
        group=torch.from_numpy(group),
        images=torch.from_numpy(images),
        pictures=torch.tensor(pictures, dtype=torch.long),
        asked=torch.tensor(asked, dtype=torch.long),
        answers=torch.tensor(answers, dtype=torch.long),
        owner=torch.tensor(owner, dtype=torch.long),
    )


def _mask(group: torch.Tensor, dtype: torch.dtype) -> torch.Tensor:
    length = group.shape[1]
    here, there = group.unsqueeze(2), group.unsqueeze(1)
    visible = ((here == there) | ((there == 0) & (here > 0))) & _earlier(length, group)
    visible |= torch.eye(length, dtype=torch.bool, device=group.device)
    zero = torch.zeros((), dtype=dtype, device=group.device)
    return torch.where(visible, zero, torch.full_like(zero, -1e4)).unsqueeze(1)


def _earlier(length: int, group: torch.Tensor) -> torch.Tensor:
    return torch.ones(length, length, dtype=torch.bool, device=group.device).tril()
