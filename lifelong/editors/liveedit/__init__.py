"""LiveEdit: one generated low-rank expert per edit, routed by sight and then by words (arXiv 2411.15432).

Knows queries, edits, banks and the model's hooks; nothing of probes, clocks or panels. An expert is a residual
sum_i w_i ReLU(LN(h) U_i^T) V_i on every token after one decoder layer (Eq. 6). A query's visual features keep the
experts that look more like it than the sentinel does (hard filter, Eq. 5); its text features weigh those kept (soft
routing). `fit` trains extractors, sentinel and generator; an edit is then one forward pass, no gradient.

Memory per edit: 2 rank width + 2 k module_width floats. A query costs one product of N x (k module_width) and, per
kept expert, 2 rank width multiplications a token. Deviations, each an option: the generator also sees the answer's
tokens (`generator="paper"` is the paper's; see `modules.CopyingGenerator`); text-only queries, which the paper leaves
unedited, meet the experts of text-only edits, their prompt taking the picture's place (`text_only="paper"` leaves
them unedited); subjects held out of training set where the hard filter keeps an expert, lenient enough for `recall`
of their rephrases (`margin=0`: the paper's rule, the limit as it was learnt); experts of a soft weight below `faint`
are left out, so that a route changes only with what can change the answer; a newer edit of a question drops the
older one's expert (`supersede="keep"` mixes both, as the paper does); half of training's steps mix pictures
(`mixed=0`: none).
Every step draws new targets for its edits, for which the paper has data enough. The published training feeds the
layer's output to that layer again; here it is fed once. The paper's ablations are options too: `ABLATED`,
`depth`, `rank` and `width`.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

import numpy as np
import torch
from torch import Tensor

from lifelong.bank import Bank, FoundRows
from lifelong.editing.contract import Answerer, Editor, Keys, Route, State
from lifelong.editing.ops import NotFiniteError
from lifelong.editing.questions import EditedQuestions
from lifelong.editing.settled import unused
from lifelong.editors.liveedit import train
from lifelong.editors.liveedit.calibration import KINDS, margin
from lifelong.editors.liveedit.modules import LiveEditModules
from lifelong.editors.liveedit.options import ABLATED, UNLEARNT, LiveEditOptions
from lifelong.editors.liveedit.rows import Rows, expert_inputs, routing_view
from streams.types import Edit, Pool, Query

if TYPE_CHECKING:
    from lifelong.models.vlm import VLM

_CALIBRATED = "calibrated."


class LiveEdit(Editor):
    """Lifelong vision-language editing by generated experts (arXiv 2411.15432)."""

    Options = LiveEditOptions
    # A margin in numbers is left out but for the paper's: `recall` sets one for each kind of edit.
    searched = {
        "margin": (None, 0.0),
        "recall": (0.3, 0.5, 0.7, 0.8, 0.9, 0.95, 0.99, 0.999),
        "faint": (0.0, 0.001, 0.01, 0.03, 0.1, 0.3),
        "text_only": ("extended", "paper"),
    }
    # Not rank=4, generator=paper and calibration=0: each is another fit, and the first two learn nothing general.
    published = {"text_only": "paper", "faint": 0.0, "margin": 0.0, "supersede": "keep"}
    removes = True
    replaces = True
    trains = True
    append_only = True
    lasting = True
    options: LiveEditOptions

    def __init__(self, vlm: VLM, options: LiveEditOptions | None = None, *, seed: int = 0) -> None:
        super().__init__(vlm, options, seed=seed)
        o = self.options
        self.layer = min(max(1, round(o.depth * vlm.layers)), vlm.layers - 1)  # the residual joins this layer's input
        with torch.random.fork_rng(devices=[]):
            torch.manual_seed(seed)
            self.modules = LiveEditModules(
                vlm.width, width=o.width, k=o.features, rank=o.rank, heads=o.heads, scale=o.scale,
                image_tokens=o.sentinel_tokens, generator=o.generator,
                prompt_guided=o.prompt_guided, soft_routing=o.soft_routing,
            ).to(vlm.device).eval().requires_grad_(False)  # fmt: skip
        self.calibrated: dict[str, dict[str, Tensor]] = {kind: {} for kind in KINDS}
        self.margins: dict[str, float] = dict.fromkeys(KINDS, 0.0)
        size = o.features * o.width
        self.banks = {kind: Bank(size, metric="ip", index=o.index, payloads=o.payloads) for kind in KINDS}
        self.questions = EditedQuestions()

    # Training

    def fit(self, pool: Pool) -> None:
        """Train every module on the pool's edits and probes (about the paper's losses, all of weight 1)."""
        _, self.calibrated = train.fit_liveedit(
            self.vlm, self.modules, pool, self.layer, self.options, seed=self.seed, unfinished=self.unfinished
        )
        self.load_fitted(self.fitted())

    @classmethod
    def settles(cls, options: LiveEditOptions, vlm: VLM) -> LiveEditOptions:
        """Return the options without those of a soft routing or a calibration that is left out."""
        off = {"faint"} if not options.soft_routing else set()
        off |= {"recall"} if options.margin is not None or not options.calibration else set()
        return unused(super().settles(options, vlm), off)

    @classmethod
    def fit_options(cls, options: LiveEditOptions) -> Mapping[str, Any]:
        """Return all options but those that only routing reads; of the ablations those that are made."""
        whole = {name for name in ABLATED if getattr(options, name)}
        return options.model_dump(mode="json", exclude={*UNLEARNT, *whole})

    def fitted(self) -> State:
        """Return all module weights in half precision, and what sets the margins of the hard filter."""
        weights = {k: v.half().contiguous() for k, v in self.modules.state_dict().items()}
        found = {f"{_CALIBRATED}{kind}.{n}": t for kind, parts in self.calibrated.items() for n, t in parts.items()}
        return State(weights | found, {"layer": self.layer})

    def load_fitted(self, state: State) -> None:
        """Take over module weights and what sets the margins."""
        self.calibrated = {kind: {} for kind in KINDS}
        for name in [n for n in state.tensors if n.startswith(_CALIBRATED)]:
            kind, part = name.removeprefix(_CALIBRATED).split(".")
            self.calibrated[kind][part] = state.tensors[name].cpu().float()
        self.margins = {kind: margin(found, self.options.recall) for kind, found in self.calibrated.items()}
        weights = {k: v.float() for k, v in state.tensors.items() if not k.startswith(_CALIBRATED)}
        self.modules.load_state_dict(weights, strict=True)

    # Editing

    def edit(self, edits: Sequence[Edit]) -> dict[str, str]:
        """Generate and store one expert per edit; raises `NotFiniteError` naming an edit without a finite one."""
        passed_over: dict[str, str] = {}
        for edit in edits:
            kind = "image" if edit.query.image else "text"
            if kind == "text" and self.options.text_only == "paper":
                passed_over[edit.id] = "no picture: the paper's hook never sees such a question"
                continue
            hidden = self.vlm.hidden([edit.query], self.layer, [edit.target])
            rows = routing_view(hidden, self.vlm.device)
            with torch.no_grad():
                side = self.modules.edit_side
                visual = side.visual_branch(rows.prompt, rows.prompt_seen, rows.seen, rows.seen_seen)
                text = side.text_branch(rows.prompt, rows.prompt_seen)
                u, v = self.modules.experts(*expert_inputs(hidden, self.vlm.embeddings(), self.vlm.device))
            if not all(bool(torch.isfinite(t).all()) for t in (visual, text, u, v)):
                raise NotFiniteError(f"liveedit, edit {edit.id}: its generated expert is not finite.")
            payloads = {"text": text.flatten(1).cpu(), "u": u.cpu(), "v": v.cpu()}
            if self.options.supersede == "replace":
                self.remove(self.questions.older(edit))
            self.banks[kind].add([edit.id], visual.flatten(1).cpu().numpy(), payloads)
            self.questions.add(edit)
        return passed_over

    def encode(self, queries: Sequence[Query]) -> Keys:
        """Return visual and text features (n, k width), the sentinel's score (n, 1) and whether there is an image."""
        size = self.options.features * self.options.width
        shapes = {"visual": size, "text": size, "threshold": 1, "sees": 1}
        arrays = {name: np.zeros((len(queries), n), dtype=np.float32) for name, n in shapes.items()}
        for start in range(0, len(queries), 256):
            part = queries[start : start + 256]
            rows = routing_view(self.vlm.hidden(part, self.layer), self.vlm.device)
            with torch.no_grad():
                found = input_features(self.modules, rows)
            for name, value in found.items():
                arrays[name][start : start + len(part)] = value.cpu().numpy()
            arrays["sees"][start : start + len(part), 0] = [q.image is not None for q in part]
        return Keys(arrays)

    def route(self, keys: Keys) -> list[Route]:
        """Return the experts kept by the hard filter with their soft weights, heaviest first."""
        routes = [Route()] * len(keys)
        sees = keys["sees"][:, 0] > 0
        for kind, rows in (("image", np.flatnonzero(sees)), ("text", np.flatnonzero(~sees))):
            if kind == "text" and self.options.text_only == "paper" or not len(rows):
                continue
            memo = keys.memo(kind)
            margin = self.margins[kind] if self.options.margin is None else self.options.margin
            limits = keys["threshold"][rows, 0] + margin
            for row, kept in zip(rows, self.banks[kind].above(keys["visual"][rows], limits, memo), strict=True):
                if len(kept.ids):
                    routes[row] = self._weigh(self.banks[kind], kept, keys["text"][row])
        return routes

    def best_scores(self, keys: Keys, routes: Sequence[Route]) -> list[float | None]:
        """Return by how much the best expert's visual score exceeds the sentinel's (the paper keeps it above 0).

        Routing meets only experts that the filter keeps: what it refuses is searched for here.
        """
        best: list[float | None] = [None] * len(keys)
        sees = keys["sees"][:, 0] > 0
        for kind, rows in (("image", np.flatnonzero(sees)), ("text", np.flatnonzero(~sees))):
            if not len(self.banks[kind]) or not len(rows):
                continue
            found = self.banks[kind].search(keys["visual"][rows], 1, keys.memo(kind))
            for row, score, at in zip(rows, found.scores[:, 0], found.rows[:, 0], strict=True):
                best[row] = float(score) - float(keys["threshold"][row, 0]) if at >= 0 else None
        return best

    def _weigh(self, bank: Bank, kept: FoundRows, text: np.ndarray) -> Route:
        scores = bank.payload("text", kept.rows).cpu().numpy() @ text
        weights = _soft(scores)
        here = np.flatnonzero(weights >= self.options.faint)
        weights = _soft(scores[here])  # of those left alone, so that a faint newcomer changes no route
        if not self.options.soft_routing:
            here, weights = np.arange(len(scores)), np.full_like(scores, 1 / len(scores))
        order = np.lexsort((kept.rows[here], -weights))
        rows = kept.rows[here[order]]
        ids = tuple(kept.ids[i] for i in here[order])
        revisions = tuple(int(r) for r in bank.revision_of(rows))
        return Route(ids, tuple(kept.scores[here[order]].tolist()), tuple(weights[order].tolist()), revisions)

    @contextmanager
    def applied(self, queries: Sequence[Query], routes: Sequence[Route]) -> Iterator[Answerer]:
        """Answer with the routed experts' residuals after the edited layer, at prefill and at every decode step."""
        experts = self._experts(queries, routes)
        if not experts:
            yield self.vlm.answerer(queries)
            return
        with self.vlm.hook(self.vlm.decoder_layer(self.layer - 1), _adder(self.modules, experts)):
            yield self.vlm.answerer(queries, from_layer=self.layer - 1)

    def _experts(self, queries: Sequence[Query], routes: Sequence[Route]) -> dict[int, tuple[Tensor, Tensor, Tensor]]:
        """Return (U, V, weights) per row that is in scope: (experts, rank, width) twice and (experts,)."""
        out = {}
        for i, (query, route) in enumerate(zip(queries, routes, strict=True)):
            if route.in_scope:
                bank = self.banks["image" if query.image else "text"]
                rows = bank.rows_of(route.ids)
                weights = torch.tensor(route.weights, dtype=torch.float32)
                # They are wanted at every decode step: they stay where the model computes while they are routed.
                parts = (bank.payload("u", rows), bank.payload("v", rows), weights)
                out[i] = (parts[0].to(self.vlm.device), parts[1].to(self.vlm.device), weights.to(self.vlm.device))
        return out

    # State

    def remove(self, ids: Sequence[str]) -> None:
        """Drop experts; an edit that never made one (text-only under `text_only="paper"`) is passed over."""
        for bank in self.banks.values():
            bank.remove([i for i in ids if i in bank])
        self.questions.drop(ids)

    def acts_on(self) -> Sequence[str]:
        """Return the name of the layer whose output experts are added to."""
        return [self.vlm.name_of_module(self.vlm.decoder_layer(self.layer - 1))]

    def bytes_for(self, edits: int) -> int:
        """Return the bytes of an expert and its features for each edit."""
        o = self.options
        return 4 * edits * 2 * (o.rank * self.vlm.width + o.features * o.width)

    def nbytes(self) -> int:
        """Return the bytes of all features and experts."""
        return sum(bank.nbytes() for bank in self.banks.values())

    def bank_len(self) -> int:
        """Return the number of experts."""
        return sum(len(bank) for bank in self.banks.values())

    def routing_banks(self) -> Sequence[Bank]:
        """Return the banks that `route` searches."""
        return list(self.banks.values())

    def state(self) -> State:
        """Return both banks and their edits' questions."""
        banks = {kind: bank.state() for kind, bank in self.banks.items()}
        return State.joined({"revision": self.revision, "questions": self.questions.table()}, **banks)

    def load(self, state: State) -> None:
        """Go on from both banks."""
        super().load(state)
        for kind, bank in self.banks.items():
            bank.load(state.part(kind))
        self.questions.load(state.meta["questions"])


