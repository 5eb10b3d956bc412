"""GRACE: a codebook of values with deferral radii at one layer (Hartvigsen et al., arXiv 2211.11031).

Knows queries, edits and the model's hooks; nothing of probes, clocks or panels. The key of a query is the
input of `mlp.down_proj` at the last prompt token; inside the radius of the nearest entry that module's output at
the last prompt token is replaced by the entry's value, at prefill only.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Literal

import numpy as np
import torch
from pydantic import Field
from torch import Tensor

from lifelong.editor import Answerer, Editor, EditorOptions, Keys, Route, State
from lifelong.ops import answer_exact, answer_loss, descend, generator, weight_of
from lifelong.radius_bank import RadiusBank
from streams.types import Edit, Query

if TYPE_CHECKING:
    from lifelong.models.vlm import VLM

Label = tuple[int, ...]


@dataclass(frozen=True)
class Plan:
    """What the radius rule wants done with a key: join entry `near` or make a new one, and the radii it sets."""

    action: Literal["first", "far", "split", "expand", "inside"]
    near: str | None
    near_radius: float
    new_radius: float

    @property
    def joins(self) -> bool:
        """Whether the key joins the nearest entry."""
        return self.action in ("expand", "inside")


class Codebook:
    """Entries of key, radius, value and label, changed only by the published radius rule (`plan`, `commit`).

    Distances are Euclidean; of equally near entries the first stored wins. Labels are compared as token
    sequences, not by the mean token id.
    """

    def __init__(self, key_width: int, value_width: int, *, radius: float, moving_average: bool = False) -> None:
        self.bank = RadiusBank(key_width, radius)
        self.value_width = value_width
        self.moving_average = moving_average
        self.labels: dict[str, Label] = {}
        self.members: dict[str, list[str]] = {}
        self.entry_of: dict[str, str] = {}
        self._stored = 0

    def __len__(self) -> int:
        return len(self.labels)

    def radii(self) -> list[float]:
        """Return the radius of every entry in order of storing."""
        return self.bank.radii()

    def value(self, entry: str) -> Tensor:
        """Return a copy of an entry's value, (value width,)."""
        return self.bank.payload("value", np.array([self.bank.row_of(entry)]))[0].clone()

    def plan(self, key: np.ndarray, label: Label) -> Plan:
        """Return what the published rule does with a key (key width,) and a label; changes nothing."""
        if not len(self):
            return Plan("first", None, 0.0, self.bank.radius)
        near, distance = self.bank.nearest(key.reshape(1, -1))[0]
        (radius,) = self.bank.radii([near])
        match self.bank.judge(near, distance, label == self.labels[near]):
            case "far":
                return Plan("far", near, radius, self.bank.radius)
            case "conflict":
                return Plan("split", near, distance / 2 - 1e-5, distance / 2)
            case "join":
                wider = distance > radius
                return Plan("expand" if wider else "inside", near, distance if wider else radius, radius)

    def commit(self, edit_id: str, key: np.ndarray, label: Label, plan: Plan, value: Tensor | None) -> str:
        """Do what was planned and return the entry; `value` (value width,) None keeps a joined entry's value.

        Raises `ValueError` when the edit is stored already or a new entry has no value.
        """
        if edit_id in self.entry_of:
            raise ValueError(f"Edit {edit_id!r} is already in the codebook; withdraw it first.")
        if plan.near is not None and plan.action in ("split", "expand"):
            self.bank.resize(plan.near, plan.near_radius)
        if plan.joins and plan.near is not None:
            entry = plan.near
            if plan.action == "expand" and self.moving_average:
                stored = self.bank.keys_of(np.array([self.bank.row_of(entry)]))[0]
                self.bank.update(entry, keys=(stored + key) / 2)
            if value is not None:
                self.bank.update(entry, payloads={"value": value})
        elif value is None:
            raise ValueError(f"Edit {edit_id!r} makes a new entry, which needs a value.")
        else:
            entry = f"entry-{self._stored}"
            self._stored += 1
            self.bank.put(entry, key, plan.new_radius, {"value": value.reshape(1, -1)})
            self.labels[entry], self.members[entry] = label, []
        self.members[entry].append(edit_id)
        self.entry_of[edit_id] = entry
        return entry

    def find(self, keys: np.ndarray, memo: dict[str, Any] | None = None) -> list[tuple[str, float] | None]:
        """Return for every key row the nearest entry and its distance if inside its radius, else None."""
        return self.bank.inside(keys, memo)

    def remove(self, edit_id: str) -> None:
        """Take an edit out; an entry without members goes too, radii stay. Raises `KeyError` if unknown."""
        entry = self.entry_of.pop(edit_id)
        self.members[entry].remove(edit_id)
        if not self.members[entry]:
            self.bank.remove([entry])
            del self.members[entry], self.labels[entry]

    def state(self) -> State:
        """Return all entries: tensors of the bank, and labels and members in order of storing."""
        bank = self.bank.state()
        entries = [[entry, list(self.labels[entry]), self.members[entry]] for entry in self.labels]
        return State(bank.tensors, {"bank": bank.meta, "entries": entries, "stored": self._stored})

    def load(self, state: State) -> None:
        """Go on from a state returned by `state`."""
        self.bank.load(State(state.tensors, state.meta["bank"]))
        self.labels = {entry: tuple(label) for entry, label, _ in state.meta["entries"]}
        self.members = {entry: list(members) for entry, _, members in state.meta["entries"]}
        self.entry_of = {edit: entry for entry, members in self.members.items() for edit in members}
        self._stored = int(state.meta["stored"])


