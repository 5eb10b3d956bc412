"""What LiveEdit's training reads: pool items as rows of cached hidden states.

Knows the model only through hidden states of the layer that the residual joins. Trains nothing.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

import torch
from torch import Tensor

from lifelong.editing.states import StateTable
from lifelong.models.vlm import Hidden
from streams.types import PoolItem, Probe, Query

if TYPE_CHECKING:
    from lifelong.models.vlm import VLM

_TOGETHER, _FEW = 512, 64  # rows that are read together, and where so many would not fit on the device
_LONG = 1024  # tokens of a long row
_NONE = torch.zeros(0, 0)
FIELDS = ("states", "image", "prompt", "answer", "target_ids", "encoded")


@dataclass(frozen=True)
class HiddenExample:
    """One training item as row numbers of the table of hidden states."""

    edit: int
    rephrases: tuple[int, ...]
    locals: tuple[int, ...]
    fact: tuple[str, str]
    has_image: bool


@dataclass
class HiddenTable:
    """Hidden states of every row, in half precision, and the examples made of them."""

    vlm: VLM
    layer: int
    asked: list[tuple[Query, str]] = field(default_factory=list)
    places: dict[tuple[str, str], int] = field(default_factory=dict)
    hidden: Hidden | None = None  # without its states, which are in `states`
    states: StateTable = field(default_factory=lambda: StateTable(0, 0))

    def add(self, query: Query, target: str) -> int:
        """Return the row of a question with its answer."""
        key = (query.digest, target)
        if key not in self.places:
            self.places[key] = len(self.asked)
            self.asked.append((query, target))
        return self.places[key]

    def compute(self) -> None:
        """Run the lower layers once over every row; their states lie where the model's memory has room for them."""
        parts = []
        near_bytes, far_bytes = self.vlm.memory.table_bytes
        self.states = StateTable(near_bytes, far_bytes)
        row_bytes = _LONG * self.vlm.width * self.vlm.embeddings().element_size()
        most = _TOGETHER if _TOGETHER * row_bytes <= near_bytes else _FEW
        for start in range(0, len(self.asked), most):
            chunk = self.asked[start : start + most]
            got = self.vlm.hidden([q for q, _ in chunk], self.layer, [t for _, t in chunk])
            self.states.add(got.states)
            parts.append(_with_states(got, (_NONE,) * len(chunk)))
        self.hidden = joined_hidden(parts)

    def take(self, rows: Sequence[int]) -> Hidden:
        """Return some rows in float32, on the model's device."""
        assert self.hidden is not None
        states = tuple(s.to(self.vlm.device) for s in self.states.take(rows))
        return _with_states(self.hidden.take(list(rows)), states)

    def with_targets(self, rows: Sequence[int], targets: Sequence[str]) -> Hidden:
        """Compute some rows anew, with other answers."""
        return self.vlm.hidden([self.asked[r][0] for r in rows], self.layer, targets)


def _with_states(got: Hidden, states: tuple[Tensor, ...]) -> Hidden:
    return Hidden(got.layer, states, got.image, got.prompt, got.answer, got.target_ids, got.encoded)


def joined_hidden(parts: Sequence[Hidden]) -> Hidden:
    """Return the rows of all parts, which are of one layer."""
    return Hidden(parts[0].layer, *(tuple(x for p in parts for x in getattr(p, n)) for n in FIELDS))


def examples_of(items: Sequence[PoolItem], table: HiddenTable) -> list[HiddenExample]:
    """Register every row that training reads and return the items that have a rephrase and a local question."""
    out = []
    for item in items:
        edit, seen = item.edit, item.edit.query.image is not None

        def rows(probes: list[Probe]) -> tuple[int, ...]:
            return tuple(table.add(p.query, p.target) for p in probes)

        same = [p for p in item.probes if p.axis == "generality" and (p.query.image is not None) == seen]
        other = [
            p
            for p in item.probes
            if (p.axis == "locality" or (p.axis == "specificity" and p.reference == "baseline"))
            and (p.query.image is not None) == seen  # the other kind of question never meets this expert
        ]
        if same and other:
            place = table.add(edit.query, edit.target)
            out.append(HiddenExample(place, rows(same), rows(other), (edit.subject, edit.relation), seen))
    if len(out) < 2:
        raise ValueError(
            f"liveedit: {len(out)} of {len(items)} pool items have a rephrase and a local question; 2 are needed."
        )
    return out
