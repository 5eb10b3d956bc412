"""T-Patcher: a few neurons in the last FFN for every mistake (Huang et al., arXiv 2301.09785).

Knows edits, queries and the model's hooks; it does not route: every neuron sees every query and is silent by
training only. The neurons themselves, their losses and their training are in `lifelong.editing.patches`.
"""

from __future__ import annotations

from collections.abc import Hashable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

import torch
from torch import Tensor

from lifelong.editing.contract import Answerer, CollapseError, Editor, EditorOptions, Route, State
from lifelong.editing.ops import edit_generator
from lifelong.editing.patches.neurons import Patches, Site, patched
from lifelong.editing.patches.taps import silent_states
from lifelong.editing.patches.training import Taught, Teaching, teach
from lifelong.editing.questions import EditedQuestions
from lifelong.editors.t_patcher.options import TPatcherOptions
from streams.types import Edit, Pool, Query

if TYPE_CHECKING:
    from lifelong.models.vlm import VLM


class TPatcher(Editor):
    """One trained neuron per wrongly predicted token in the last FFN (arXiv 2301.09785).

    An expert is up to 5 neurons (key k, bias b, value v): FFN(q) + sum act(q k + b) v. There is no routing: all
    neurons of all edits act on every token of every query. Trained per edit: keys from q / |q|^2 of the wrong token,
    random values times a trained amplifier (from 10); loss = NLL + activation loss (mean of the 5 largest exp(-a)) +
    5 memory losses (means of the 1,000 largest exp(a_m + 3) and exp(a_m - a + 3)), where a is the activation at home
    and a_m on stored states, `fit`'s and those of all earlier edits. Afterwards the neurons are frozen.
    Memory per edit: up to 5 (3 width + 1) floats (the state a neuron was trained on is kept, to stay silent there
    later). A query costs 2 n width multiplications a token for n stored neurons, an edit the same a step.
    Deviations: new neurons have no gate where the model's own FFN has one, and a ReLU, so that a silent neuron is
    exactly silent; an edit that the model gets right already stores nothing; of more than 5 wrong tokens the first 5
    get a neuron; training goes on until the new neurons are silent on stored states too (`stop_leak`: what fires on a
    few per cent of them would, after 1,000 edits, fire on everything); tokens are those of the answer and its end,
    never of the prompt. A withdrawal drops the edit's own neurons; later ones were trained beside them. So does a
    newer edit of the same question, before its own are trained (`supersede="keep"`: it does not, as published).
    """

    Options = TPatcherOptions
    searched = {
        "learning_rate": (3e-3, 1e-2, 3e-2, 1e-1),
        "memory_weight": (0.01, 0.0333, 0.1, 0.3, 1.0, 5.0, 20.0),
        "layer": (0.34, 0.5, 0.67, 1.0),
        "stop_leak": (0.0, 0.001, 0.01, 1.0),
    }
    published = {"stop_leak": 1.0, "supersede": "keep"}
    depths = ("layer",)
    routed = False
    removes = True
    replaces = True
    trains = True
    options: TPatcherOptions

    def __init__(self, vlm: VLM, options: TPatcherOptions | None = None, *, seed: int = 0) -> None:
        super().__init__(vlm, options, seed=seed)
        o = self.options
        self.layer = vlm.layer_at(o.layer)
        module = vlm.submodule(self.layer, o.module)
        self.patches = Patches(vlm.width, vlm.width, o.activation, device=vlm.device)
        self.questions = EditedQuestions()
        self.site = Site(module, self.patches, torch.zeros(0, vlm.width, device=vlm.device))
        self.how = Teaching(
            o.learning_rate,
            o.steps,
            o.check_every,
            o.stop_loss,
            o.stop_leak,
            o.activation_weight,
            o.memory_weight,
            o.scale,
        )

    def fit(self, pool: Pool) -> None:
        """Collect states of the pool's questions where the model should stay as it is (the paper's memory)."""
        asked = [(p.query, p.target) for item in pool.items for p in item.probes]
        asked += [(item.edit.query, item.edit.target) for item in pool.items]
        if self.options.memory and asked:
            found = silent_states(
                self.vlm, [self.site.module], asked, self.options.memory, others=0, seed=self.seed
            )  # the last layer's output is read at predicting positions only
            self._keep(found[0])

    def _keep(self, states: Tensor) -> None:
        self.site = Site(self.site.module, self.patches, states.half().float().to(self.vlm.device))

    @classmethod
    def fit_options(cls, options: EditorOptions) -> Mapping[str, Any]:
        """Return the options that decide which states are collected."""
        return options.model_dump(mode="json", include={"layer", "module", "memory"})

    @classmethod
    def pool_wanted(cls, options: TPatcherOptions) -> str:
        """Return what states are collected from, where any are."""
        return "collects states to be silent on (or give editor.memory=0)" if options.memory else ""

    def fitted(self) -> State:
        """Return the collected states, in half precision."""
        return State({"silent": self.site.silent.half().cpu()}, {})

    def load_fitted(self, state: State) -> None:
        """Take over collected states."""
        self._keep(state.tensors["silent"])

    def edit(self, edits: Sequence[Edit]) -> dict[str, str]:
        """Train and freeze each edit's neurons; a non-finite one raises `NotFiniteError` and stores nothing.

        Passes over an edit whose every token the model says already.
        """
        passed_over: dict[str, str] = {}
        for edit in edits:
            older = self.questions.older(edit) if self.options.supersede == "replace" else []
            before = self.state() if older else None
            if older:
                self.remove(older)
            try:
                taught = self._teach(edit)
            except CollapseError:
                if before is not None:
                    self.load(before)
                raise
            for one in taught:
                self.patches.add(edit.id, one.rows)
                self.revision += 1
            if not taught and not older:
                passed_over[edit.id] = "the model says it already: no token is wrong"
            self.questions.add(edit)
        return passed_over

    def _teach(self, edit: Edit) -> list[Taught]:
        hidden = self.vlm.hidden([edit.query], self.layer, [edit.target])
        source, what = edit_generator(self.seed, edit.id), f"t_patcher, edit {edit.id}"
        return teach(self.vlm, hidden, [self.site], self._wrong, self.how, source, what=what)

    def _wrong(self, right: Tensor) -> list[int]:
        return (~right).nonzero()[:, 0].tolist()[: self.options.neurons]

    @contextmanager
    def applied(self, queries: Sequence[Query], routes: Sequence[Route]) -> Iterator[Answerer]:
        """Answer with every stored neuron in the patched layer."""
        with patched(self.vlm, [self.site]):
            yield self.vlm.answerer(queries, from_layer=self.layer if len(self.patches) else None)

    def remove(self, ids: Sequence[str]) -> None:
        """Drop the neurons of edits; one without any (known before, or replaced) is passed over."""
        self.patches.remove(ids)
        self.questions.drop(ids)
        self.revision += 1

    def acts_on(self) -> Sequence[str]:
        """Return the name of the patched module."""
        return [self.vlm.name_of_module(self.site.module)]

    def bytes_for(self, edits: int) -> int:
        """Return the bytes of as many neurons as edits may have."""
        return 4 * edits * self.options.neurons * (3 * self.vlm.width + 1)

    def nbytes(self) -> int:
        """Return the bytes of all neurons and of the states they were trained on."""
        return self.patches.nbytes()

    def bank_len(self) -> int:
        """Return the number of neurons."""
        return len(self.patches)

    def mark(self) -> Hashable:
        """Return the revision, which every stored or dropped edit raises."""
        return self.revision, self.bank_len()

    def state(self) -> State:
        """Return all neurons, and the questions of their edits."""
        meta = {"revision": self.revision, "questions": self.questions.table()}
        return State.joined(meta, patches=self.patches.state())

    def load(self, state: State) -> None:
        """Go on from stored neurons."""
        super().load(state)
        self.patches.load(state.part("patches"))
        self.questions.load(state.meta["questions"])
