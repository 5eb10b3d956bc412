"""A counterfactual model made of weight changes: every edit keeps its own, MEND's trained transform of its gradient.

The changes never meet: a query in scope is answered by the base plus the change of its one edit (arXiv 2411.12790,
MSCKE-MEND). Knows regions, transforms and routes; nothing of scope or banks.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from contextlib import AbstractContextManager, contextmanager
from pathlib import Path
from typing import TYPE_CHECKING

import torch
from torch import Tensor
from torch.nn.utils.rnn import pad_sequence

from lifelong.editing.contract import Answerer, Route, State
from lifelong.editing.ops import NotFiniteError, bytes_of
from lifelong.editing.scope.counterfactual import SplitAnswerer
from lifelong.editing.weights.gradient_transform import GradientTransforms, TransformTraining
from lifelong.editing.weights.hypernet import Factors, per_row
from lifelong.editing.weights.regions import find_region, layers_from
from streams.types import Edit, Pool, Prompt, Query

if TYPE_CHECKING:
    from lifelong.models.vlm import VLM

SIDES = ("left", "right")
TARGETS = ("mlp.down_proj", "mlp.up_proj")


class CounterfactualMend:
    """The base plus one edit's low-rank change of some matrices of its last layers.

    `depth` is the lowest edited layer as a share of the depth. Kept per edit and matrix: the factors of
    sum_t delta~_t u~_t^T over its tokens, (tokens, out) and (tokens, in) float32.
    """

    def __init__(
        self, vlm: VLM, *, depth: float, rank: float, rate: float, how: TransformTraining, seed: int, what: str
    ) -> None:
        self.vlm, self.how, self.what = vlm, how, what
        self.region = find_region(vlm, "language", layers_from(vlm, depth), TARGETS)
        self.transforms = GradientTransforms(self.region, rank=rank, rate=rate, seed=seed)
        self.factors: dict[str, dict[str, tuple[Tensor, ...]]] = {}

    def fit(self, pool: Pool, *, seed: int, unfinished: Path | None = None) -> list[float]:
        """Train the transforms as MEND does: reworded questions, and questions to leave alone; keeps no losses."""
        self.transforms.fit(
            pool, self.how, seed=seed, what=f"{self.what}: counterfactual changes", unfinished=unfinished
        )
        return []

    def fitted(self) -> dict[str, Tensor]:
        """Return the transforms with their moments and rates."""
        return {name: t.clone() for name, t in self.transforms.networks.state_dict().items()}

    def load_fitted(self, tensors: Mapping[str, Tensor]) -> None:
        """Take over transforms."""
        self.transforms.networks.load_state_dict(dict(tensors), strict=True)

    def take(self, edit: Edit) -> None:
        """Keep an edit's change of the base; raises `NotFiniteError` that names it where that is not finite."""
        what = f"{self.what}, edit {edit.id}"
        changes = self.transforms.changes_of([edit], what)
        kept = {
            n: (f.left[0][f.kept[0]].detach().cpu(), f.right[0][f.kept[0]].detach().cpu()) for n, f in changes.items()
        }
        if not all(bool(torch.isfinite(t).all()) for pair in kept.values() for t in pair):
            raise NotFiniteError(f"{what}: its weight change is not finite.")
        self.factors[edit.id] = kept

    def drop(self, ids: Sequence[str]) -> None:
        """Forget edits that are kept."""
        for edit_id in ids:
            del self.factors[edit_id]

    @contextmanager
    def answering(self, queries: Sequence[Query], routes: Sequence[Route]) -> Iterator[Answerer]:
        """Answer each routed query with its edit's change added, the others by the base; see `SplitAnswerer`."""
        asked = {i: Prompt.of(q) for i, (q, r) in enumerate(zip(queries, routes, strict=True)) if r.in_scope}
        places = {edit_id: n for n, edit_id in enumerate(dict.fromkeys(routes[i].ids[0] for i in asked))}
        table = self._table(list(places))

        def edited(rows: Sequence[int]) -> AbstractContextManager[None]:
            return per_row(self.region, table, [places[routes[r].ids[0]] for r in rows])

        shares = {i: routes[i].weights[0] for i in asked}
        yield SplitAnswerer(self.vlm, queries, asked, shares, edited, self.region.layer)

    def _table(self, ids: Sequence[str]) -> dict[str, Factors]:
        """Return the changes of some edits, padded with terms that are zero."""
        out = {}
        for name in self.region.linear() if ids else ():
            pairs = [self.factors[edit_id][name] for edit_id in ids]
            left, right = (pad_sequence([p[side] for p in pairs], batch_first=True) for side in (0, 1))
            counts = torch.tensor([len(p[0]) for p in pairs])
            kept = torch.arange(left.shape[1])[None] < counts[:, None]
            out[name] = Factors(*(t.to(self.vlm.device) for t in (left, right, kept)))
        return out

    def nbytes(self) -> int:
        """Return the bytes of all factors."""
        return bytes_of(t for kept in self.factors.values() for pair in kept.values() for t in pair)

    def state(self) -> State:
        """Return every edit's factors."""
        ids, names = list(self.factors), list(self.region.linear())
        tensors = {
            f"{i}/{j}/{side}": self.factors[edit_id][name][k]
            for i, edit_id in enumerate(ids)
            for j, name in enumerate(names)
            for k, side in enumerate(SIDES)
        }
        return State(tensors, {"ids": ids})

    def load(self, state: State) -> None:
        """Go on from every edit's factors."""
        names = list(self.region.linear())
        self.factors = {
            edit_id: {
                n: (state.tensors[f"{i}/{j}/left"], state.tensors[f"{i}/{j}/right"]) for j, n in enumerate(names)
            }
            for i, edit_id in enumerate(state.meta["ids"])
        }