def _soft(scores: np.ndarray) -> np.ndarray:
    """Return softmax times sigmoid of scores (n,), the paper's soft routing; n may be 0."""
    shares = np.exp(scores - scores.max(initial=-np.inf))
    return shares / shares.sum() / (1 + np.exp(-scores))


def input_features(modules: LiveEditModules, rows: Rows) -> dict[str, Tensor]:
    """Return the input side's features, scaled so that a plain inner product with the edit side's is the score."""
    seen, unseen = modules.seen_and_sentinel(rows.prompt, rows.prompt_seen, rows.seen, rows.seen_seen)
    visual, sentinel = seen.flatten(1), unseen.flatten(1)
    text = modules.input_side.text_branch(rows.prompt, rows.prompt_seen).flatten(1)
    scale = modules.similarity(torch.ones(1, 1, 1), torch.ones(1, 1, 1)).item()  # 1 / sqrt(width), k = 1
    scale *= modules.width / visual.shape[1]
    return {"visual": visual * scale, "text": text * scale, "threshold": (visual * sentinel).sum(1, True) * scale}


def _adder(modules: LiveEditModules, experts: Mapping[int, tuple[Tensor, Tensor, Tensor]]) -> Callable[..., Any]:
    """Return a hook that adds row r's experts to the output of the edited layer; experts are applied together."""

    served: tuple[int, ...] = ()
    padded: list[Tensor] = []  # of the rows `served`: decode steps have the same rows again

    def add(module: Any, args: Any, output: Any, layout: Any) -> Any:
        nonlocal served, padded
        states = output[0] if isinstance(output, tuple) else output
        rows = layout.rows.tolist()  # read once a pass: each reading waits for the device
        here = [i for i, row in enumerate(rows) if row in experts]
        if not here:
            return None
        picked = tuple(rows[i] for i in here)
        if picked != served:
            served, padded = picked, _padded([experts[row] for row in picked], states)
        changed = states.clone()
        changed[here] = states[here] + modules.residual(states[here], *padded)
        return (changed, *output[1:]) if isinstance(output, tuple) else changed

    return add


def _padded(chosen: Sequence[tuple[Tensor, Tensor, Tensor]], like: Tensor) -> list[Tensor]:
    """Return (U, V, weights) of rows: (rows, experts, rank, width) twice and (rows, experts), 0 for no expert."""
    most = max(len(w) for _, _, w in chosen)
    shape = chosen[0][0].shape[1:]
    sizes = [(len(chosen), most, *shape)] * 2 + [(len(chosen), most)]
    out = [like.new_zeros(size, dtype=torch.float32) for size in sizes]  # as experts are, in a model of any type
    for i, parts in enumerate(chosen):
        for whole, part in zip(out, parts, strict=True):
            whole[i, : len(part)] = part
    return out
