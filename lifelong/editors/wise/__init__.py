"""WISE: side memories of one weight, edited in random subspaces, merged, and chosen by activation (arXiv 2405.14768).

Knows queries, edits and the model's hooks; nothing of probes, clocks or panels.
"""

from __future__ import annotations

from collections.abc import Callable, Hashable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import replace
from typing import TYPE_CHECKING, Any

import numpy as np
import torch
from torch import Tensor

from lifelong.editing.contract import Answerer, Editor, Keys, Route, State
from lifelong.editing.ops import answer_exact, answer_loss, bytes_of, descend, edit_generator, editable, weight_of
from lifelong.editors.wise.memory import SideMemory, choose_memory, hinge, sequence_distance, subspace, ties
from lifelong.editors.wise.memory import token_distances as moved
from lifelong.editors.wise.options import WiseOptions
from streams.types import Edit, ImageRef, Pool, Query

if TYPE_CHECKING:
    from lifelong.models.vlm import VLM

_ROUNDING = 1e-4
"""Relative slack of a limit: the same query, computed in another batch, differs by rounding."""


class Wise(Editor):
    """Lifelong editing in a side memory with a router of activations (arXiv 2405.14768, sections 2.3.1 and 2.3.2).

    An expert is a side memory W' of one linear map W, shared by all edits of its shard. A query a moves by
    D(a) = |a (W' - W)|; the memory that it moves farthest serves it where that is at least `ratio` of the least
    movement of the memory's own edits, else W does. Every edit trains the live memory by gradient descent on
    NLL + [D_out - alpha]+ + [beta - D_in]+ + [D_out - D_in + gamma]+ inside a random subspace; each `shard` edits it
    is frozen, each `merge` edits frozen ones are merged by TIES: into one (mode merge), or one per `merge` edits
    (mode retrieve). `fit` learns no weight; it keeps unrelated questions for the hinges.

    Shapes: a memory is (out, in); the key of a query (tokens, in). Memory does not grow with edits but with memories:
    4 out in bytes each. A query costs one product of (tokens, in) and (in, out) per memory.

    Edits of one subspace crowd each other, so reliability falls with the edits in a shard and again when shards are
    merged; no edit can be taken back. A newer edit of a question is written over the older one where both are in the
    live memory; once that is frozen, the query goes to whichever memory moves it farther, maybe to the older answer.

    Deviations: a query's movement is the mean over its last `tokens` prompt tokens (the paper does not say which; the
    released code averages prompt and answer, so its router sees the answer; keys of whole prompts would be the
    activations themselves). In the hinges movements are scaled so that the module's unedited output has norm `unit`:
    the published thresholds and rate then fit models of any scale (unscaled, one step passes them on a model with
    large activations, and they separate nothing). `ratio` is the released code's, the paper's is 1. Repeated merges
    weigh memories by their shards (the paper merges once). The released code loses shards between freezing and
    merging; here they serve. Without `fit` the two hinges that need unrelated questions are left out.
    """

    Options = WiseOptions
    searched = {
        "module": ("mlp.down_proj", "mlp.up_proj"),
        "layer": (0.17, 0.34, 0.5, 0.67, 0.84),
        "subspace": (0.2, 0.5, 1.0),
        "norm": (1.0, 3.0, 10.0, 30.0, 100.0),
        "learning_rate": (0.1, 0.3, 1.0, 3.0, 10.0),
        "ratio": (0.15, 0.3, 0.5, 0.7, 0.88, 1.0),
    }
    published = {"ratio": 1.0}
    depths = ("layer",)
    trains = True
    options: WiseOptions

    def __init__(self, vlm: VLM, options: WiseOptions | None = None, *, seed: int = 0) -> None:
        super().__init__(vlm, options, seed=seed)
        self.layer = vlm.layer_at(self.options.layer)
        self.module = vlm.submodule(self.layer, self.options.module)
        self.weight = editable(self.options.module, weight_of(self.module)).detach()
        self.unrelated: list[Query] = []
        self._outside: dict[int, Keys] = {}  # keys of unrelated questions, which nothing changes
        self.live: SideMemory | None = None
        self._mask = (0, torch.zeros(0))  # of which memory it is, and what that one may change
        self.frozen: list[SideMemory] = []
        self._begun = 0

    # What fit keeps

    def fit(self, pool: Pool) -> None:
        """Keep the first `outside` distinct questions that edits of the pool must not change."""
        self._outside = {}
        probes = (p.query for item in pool.items for p in item.probes if p.axis == "locality")
        self.unrelated = list(dict.fromkeys(probes))[: self.options.outside]

    @classmethod
    def fit_options(cls, options: WiseOptions) -> Mapping[str, Any]:
        """Return how many are kept."""
        return {"outside": options.outside}

    @classmethod
    def pool_wanted(cls, options: WiseOptions) -> str:
        """Return what unrelated questions are kept from, where any are."""
        return "keeps unrelated questions (or give editor.outside=0)" if options.outside else ""

    def fitted(self) -> State:
        """Return the unrelated questions."""
        images = [None if q.image is None else [q.image.uri, q.image.digest, q.image.root] for q in self.unrelated]
        return State({}, {"unrelated": [[q.prompt, i] for q, i in zip(self.unrelated, images, strict=True)]})

    def load_fitted(self, state: State) -> None:
        """Take over unrelated questions."""
        self._outside = {}
        self.unrelated = [Query(p, None if i is None else ImageRef(*i)) for p, i in state.meta["unrelated"]]

    # Editing

    def edit(self, edits: Sequence[Edit]) -> None:
        """Train the live memory on one edit after another; raises `CollapseError` on a non-finite loss or weight."""
        for edit in edits:
            if any(edit.id in memory.members for memory in self._memories()):
                raise ValueError(f"Edit {edit.id!r} is already in a memory; an edit is learnt once.")
            begun = self._begun + (self.live is None)
            live = self._train(
                edit, self.live or SideMemory(torch.zeros_like(self.weight, dtype=torch.float32)), begun
            )
            self.live, self._begun = live, begun
            if len(live.members) >= self.options.shard:
                self.frozen.append(replace(live, shards=1))
                self.live = None
                self._merge()

    def _train(self, edit: Edit, live: SideMemory, begun: int) -> SideMemory:
        """Return the live memory, the `begun`-th, after an edit."""
        o, source = self.options, edit_generator(self.seed, edit.id)
        if self._mask[0] != begun:  # once for all edits of a memory; on the host, so that every device has the same
            drawn = subspace(live.change.shape, o.subspace, edit_generator(self.seed, f"subspace {begun}"))
            self._mask = begun, drawn.to(self.vlm.device)
        mask = self._mask[1]
        change = live.change.clone().requires_grad_()
        handle = change.register_hook(lambda gradient: gradient * mask)
        with self.vlm.expecting({edit.query: edit.target}):  # one pass for both
            inside = self.encode([edit.query])
            hidden = self.vlm.hidden([edit.query], self.layer, [edit.target])
        outside = None
        if self.unrelated:
            one = int(torch.randint(len(self.unrelated), (1,), generator=source))
            if one not in self._outside:
                self._outside[one] = self.encode([self.unrelated[one]])
            outside = self._outside[one]
        inputs, seen = (torch.from_numpy(inside[name]).to(self.vlm.device) for name in ("input", "seen"))
        unedited = sequence_distance(moved(inputs @ self.weight.float().T, None, "none"), seen)
        scale, right = o.unit / float(unedited), False

        def loss_of() -> Tensor:
            nonlocal right
            with self.vlm.hook(
                self.module, lambda _, args, out, __: out + (args[0].float() @ change.T).to(out.dtype), pointwise=True
            ):
                logits = self.vlm.resume(hidden, grad=True, answers_only=True)[0]
            right = answer_exact(logits, hidden.target_ids[0])
            near = self._movement(inside, change)
            far = near.new_zeros(0) if outside is None else self._movement(outside, change)
            push = hinge(near * scale, far * scale, o.alpha, o.beta, o.gamma)
            return answer_loss(logits, hidden.target_ids[0]) + push

        descend(
            torch.optim.SGD([change], lr=o.learning_rate),
            loss_of,
            steps=o.steps,
            done=lambda loss: right and loss < o.stop_loss,
            vlm=self.vlm,
            what=f"wise, edit {edit.id}",
            after=lambda: self._clamp(change),
        )
        handle.remove()
        change = change.detach()
        least = min(live.least, float(self._movement(inside, change)[0]))
        return SideMemory(change, (*live.members, edit.id), least, live.revision + 1)

    def _clamp(self, change: Tensor) -> None:
        with torch.no_grad():
            change.clamp_(-self.options.norm, self.options.norm)

    def _merge(self) -> None:
        """Merge the frozen shards once there are enough of them."""
        o = self.options
        fresh = [m for m in self.frozen if m.shards == 1]
        if len(fresh) * o.shard < o.merge or len(fresh) < 2:
            return
        parts = self.frozen if o.mode == "merge" else fresh
        count = sum(m.shards for m in parts)
        merged = SideMemory(
            ties([m.change for m in parts], o.density, [m.shards / count for m in parts]),
            tuple(i for m in parts for i in m.members),
            min(m.least for m in parts),
            max(m.revision for m in parts) + 1,
            count,
        )
        self.frozen = [m for m in self.frozen if m not in parts] + [merged]

    def _memories(self) -> list[SideMemory]:
        return ([] if self.live is None else [self.live]) + self.frozen

    # Answering

    def encode(self, queries: Sequence[Query]) -> Keys:
        """Return `input` (n, tokens, in), the module's inputs at the last prompt tokens, and `seen` (n, tokens)."""
        k = self.options.tokens
        inputs = np.zeros((len(queries), k, self.weight.shape[1]), np.float32)
        seen = np.zeros((len(queries), k), np.float32)
        for i, states in enumerate(self.vlm.capture(queries, self.module)):
            last = states[-k:].float().cpu().numpy()
            inputs[i, k - len(last) :], seen[i, k - len(last) :] = last, 1
        return Keys({"input": inputs, "seen": seen})

    def _movement(self, keys: Keys, change: Tensor) -> Tensor:
        """Return how far a memory moves each key row, (n,)."""
        inputs, seen = (torch.from_numpy(keys[name]).to(change.device) for name in ("input", "seen"))
        original = None if self.options.activation == "none" else inputs @ self.weight.float().T
        return sequence_distance(moved(inputs @ change.T, original, self.options.activation), seen)

    def route(self, keys: Keys) -> list[Route]:
        """Return the memory that moves a query farthest, as all its edits, where it moves it far enough.

        Scores are movements; `best` is the largest one as a share of the least that an edit of that memory saw.
        """
        memories = self._memories()
        if not memories or not len(keys):
            return [Route()] * len(keys)
        with torch.no_grad():
            distances = torch.stack([self._movement(keys, m.change) for m in memories], 1).cpu()
        least = torch.tensor([m.least for m in memories])
        best = (distances / least.clamp_min(1e-30)).amax(1).tolist()
        limits = least * self.options.ratio * (1 - _ROUNDING)
        if self.live is None:  # an untouched live memory moves nothing
            distances = torch.cat([torch.zeros(len(keys), 1), distances], 1)
            limits = torch.cat([torch.tensor([float("inf")]), limits])
            memories = [SideMemory(self.weight), *memories]
        routes = []
        revisions = [(m.revision,) * len(m.members) for m in memories]
        for row, j in enumerate(choose_memory(distances, limits).tolist()):
            ids = memories[j].members if j >= 0 else ()
            scores = (float(distances[row, j]),) * len(ids)
            routes.append(
                Route(ids, scores, revisions=revisions[j], group=len(ids) > 1, best=best[row])
                if ids
                else Route(best=best[row])
            )
        return routes

    @contextmanager
    def applied(self, queries: Sequence[Query], routes: Sequence[Route]) -> Iterator[Answerer]:
        """Answer with the routed memory in the place of the weight, at every token; others see the base."""
        number = {m.members[0]: j for j, m in enumerate(self._memories())}
        chosen = torch.tensor([number[route.ids[0]] if route.in_scope else -1 for route in routes])
        if not len(routes) or int(chosen.max()) < 0:
            yield self.vlm.answerer(queries)
            return
        with self.vlm.hook(self.module, _switch([m.change for m in self._memories()], chosen), pointwise=True):
            yield self.vlm.answerer(queries, from_layer=self.layer)

    # State

    def acts_on(self) -> Sequence[str]:
        """Return the name of the module beside which memories stand."""
        return [self.vlm.name_of_module(self.module)]

    def bytes_for(self, edits: int) -> int:
        """Return the bytes of the memories that there are after so many edits."""
        o = self.options
        merged, fresh = divmod(edits, o.merge)
        shards = -(-fresh // o.shard)  # the live one among them
        return 4 * self.weight.numel() * (shards + (min(merged, 1) if o.mode == "merge" else merged))

    def nbytes(self) -> int:
        """Return the bytes of all memories."""
        return bytes_of(m.change for m in self._memories())

    def bank_len(self) -> int:
        """Return the number of memories."""
        return len(self._memories())

    def mark(self) -> Hashable:
        """Return how often each memory was trained or merged, and of how many edits it is made."""
        return self._begun, tuple((m.revision, m.shards, len(m.members)) for m in self._memories())

    def state(self) -> State:
        """Return all memories, the live one first."""
        memories = self._memories()
        tensors = {f"change{j}": m.change.cpu() for j, m in enumerate(memories)}
        facts = [[list(m.members), m.least, m.revision, m.shards] for m in memories]
        return State(tensors, {"revision": self.revision, "memories": facts, "begun": self._begun})

    def load(self, state: State) -> None:
        """Go on from memories."""
        super().load(state)
        memories = [
            SideMemory(state.tensors[f"change{j}"].to(self.vlm.device).clone(), tuple(members), *rest)
            for j, (members, *rest) in enumerate(state.meta["memories"])
        ]
        self.live = next((m for m in memories if m.shards == 0), None)
        self.frozen = [m for m in memories if m.shards > 0]
        self._begun = int(state.meta["begun"])


def _switch(changes: Sequence[Tensor], chosen: Tensor) -> Callable[..., Any]:
    """Return a hook that adds row r's change of the weight, number `chosen[r]` (-1: none), to a module's output."""

    def add(module: Any, args: Any, output: Tensor, layout: Any) -> Tensor | None:
        numbers = chosen[layout.rows.cpu()]
        for j in numbers.unique().tolist():  # memories, not edits: one per `merge` edits at most
            if j >= 0:
                here = (numbers == j).nonzero().squeeze(1).to(output.device)
                extra = args[0][here].to(changes[j].dtype) @ changes[j].T
                output = output.index_add(0, here, extra.to(output.dtype))
        return output

    return add
