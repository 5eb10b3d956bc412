"""MELO's vector database: clusters of keys that say which member, and so which block, serves a query.

Knows keys, labels and the published rule (arXiv 2312.11795); nothing of LoRA or models.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Literal

import numpy as np
import torch

from lifelong.bank import Bank
from lifelong.editing.contract import State
from lifelong.editing.radius_bank import Label, RadiusBank

_MARGIN = 1e-5
"""By how much two radii that were split stay clear of the middle."""


@dataclass(frozen=True)
class Placed:
    """What became of a new key: joined its nearest cluster, or opened one; and which edits were forgotten for it."""

    action: Literal["first", "far", "join", "split"]
    near: str | None = None
    distance: float = 0.0
    forgotten: tuple[str, ...] = ()


class Clusters:
    """Clusters with centre, radius and label, and their members: keys of edits, with the number of a block each.

    A cluster whose members were all forgotten keeps its centre as a member that is no edit and has no block.
    """

    def __init__(self, width: int, radius: float, *, index: str = "flat") -> None:
        self.centres = RadiusBank(width, radius, index=index)
        self.points = Bank(width, metric="l2")
        self.labels: dict[str, Label] = {}
        self.members: dict[str, list[str]] = {}
        self.cluster_of: dict[str, str] = {}
        self.conflicts = self.forgotten = self._opened = 0

    def __len__(self) -> int:
        return len(self.labels)

    def __contains__(self, edit_id: str) -> bool:
        return edit_id in self.cluster_of

    def place(self, ids: Sequence[str], keys: np.ndarray, labels: Sequence[Label], block: int) -> list[Placed]:
        """Put a batch of edits of one block in clusters: keys (n, width).

        Distances are those before any of the batch is in, so edits of one batch do not see each other; radii are
        read one edit after another. Raises `ValueError` for an id that is a member already.
        """
        known = [i for i in ids if i in self]
        if known or len(set(ids)) < len(ids):
            raise ValueError(
                f"edits {known or list(ids)}: each can be a member of one cluster only; withdraw it first."
            )
        near = self.centres.nearest(keys) if len(self) else [None] * len(ids)
        return [self._place(*one, block) for one in zip(ids, keys, labels, near, strict=True)]

    def _place(
        self, edit_id: str, key: np.ndarray, label: Label, near: tuple[str, float] | None, block: int
    ) -> Placed:
        self.points.add([edit_id], key.reshape(1, -1), {"block": torch.tensor([block])})
        if near is None:
            self._open(edit_id, key, label, self.centres.radius)
            return Placed("first")
        cluster, distance = near
        match self.centres.judge(cluster, distance, label == self.labels[cluster]):
            case "far":
                self._open(edit_id, key, label, self.centres.radius)
                return Placed("far", cluster, distance)
            case "join":
                self._join(edit_id, cluster)
                return Placed("join", cluster, distance)
            case "conflict":
                self.conflicts += 1
                self._open(edit_id, key, label, distance / 2 + _MARGIN)
                return Placed("split", cluster, distance, self._shrink(cluster, distance / 2 - _MARGIN))

    def _open(self, edit_id: str, key: np.ndarray, label: Label, radius: float) -> None:
        cluster = f"cluster-{self._opened}"
        self._opened += 1
        self.centres.put(cluster, key, radius)
        self.labels[cluster], self.members[cluster] = label, [edit_id]
        self.cluster_of[edit_id] = cluster

    def _join(self, edit_id: str, cluster: str) -> None:
        """Add a member; the centre becomes the mean, the radius reaches the farthest member or the initial radius."""
        self.members[cluster].append(edit_id)
        self.cluster_of[edit_id] = cluster
        keys = self._keys(cluster)
        centre = keys.mean(0)
        radius = max(self.centres.radius, float(np.linalg.norm(keys - centre, axis=1).max()))
        self.centres.update(cluster, keys=centre, payloads={"radius": torch.tensor([radius])})

    def _shrink(self, cluster: str, radius: float) -> tuple[str, ...]:
        """Set a smaller radius and forget the members outside; returns those that were edits."""
        self.centres.resize(cluster, radius)
        centre = self.centres.keys_of(self.centres.rows_of([cluster]))
        outside = np.linalg.norm(self._keys(cluster) - centre, axis=1) > radius
        gone = [m for m, out in zip(self.members[cluster], outside, strict=True) if out]
        if not gone:
            return ()
        self.points.remove(gone)
        self.members[cluster] = [m for m in self.members[cluster] if m not in set(gone)]
        if not self.members[cluster]:
            self.members[cluster] = [f"{cluster}/centre"]
            self.points.add(self.members[cluster], centre, {"block": torch.tensor([-1])})
        edits = tuple(m for m in gone if self.cluster_of.pop(m, None) is not None)
        self.forgotten += len(edits)
        return edits

    def _keys(self, cluster: str) -> np.ndarray:
        return self.points.keys_of(self.points.rows_of(self.members[cluster]))

    def find(self, keys: np.ndarray, memo: dict[str, Any] | None = None) -> list[tuple[str | None, float]]:
        """Return, per key row, its nearest cluster's nearest member and the distance to that one's centre.

        The member is None outside the cluster, and where it is a centre that stands for forgotten edits; the distance
        is inf without any cluster.
        """
        hits: list[tuple[str | None, float]] = []
        for key, (cluster, distance) in zip(keys, self.centres.inside(keys, memo), strict=True):
            member = None
            if cluster is not None:
                members = self.members[cluster]
                best = 0
                if len(members) > 1:
                    best = int(np.linalg.norm(self._keys(cluster) - key, axis=1).argmin())
                member = members[best] if members[best] in self else None
            hits.append((member, distance))
        return hits

    def block(self, edit_ids: Sequence[str]) -> list[int]:
        """Return the blocks of members."""
        return self.points.payload("block", self.points.rows_of(edit_ids)).tolist() if edit_ids else []

    def remove(self, edit_id: str) -> None:
        """Take a member out; its cluster keeps centre and radius, and goes with its last edit."""
        cluster = self.cluster_of.pop(edit_id)
        self.points.remove([edit_id])
        self.members[cluster].remove(edit_id)
        if not any(m in self for m in self.members[cluster]):
            self.points.remove(self.members[cluster])
            self.centres.remove([cluster])
            del self.members[cluster], self.labels[cluster]

    def nbytes(self) -> int:
        """Return the bytes of centres, radii and members."""
        return self.centres.nbytes() + self.points.nbytes()

    def state(self) -> State:
        """Return everything, clusters in order of opening."""
        clusters = [[c, list(self.labels[c]), list(self.members[c])] for c in self.labels]
        counts = [self.conflicts, self.forgotten, self._opened]
        meta = {"clusters": clusters, "counts": counts}
        return State.joined(meta, centres=self.centres.state(), points=self.points.state())

    def load(self, state: State) -> None:
        """Go on from a state returned by `state`."""
        self.centres.load(state.part("centres"))
        self.points.load(state.part("points"))
        self.labels = {c: tuple(label) for c, label, _ in state.meta["clusters"]}
        self.members = {c: list(members) for c, _, members in state.meta["clusters"]}
        edits = set(self.points.ids()) - {f"{c}/centre" for c in self.labels}
        self.cluster_of = {m: c for c, members in self.members.items() for m in members if m in edits}
        self.conflicts, self.forgotten, self._opened = state.meta["counts"]
