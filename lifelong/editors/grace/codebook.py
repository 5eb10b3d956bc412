"""GRACE's codebook: entries of key, radius, value and label, and the rule that sets radii (arXiv 2211.11031).

Knows arrays and the bank of radii; nothing of queries, edits' texts or models.
"""

from __future__ import annotations

from collections.abc import Collection
from dataclasses import dataclass
from typing import Any, Literal

import numpy as np
from torch import Tensor

from lifelong.editing.contract import State
from lifelong.editing.radius_bank import Label, RadiusBank


@dataclass(frozen=True)
class RadiusPlan:
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

    def __init__(
        self, key_width: int, value_width: int, *, radius: float, moving_average: bool = False, index: str = "flat"
    ) -> None:
        self.bank = RadiusBank(key_width, radius, index=index)
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

    def plan(self, key: np.ndarray, label: Label, *, without: Collection[str] = ()) -> RadiusPlan:
        """Return what the published rule does with a key (key width,) and a label; changes nothing.

        Entries that no edit but those `without` which it is planned belongs to are passed over.
        """
        left = {self.entry_of[i] for i in without}
        left = {entry for entry in left if set(self.members[entry]) <= set(without)}
        if len(self) == len(left):
            return RadiusPlan("first", None, 0.0, self.bank.radius)
        near, distance = self.bank.nearest(key.reshape(1, -1), without=left)[0]
        (radius,) = self.bank.radii([near])
        match self.bank.judge(near, distance, label == self.labels[near]):
            case "far":
                return RadiusPlan("far", near, radius, self.bank.radius)
            case "conflict":
                return RadiusPlan("split", near, distance / 2 - 1e-5, distance / 2)
            case "join":
                wider = distance > radius
                return RadiusPlan("expand" if wider else "inside", near, distance if wider else radius, radius)

    def commit(self, edit_id: str, key: np.ndarray, label: Label, plan: RadiusPlan, value: Tensor | None) -> str:
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

    def find(self, keys: np.ndarray, memo: dict[str, Any] | None = None) -> list[tuple[str | None, float]]:
        """Return, per key row, the nearest entry (None outside its radius) and its distance (inf without any)."""
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
        entries = [[entry, list(self.labels[entry]), self.members[entry]] for entry in self.labels]
        return State.joined({"entries": entries, "stored": self._stored}, bank=self.bank.state())

    def load(self, state: State) -> None:
        """Go on from a state returned by `state`."""
        self.bank.load(state.part("bank"))
        self.labels = {entry: tuple(label) for entry, label, _ in state.meta["entries"]}
        self.members = {entry: list(members) for entry, _, members in state.meta["entries"]}
        self.entry_of = {edit: entry for entry, members in self.members.items() for edit in members}
        self._stored = int(state.meta["stored"])
