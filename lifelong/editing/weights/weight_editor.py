"""Editors that change weights of one region for every query: the part of the contract that they share.

Knows regions and running weights (`lifelong.editing.weights.regions`); nothing of how a change comes about.
"""

from __future__ import annotations

from collections.abc import Hashable, Iterator, Sequence
from contextlib import contextmanager

from lifelong.editing.contract import Answerer, Editor, Route, State
from lifelong.editing.weights.regions import Region, RunningWeights, relative_change
from streams.types import Query


class WeightEditor(Editor):
    """Answers with `weights` of `region` swapped in; a subclass finds the region and says what an edit does.

    A newer edit of a question is written over the older one, which cannot be taken out: traces of it stay.
    """

    routed = False
    region: Region
    weights: RunningWeights

    @contextmanager
    def applied(self, queries: Sequence[Query], routes: Sequence[Route]) -> Iterator[Answerer]:
        """Answer with the edited weights swapped in."""
        with self.weights.swapped():
            yield self.vlm.answerer(queries, from_layer=self.region.layer)

    def acts_on(self) -> Sequence[str]:
        """Return the names of the region's modules."""
        return list(self.region.modules)

    def bytes_for(self, edits: int) -> int:
        """Return the bytes of the edited weights, whatever the number of edits."""
        return self.nbytes()

    def nbytes(self) -> int:
        """Return the bytes of the edited weights, whatever the number of edits."""
        return self.weights.nbytes()

    def mark(self) -> Hashable:
        """Return how often the weights were changed."""
        return self.weights.changes

    def weight_drift(self) -> tuple[float, int] | None:
        """Return how far the edited matrices are from the base's."""
        return relative_change(self.weights.now, self.weights.base)

    def state(self) -> State:
        """Return the edited weights."""
        return State(self.weights.now, {"revision": self.revision})

    def load(self, state: State) -> None:
        """Go on from edited weights."""
        super().load(state)
        self.weights.load(state.tensors)
