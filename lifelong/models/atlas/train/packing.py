"""Rows of several independent questions about the same pictures, and the tensors that train them.

A row begins with what the template writes first and the tokens of its pictures; each question sees those and itself,
nothing else, and its positions go on from there as if it stood alone. Knows token numbers, no words.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import numpy as np
import torch

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

    `group` is 0 for the frame's head and pictures, 1, 2, ... for the segments of a row, -1 for padding; `row` numbers
    the rows of questions within a row of tokens, which is 0 throughout unless they are packed densely. `pictures`
    (P,) are feature rows in order; `asked` (A,) flat indices of the predicting positions, `answers` (A,) the tokens
    they should give, `owner` (A,) the number of the segment, counted over the batch.
    """

    ids: torch.Tensor
    positions: torch.Tensor
    group: torch.Tensor
    row: torch.Tensor
    images: torch.Tensor
    pictures: torch.Tensor
    asked: torch.Tensor
    answers: torch.Tensor
    owner: torch.Tensor

    def parts(self, lines: int) -> Iterator[tuple[Packed, torch.Tensor, slice]]:
        """Yield the batch in parts of so many rows of tokens, with which of `asked` and of `pictures` are each one's.

        `owner` goes on counting over the batch.
        """
        length, first = self.ids.shape[1], 0
        each = int(self.images.sum()) // max(len(self.pictures), 1)  # tokens of a picture
        for start in range(0, len(self.ids), lines):
            rows = slice(start, start + lines)
            mine = (self.asked >= start * length) & (self.asked < (start + lines) * length)
            seen = slice(first, first + int(self.images[rows].sum()) // max(each, 1))
            first = seen.stop
            part = Packed(
                ids=self.ids[rows],
                positions=self.positions[rows],
                group=self.group[rows],
                row=self.row[rows],
                images=self.images[rows],
                pictures=self.pictures[seen],
                asked=self.asked[mine] - start * length,
                answers=self.answers[mine],
                owner=self.owner[mine],
            )
            yield part, mine, seen

    def mask(self, device: torch.device, dtype: torch.dtype = torch.float32) -> torch.Tensor:
        """Return the additive mask (B, 1, L, L), made on `device`: a segment sees the pictures and itself."""
        return _mask(self.group.to(device), self.row.to(device), dtype)


def begun(pictures: int, frame: Frame) -> int:
    """Return the tokens of a row before its first question."""
    return len(frame.head) + frame.picture_tokens * pictures


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


def tokens_of(row: QuestionRow, frame: Frame) -> int:
    """Return the tokens of a row with all its questions."""
    return begun(len(row.pictures), frame) + sum(len(segment) for segment in row.segments)


def _places(rows: Sequence[QuestionRow], length: int, frame: Frame, dense: bool) -> list[tuple[int, int, int]]:
    """Where each row of questions goes: row of tokens, first token, and its number there.

    Densely, the longest first, each goes where it leaves least room.
    """
    if not dense:
        return [(index, 0, 0) for index in range(len(rows))]
    sizes = [tokens_of(row, frame) for row in rows]
    places = [(0, 0, 0)] * len(rows)
    filled: list[tuple[int, int]] = []  # of each row of tokens: tokens used, rows of questions
    for index in sorted(range(len(rows)), key=lambda i: (-sizes[i], i)):
        fitting = [line for line, (used, _) in enumerate(filled) if used + sizes[index] <= length]
        if not fitting:
            filled.append((0, 0))
        line = max(fitting, key=lambda i: filled[i][0]) if fitting else len(filled) - 1
        used, lodgers = filled[line]
        places[index] = (line, used, lodgers)
        filled[line] = (used + sizes[index], lodgers + 1)
    return places


def pack(rows: Sequence[QuestionRow], length: int, frame: Frame, dense: bool = False) -> Packed:
    """Tensors of `rows`, `length` tokens long, one row each or, if `dense`, as many rows as fit.

    Raises ValueError for a row that does not fit.
    """
    places = _places(rows, length, frame, dense)
    n = 1 + max((line for line, _, _ in places), default=-1)
    ids = np.full((n, length), frame.pad, np.int64)
    positions = np.zeros((n, length), np.int64)
    group = np.full((n, length), -1, np.int32)
    lodged = np.zeros((n, length), np.int32)
    images = np.zeros((n, length), bool)
    asked: list[int] = []
    answers: list[int] = []
    owner: list[int] = []
    number = 0
    # Pictures are filled in from the first token on, so rows are gone through in the order of their places.
    order = sorted(range(len(rows)), key=places.__getitem__)
    pictures = [picture for index in order for picture in rows[index].pictures]
    for index, (row, (line, start, lodger)) in enumerate(zip(rows, places, strict=True)):
        base = begun(len(row.pictures), frame)
        at, front = start + base, start + len(frame.head)
        if start + tokens_of(row, frame) > length:
            raise ValueError(f"row {index} needs {tokens_of(row, frame)} tokens, has {length}; use `fill`")
        lodged[line, start : start + tokens_of(row, frame)] = lodger
        ids[line, start:front] = frame.head
        ids[line, front:at] = frame.image
        positions[line, start:at] = np.arange(base)
        group[line, start:at] = 0
        images[line, front:at] = True
        for place, segment in enumerate(row.segments, start=1):
            end = at + len(segment)
            ids[line, at:end] = [*segment.prompt, *segment.answer[:-1]]
            positions[line, at:end] = np.arange(base, base + len(segment))
            group[line, at:end] = place
            first = line * length + at + len(segment.prompt) - 1
            asked.extend(range(first, first + len(segment.answer)))
            answers.extend(segment.answer)
            owner.extend([number] * len(segment.answer))
            number += 1
            at = end
    return Packed(
        ids=torch.from_numpy(ids),
        positions=torch.from_numpy(positions),
        group=torch.from_numpy(group),
        row=torch.from_numpy(lodged),
        images=torch.from_numpy(images),
        pictures=torch.tensor(pictures, dtype=torch.long),
        asked=torch.tensor(asked, dtype=torch.long),
        answers=torch.tensor(answers, dtype=torch.long),
        owner=torch.tensor(owner, dtype=torch.long),
    )


def _mask(group: torch.Tensor, row: torch.Tensor, dtype: torch.dtype) -> torch.Tensor:
    length = group.shape[1]
    here, there = group.unsqueeze(2), group.unsqueeze(1)
    visible = ((here == there) | ((there == 0) & (here > 0))) & (row.unsqueeze(2) == row.unsqueeze(1))
    visible &= _earlier(length, group)
    visible |= torch.eye(length, dtype=torch.bool, device=group.device)
    zero = torch.zeros((), dtype=dtype, device=group.device)
    return torch.where(visible, zero, torch.full_like(zero, -1e4)).unsqueeze(1)


def _earlier(length: int, group: torch.Tensor) -> torch.Tensor:
    return torch.ones(length, length, dtype=torch.bool, device=group.device).tril()