class GraceOptions(EditorOptions):
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
    supersede: Literal["keep", "replace"] = Field(
        default="keep", description="what becomes of the old edit: keep both (published) or drop it"
    )

    def rate(self, width: int) -> float:
        """Return Adam's learning rate for values of a width."""
        return 4096 / width if self.learning_rate is None else self.learning_rate


class Grace(Editor):
    """General Retrieval Adaptors for Continual Editing (arXiv 2211.11031, algorithm 1)."""

    Options = GraceOptions
    searched = {"radius": (0.3, 1.0, 3.0, 10.0), "layer": (0.17, 0.34, 0.5, 0.84), "steps": (50, 100)}
    removes = True
    options: GraceOptions

    def __init__(self, vlm: VLM, options: GraceOptions | None = None, *, seed: int = 0) -> None:
        super().__init__(vlm, options, seed=seed)
        self.layer = vlm.layer_at(self.options.layer)
        self.module = vlm.submodule(self.layer, self.options.module)
        width_out, width_in = weight_of(self.module).shape
        averaged = self.options.expand == "moving_average"
        self.codebook = Codebook(width_in, width_out, radius=self.options.radius, moving_average=averaged)

    def edit(self, edits: Sequence[Edit]) -> None:
        """Place each edit's key and train its entry's value; raises `ValueError` on a non-finite loss or value."""
        for edit in edits:
            old = edit.supersedes
            if self.options.supersede == "replace" and old is not None and old in self.codebook.entry_of:
                self.codebook.remove(old)
            self._edit_one(edit)

    def _edit_one(self, edit: Edit) -> None:
        key = self.encode([edit.query])["key"][0]
        label = tuple(int(i) for i in self.vlm.target_ids(edit.target))
        plan = self.codebook.plan(key, label)
        if plan.joins and plan.near is not None:
            start = self.codebook.value(plan.near)
        else:  # the "cold" start of the paper
            start = torch.rand(self.codebook.value_width, generator=generator(self.seed, edit.id))
        value, steps = self._train(edit, start)
        self.codebook.commit(edit.id, key, label, plan, value if steps or not plan.joins else None)

    def _train(self, edit: Edit, start: Tensor) -> tuple[Tensor, int]:
        """Return the value (width,) that makes the model say the target, and the steps it took."""
        hidden = self.vlm.hidden([edit.query], self.layer, [edit.target])
        value = start.to(self.vlm.device, torch.float32).requires_grad_()
        right = False

        def loss_of() -> Tensor:
            nonlocal right
            with self.vlm.hook(self.module, _writer(value[None], torch.ones(1, dtype=torch.bool))):
                logits = self.vlm.resume(hidden, grad=True, answers_only=True)[0]
            right = answer_exact(logits, hidden.target_ids[0])
            return answer_loss(logits, hidden.target_ids[0])

        end = descend(
            torch.optim.Adam([value], lr=self.options.rate(len(value))),
            loss_of,
            steps=self.options.steps,
            done=lambda loss: right and loss < self.options.stop_loss,
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
        """Return the entry inside whose radius a key lies, as all its edits; scores are negated distances."""
        routes = []
        for hit in self.codebook.find(keys["key"], keys.memo("key")):
            if hit is None:
                routes.append(Route())
                continue
            entry, distance = hit
            ids = tuple(self.codebook.members[entry])
            revision = int(self.codebook.bank.revision_of(np.array([self.codebook.bank.row_of(entry)]))[0])
            n = len(ids)
            routes.append(Route(ids, (-distance,) * n, (1.0,) * n, (revision,) * n, group=n > 1))
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
        with self.vlm.hook(self.module, _writer(values.to(self.vlm.device), served)):
            yield self.vlm.answerer(queries, from_layer=self.layer)

    def remove(self, ids: Sequence[str]) -> None:
        """Take edits out of their entries; one that is not stored (replaced, or never learnt) is passed over."""
        for edit_id in ids:
            if edit_id in self.codebook.entry_of:
                self.codebook.remove(edit_id)

    def nbytes(self) -> int:
        """Return the bytes of keys, values and radii."""
        return self.codebook.bank.nbytes()

    def bank_len(self) -> int:
        """Return the number of entries (an entry may serve several edits)."""
        return len(self.codebook)

    def state(self) -> State:
        """Return the codebook."""
        inner = self.codebook.state()
        return State(inner.tensors, {"revision": self.revision, "codebook": inner.meta})

    def load(self, state: State) -> None:
        """Go on from a codebook."""
        super().load(state)
        self.codebook.load(State(state.tensors, state.meta["codebook"]))


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
