"""GRACE: a codebook of values with deferral radii at one layer (Hartvigsen et al., arXiv 2211.11031).

Knows queries, edits and the model's hooks; nothing of probes, clocks or panels. The key of a query is the
input of `mlp.down_proj` at the last prompt token; inside the radius of the nearest entry that module's output at
the last prompt token is replaced by the entry's value, at prefill only.
"""

from __future__ import annotations

from collections.abc import Hashable, Iterator, Sequence
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any, Literal

import numpy as np
import torch
from pydantic import Field
from torch import Tensor

from lifelong.bank import Bank
from lifelong.editing.contract import Answerer, Editor, IndexOptions, Keys, Route, State
from lifelong.editing.ops import answer_exact, answer_loss, descend, edit_generator, finite_keys, widths_of
from lifelong.editing.questions import EditedQuestions, ReeditOptions
from lifelong.editing.radius_bank import nearness
from lifelong.editors.grace.codebook import Codebook
from streams.types import Edit, Query

if TYPE_CHECKING:
    from lifelong.models.vlm import VLM


class GraceOptions(ReeditOptions, IndexOptions):
    """Settings of GRACE; as published, but for a lower layer, so that one vector can write answers of several tokens
    through a shallow decoder (published: 0.84 of 32 layers), and a rate that fits the width of the model.
    """

    layer: float = Field(default=0.17, ge=0, lt=1, description="depth of the edited layer as a fraction")
    module: str = Field(default="mlp.down_proj", description="edited module inside that layer; its input is the key")
    radius: float = Field(default=1.0, gt=0, description="initial deferral radius, Euclidean, in key space")
    learning_rate: float | None = Field(
        default=None, gt=0, description="Adam; none: the published 1.0 for a value 4096 wide, in inverse proportion"
    )
    steps: int = Field(default=50, ge=1)
    stop_loss: float = Field(default=0.2, ge=0, description="stop when every token is right and below this (nats)")
    expand: Literal["coverage", "moving_average"] = "coverage"

    def rate(self, width: int) -> float:
        """Return Adam's learning rate for values of a width."""
        return 4096 / width if self.learning_rate is None else self.learning_rate


