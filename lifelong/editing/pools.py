"""What training draws from a pool of edits: questions inside and outside an edit's scope, new targets that keep a
generator from learning the pool by heart, and subjects that training never sees. Knows no model.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Sequence
from typing import Protocol, TypeVar

import numpy as np

from streams.types import PoolItem, Probe


class Targets:
    """Draws a target for an edit: one of its relation's, one of any relation's, or words of two together.

    A generator that meets every edit with one and the same target learns the pool by heart instead of learning to
    write what it is given (reports/LOG.md).
    """

    def __init__(self, items: Sequence[PoolItem]) -> None:
        found: defaultdict[str, set[str]] = defaultdict(set)
        for item in items:
            found[item.edit.relation].add(item.edit.target)
        self._of = {relation: sorted(targets) for relation, targets in found.items()}
        self._all = sorted(set().union(*found.values()))

    def draw(self, relation: str, rng: np.random.Generator) -> str:
        """Return a target for an edit of this relation."""
        draw = rng.random()
        if draw < 0.75:
            return _pick(self._of[relation], rng)
        if draw < 0.9:
            return _pick(self._all, rng)
        words = [*_pick(self._all, rng).split(), *_pick(self._all, rng).split()]
        start = int(rng.integers(len(words)))
        return " ".join(words[start : start + 1 + int(rng.integers(3))])


def _pick(targets: Sequence[str], rng: np.random.Generator) -> str:
    return targets[int(rng.integers(len(targets)))]


_INSIDE = ("reliability", "generality", "specificity")
"""The axes whose questions with the edit's answer lie in its scope."""


def inside_of(item: PoolItem) -> list[Probe]:
    """Return the questions of a training item that the edit should answer."""
    return [p for p in item.probes if p.axis in _INSIDE and p.reference == "target"]


def outside_of(item: PoolItem, *, words_only: bool = False) -> list[Probe]:
    """Return the questions that it should leave alone; with `words_only` those whose words differ from all inside."""
    same = {item.edit.query.prompt, *(p.query.prompt for p in inside_of(item))} if words_only else set()
    return [p for p in item.probes if p.reference == "baseline" and p.query.prompt not in same]


class HasFact(Protocol):
    """A training example that says which fact it is of."""

    @property
    def fact(self) -> tuple[str, str]:
        """Subject and relation."""
        ...


_Example = TypeVar("_Example", bound=HasFact)


def held_out(
    examples: Sequence[_Example], share: float, rng: np.random.Generator
) -> tuple[list[_Example], list[_Example]]:
    """Return the examples of most subjects, and those of a share of the subjects drawn at random."""
    subjects = sorted({e.fact[0] for e in examples})
    back = set(rng.permutation(subjects)[: round(share * len(subjects))].tolist())
    return [e for e in examples if e.fact[0] not in back], [e for e in examples if e.fact[0] in back]
