"""What RECIPE's training reads: pool items as rows of features that are computed once. Trains nothing."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field

import numpy as np
import torch
from torch import Tensor

from streams.types import PoolItem, Query


@dataclass(frozen=True)
class FeatureExample:
    """One training item: row numbers of the table of features, and what the rows ask and answer.

    Of the questions outside, `apart` are those that what the router reads can tell from the edit; `says` is what two
    edits share that it cannot tell apart.
    """

    fact: tuple[str, str]
    says: str
    knowledge: int
    inside: tuple[int, ...]
    outside: tuple[int, ...]
    apart: tuple[int, ...]


@dataclass
class FeatureTable:
    """Features of every row, computed once; `asked` holds (query, answer)."""

    asked: list[tuple[Query, str]] = field(default_factory=list)
    features: Tensor = field(default_factory=lambda: torch.zeros(0))
    device: torch.device = torch.device("cpu")

    def take(self, rows: Sequence[int]) -> Tensor:
        """Return the features (rows, width) of some rows on the device, wherever the table lies."""
        return self.features[list(rows)].to(self.device)

    def add(self, query: Query, answer: str) -> int:
        """Return the number of a new row."""
        self.asked.append((query, answer))
        return len(self.asked) - 1


def knowledge_of(query: Query, target: str) -> Query:
    """Return an edit as the text that is its knowledge: prompt and answer."""
    return Query(f"{query.prompt} {target}", query.image)


def feature_example(item: PoolItem, table: FeatureTable, *, pictures: bool) -> FeatureExample:
    """Register the rows of one item; `pictures`: whether the router sees them.

    One that does not is not asked what words cannot tell: the same relation of another picture, or of another thing
    in the picture, and two edits whose prompts name no subject.
    """
    edit = item.edit
    inside = [table.add(edit.query, edit.target)]
    inside += [table.add(p.query, p.target) for p in item.probes if p.axis == "generality"]
    local = [p for p in item.probes if p.reference == "baseline"]
    outside = {p.id: table.add(p.query, p.target) for p in local}
    apart = [outside[p.id] for p in local if pictures or not (p.axis == "specificity" or p.variant == "near")]
    known = table.add(knowledge_of(edit.query, edit.target), edit.target)
    says = edit.id if pictures else edit.query.prompt
    if not pictures and edit.prompt_kind == "generic":
        says = edit.relation
    fact = (edit.subject, edit.relation)
    return FeatureExample(fact, says, known, tuple(inside), tuple(outside.values()), tuple(apart))


def draw_examples(examples: Sequence[FeatureExample], n: int, rng: np.random.Generator) -> list[FeatureExample]:
    """Draw examples whose facts and words all differ: of two alike each would be the other's false negative."""
    out: dict[tuple[str, str], FeatureExample] = {}
    said: set[str] = set()
    for i in rng.permutation(len(examples)):
        e = examples[i]
        if e.fact not in out and e.says not in said:
            out[e.fact] = e
            said.add(e.says)
        if len(out) == n:
            break
    return list(out.values())


def one(rows: Sequence[int], rng: np.random.Generator) -> int:
    return rows[int(rng.integers(len(rows)))]