class Grace(Editor):
    """General Retrieval Adaptors for Continual Editing (arXiv 2211.11031, algorithm 1).

    An expert is an entry of a codebook: a key (in,), a deferral radius and a value (out,) that takes the place of the
    module's output at the last prompt token. A query is routed to the nearest entry if it lies inside its radius. An
    edit far from all entries becomes one of its own; near one of the same answer it joins and the radius grows over
    it; near one of another answer both radii are split. Only the value is trained, by Adam on -log p(answer); there
    is no `fit`.

    Memory per entry: in + out floats and a radius (edits that join an entry share it). A query costs N distances of
    (in,) keys; an edit at most `steps` passes from the edited layer on.

    Deviations: answers are the same when their token sequences are, where the released code compares means of token
    ids and so joins what differs; keys and labels are stored in one order, where the released ones grow apart at
    opposite ends. A newer edit of a question drops the older one: by the published rule (`supersede="keep"`) their
    equal keys split the radius to nothing, and the base answers. With the default radius rephrased questions fall
    outside, as published.
    """

    Options = GraceOptions
    searched = {
        "radius": (0.3, 1.0, 3.0, 5.0, 10.0, 20.0, 40.0, 80.0, 160.0),
        "layer": (0.0, 0.17, 0.34, 0.5, 0.67, 0.84),
        "steps": (50, 100),
    }
    published = {"layer": 0.84, "supersede": "keep"}
    depths = ("layer",)
    removes = True
    replaces = True
    options: GraceOptions

    def __init__(self, vlm: VLM, options: GraceOptions | None = None, *, seed: int = 0) -> None:
        super().__init__(vlm, options, seed=seed)
        self.layer = vlm.layer_at(self.options.layer)
        self.module = vlm.submodule(self.layer, self.options.module)
        width_out, width_in = widths_of(self.module)
        averaged = self.options.expand == "moving_average"
        self.codebook = Codebook(
            width_in, width_out, radius=self.options.radius, moving_average=averaged, index=self.options.index
        )
        self.questions = EditedQuestions()

    @classmethod
    def settles(cls, options: GraceOptions, vlm: VLM) -> GraceOptions:
        """Return the options with the learning rate spelt out."""
        module = vlm.submodule(vlm.layer_at(options.layer), options.module)
        rate = options.rate(widths_of(module)[0])
        return super().settles(options, vlm).model_copy(update={"learning_rate": rate})

    def edit(self, edits: Sequence[Edit]) -> None:
        """Place each edit's key and train its entry's value; raises `CollapseError` on a non-finite one."""
        for edit in edits:
            self._edit_one(edit)

    def _edit_one(self, edit: Edit) -> None:
        old = self.questions.older(edit) if self.options.supersede == "replace" else []
        key = finite_keys(self.encode([edit.query])["key"], [edit.id], "grace")[0]
        label = tuple(int(i) for i in self.vlm.target_ids(edit.target))
        plan = self.codebook.plan(key, label, without=old)
        if plan.joins and plan.near is not None:
            start = self.codebook.value(plan.near)
        else:  # the "cold" start of the paper
            start = torch.rand(self.codebook.value_width, generator=edit_generator(self.seed, edit.id))
        value, steps = self._train(edit, start)  # whatever fails has failed by now: nothing was changed
        self.remove(old)
        self.codebook.commit(edit.id, key, label, plan, value if steps or not plan.joins else None)
        self.questions.add(edit)

    def _train(self, edit: Edit, start: Tensor) -> tuple[Tensor, int]:
        """Return the value (width,) that makes the model say the target, and the steps it took."""
        hidden = self.vlm.hidden([edit.query], self.layer, [edit.target])
        value = start.to(self.vlm.device, torch.float32).requires_grad_()
        right = False

        def loss_of() -> Tensor:
            nonlocal right
            write = _writer(value[None], torch.ones(1, dtype=torch.bool))
            with self.vlm.hook(self.module, write, pointwise=True, late=True):
                logits = self.vlm.resume(hidden, grad=True, answers_only=True)[0]
            right = answer_exact(logits, hidden.target_ids[0])
            return answer_loss(logits, hidden.target_ids[0])

        end = descend(
            torch.optim.Adam([value], lr=self.options.rate(len(value))),
            loss_of,
            steps=self.options.steps,
            done=lambda loss: right and loss < self.options.stop_loss,
            vlm=self.vlm,
            what=f"grace, edit {edit.id}",
        )
        return value.detach().cpu(), end.steps

    def encode(self, queries: Sequence[Query]) -> Keys:
        """Return `key`, (n, d_ff): the edited module's input at the last prompt token."""
        rows = self.vlm.capture(queries, self.module)
        width = self.codebook.bank.width
        keys = [row[-1].float().cpu().numpy() for row in rows]
        return Keys({"key": np.stack(keys) if keys else np.zeros((0, width), np.float32)})

    def route(self, keys: Keys) -> list[Route]:
        """Return the entry inside whose radius a key lies, as all its edits; scores, and `best`, are -distance."""
        routes = []
        for entry, distance in self.codebook.find(keys["key"], keys.memo("key")):
            if entry is None:
                routes.append(Route(best=nearness(distance)))
                continue
            ids = tuple(self.codebook.members[entry])
            revision = int(self.codebook.bank.revision_of(np.array([self.codebook.bank.row_of(entry)]))[0])
            n = len(ids)
            scores = (-distance,) * n
            routes.append(Route(ids, scores, revisions=(revision,) * n, group=n > 1, best=-distance))
        return routes

    @contextmanager
    def applied(self, queries: Sequence[Query], routes: Sequence[Route]) -> Iterator[Answerer]:
        """Answer with the routed values written at the last prompt token; deferred queries see the base."""
        served = torch.tensor([route.in_scope for route in routes], dtype=torch.bool)
        if not served.any():
            yield self.vlm.answerer(queries)
            return
        values = torch.zeros(len(routes), self.codebook.value_width)
        entries = [self.codebook.entry_of[route.ids[0]] for route in routes if route.in_scope]
        rows = np.array([self.codebook.bank.row_of(entry) for entry in entries])
        values[served] = self.codebook.bank.payload("value", rows)
        with self.vlm.hook(self.module, _writer(values.to(self.vlm.device), served), pointwise=True, late=True):
            yield self.vlm.answerer(queries, from_layer=self.layer)

    def remove(self, ids: Sequence[str]) -> None:
        """Take edits out of their entries; one that is not stored (replaced, or never learnt) is passed over."""
        for edit_id in ids:
            if edit_id in self.codebook.entry_of:
                self.codebook.remove(edit_id)
        self.questions.drop(ids)

    def acts_on(self) -> Sequence[str]:
        """Return the name of the edited module."""
        return [self.vlm.name_of_module(self.module)]

    def bytes_for(self, edits: int) -> int:
        """Return the bytes of an entry for each edit."""
        return 4 * edits * (self.codebook.bank.width + self.codebook.value_width + 1)

    def nbytes(self) -> int:
        """Return the bytes of keys, values and radii."""
        return self.codebook.bank.nbytes()

    def bank_len(self) -> int:
        """Return the number of entries (an entry may serve several edits)."""
        return len(self.codebook)

    def mark(self) -> Hashable:
        """Return the bank's counts and the edit stored last: one that joins an entry may leave the bank as it is."""
        return (super().mark(), next(reversed(self.codebook.entry_of), ""))

    def routing_banks(self) -> Sequence[Bank]:
        """Return the bank that `route` searches."""
        return [self.codebook.bank]

    def holds(self, edit_id: str) -> bool:
        """Return whether an edit is a member of an entry."""
        return edit_id in self.codebook.entry_of

    def state(self) -> State:
        """Return the codebook and its edits' questions."""
        meta = {"revision": self.revision, "questions": self.questions.table()}
        return State.joined(meta, codebook=self.codebook.state())

    def load(self, state: State) -> None:
        """Go on from a codebook."""
        super().load(state)
        self.codebook.load(state.part("codebook"))
        self.questions.load(state.meta["questions"])


def _writer(values: Tensor, served: Tensor) -> Any:
    """Return a hook that puts row r's value, (rows, width), at its last prompt token where `served` (rows,)."""

    def write(module: Any, args: Any, output: Tensor, layout: Any) -> Tensor | None:
        at = layout.last_prompt.to(output.device)
        rows = layout.rows.to(output.device)
        here = (served.to(output.device)[rows] & (at >= 0)).nonzero().squeeze(1)
        if not len(here):
            return None
        changed = output.clone()
        changed[here, at[here]] = values[rows[here]].to(output.dtype)
        return changed

    return write
