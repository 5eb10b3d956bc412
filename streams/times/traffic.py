"""What people ask while edits stream in: which subject, how it lies to an edit, and what was true at that moment.

Drawn up front from moments alone, so that neither an editor nor a probe ever shifts it. Knows edits and their probes;
nothing of models, queues or answers.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
from pydantic import Field, model_validator

from streams.orders.order import generator
from streams.stream import Stream, StreamOptions
from streams.types import SCOPES, Edit, Posed, Probe, Scope

FAR = ("far", "text")
"""Variants of locality whose subject has nothing to do with the edit's."""
_UNUSUAL = ("grid", "negation")  # questions that a study asks, and people hardly do


class TrafficOptions(StreamOptions):
    """Shares of the scopes (of their sum), and who is asked about."""

    edited: float = Field(default=0.2, ge=0, description="share of the edited questions themselves")
    rephrased: float = Field(default=0.2, ge=0, description="share of those in other words")
    rendering: float = Field(default=0.2, ge=0, description="share of those with another picture")
    near: float = Field(default=0.2, ge=0, description="share of those about the subject or its like, out of scope")
    far: float = Field(default=0.2, ge=0, description="share of those about facts that no edit concerns")
    zipf: float = Field(
        default=1.0, ge=0, description="the r-th most popular subject is asked about r^-zipf as often"
    )
    recency: float = Field(default=0.3, ge=0, le=1, description="share asked about what was edited lately instead")
    recent: float = Field(default=20.0, gt=0, description="mean age of those, in edits that arrived since")

    @model_validator(mode="after")
    def _something(self) -> TrafficOptions:
        if not sum(self.shares().values()):
            raise ValueError(f"all of {', '.join(SCOPES)} are 0: at least one kind of question is needed")
        return self

    def shares(self) -> dict[Scope, float]:
        """Return the share of every scope as given."""
        return {scope: float(getattr(self, scope)) for scope in SCOPES}


@dataclass(frozen=True)
class TrafficFacts:
    """What traffic needs to know of edits, by their order of arrival: moments, subjects, what each replaces.

    `replaces` is the number of the replaced edit or -1; `withdrawn_s` when it is taken back (inf: never).
    """

    at_s: np.ndarray
    subjects: tuple[str, ...]
    replaces: np.ndarray
    withdrawn_s: np.ndarray

    @classmethod
    def of(
        cls, edits: Sequence[Edit], at_s: np.ndarray, withdrawn_s: Mapping[str, float] | None = None
    ) -> TrafficFacts:
        """Return the facts of edits in order."""
        number = {edit.id: i for i, edit in enumerate(edits)}
        gone = withdrawn_s or {}
        return cls(
            np.asarray(at_s, float),
            tuple(edit.subject for edit in edits),
            np.array([number.get(edit.supersedes or "", -1) for edit in edits], dtype=np.int64),
            np.array([gone.get(edit.id, np.inf) for edit in edits]),
        )


@dataclass(frozen=True)
class DrawnQuestions:
    """Drawn questions: moments, the edit each is about (-1: none has arrived), its scope as a place in SCOPES."""

    at_s: np.ndarray
    edits: np.ndarray
    scopes: np.ndarray

    def __len__(self) -> int:
        return len(self.at_s)


def draw_traffic(facts: TrafficFacts, at_s: np.ndarray, options: TrafficOptions, seed: int) -> DrawnQuestions:
    """Return which arrived edit each moment's question is about, and how.

    A question about a replaced fact is about the version that has arrived last. Before the first edit all are far.
    """
    rng = generator(seed, "traffic")
    moments = np.asarray(at_s, float)
    drawn = rng.random((len(moments), 4))  # one row a question, so that more traffic begins as less does
    shares = np.array(list(options.shares().values()))
    scopes = np.searchsorted(np.cumsum(shares / shares.sum()), drawn[:, 0], side="right").clip(max=len(SCOPES) - 1)
    arrived = np.searchsorted(facts.at_s, moments, side="right")
    sums = np.concatenate([[0.0], np.cumsum(_popularity(facts.subjects, options.zipf, seed))])
    popular = np.searchsorted(sums, drawn[:, 1] * sums[arrived], side="right") - 1
    age = np.floor(-np.log1p(-drawn[:, 3]) * options.recent).astype(np.int64)
    recent = arrived - 1 - np.minimum(age, np.maximum(arrived - 1, 0))
    edits = np.where(drawn[:, 2] < options.recency, recent, np.minimum(popular, arrived - 1))
    edits = _latest(facts, edits, moments)
    scopes = np.where(edits < 0, SCOPES.index("far"), scopes)
    return DrawnQuestions(moments, edits, scopes)


def _popularity(subjects: Sequence[str], zipf: float, seed: int) -> np.ndarray:
    """Return a weight per edit: its subject's rank, drawn once, to the power of -zipf."""
    names = sorted(set(subjects))
    order = generator(seed, "traffic", "popularity").permutation(len(names))
    weight = {names[n]: (rank + 1.0) ** -zipf for rank, n in enumerate(order)}
    return np.array([weight[s] for s in subjects])


def _latest(facts: TrafficFacts, edits: np.ndarray, moments: np.ndarray) -> np.ndarray:
    """Return the last version, arrived by then, of each edit's fact."""
    after = np.full(len(facts.replaces) + 1, -1, dtype=np.int64)  # the last place answers for -1
    newer = np.flatnonzero(facts.replaces >= 0)
    after[facts.replaces[newer]] = newer
    edits = edits.copy()
    while len(edits):
        successor = after[edits]
        there = (edits >= 0) & (successor >= 0) & (facts.at_s[successor] <= moments)
        if not there.any():
            break
        edits[there] = successor[there]
    return edits


def pose(stream: Stream, facts: TrafficFacts, asked: DrawnQuestions, seed: int) -> tuple[Posed, ...]:
    """Return the questions of drawn traffic: one of the probes of its scope, each as likely.

    Where an edit has none (one without a picture has no other rendering) it is asked about as it was edited, or out
    of scope as the stream can.
    """
    rng = generator(seed, "traffic", "probes")
    known: dict[int, dict[Scope, list[Probe]]] = {}
    out = []
    for moment, edit, scope, share in zip(
        asked.at_s.tolist(), asked.edits.tolist(), asked.scopes.tolist(), rng.random(len(asked)).tolist(), strict=True
    ):
        about = max(edit, 0)
        if about not in known:
            known[about] = by_scope(stream.probes(stream.edits[about].id), stream.general)
        name, chosen = question_of(SCOPES[scope], known[about], share)
        if name == "far":
            out.append(Posed(chosen, name))
            continue
        replaced = int(facts.replaces[about])
        gone = bool(facts.withdrawn_s[about] <= moment)
        before = stream.edits[replaced].target if replaced >= 0 and not gone else ""
        out.append(Posed(chosen, name, stream.edits[about].id, before, gone))
    return tuple(out)


def question_of(scope: Scope, known: Mapping[Scope, list[Probe]], share: float) -> tuple[Scope, Probe]:
    """Return which scope is asked, and the probe at a share from 0 to 1 of those `by_scope` of an edit.

    Where there are none of that scope it is of the one that comes closest.
    """
    name = _nearest(scope, known)
    return name, known[name][int(share * len(known[name]))]


def by_scope(probes: Sequence[Probe], general: Sequence[Probe]) -> dict[Scope, list[Probe]]:
    """Return the probes that people's questions are drawn from, by scope: those of an edit and the general set."""
    out: dict[Scope, list[Probe]] = {"far": list(general)} if general else {}
    for probe in probes:
        if probe.axis in _UNUSUAL:
            continue
        if probe.axis == "reliability":
            out.setdefault("edited", []).append(probe)
        elif probe.axis == "generality":
            out.setdefault("rephrased" if probe.modality == "text" else "rendering", []).append(probe)
        elif probe.reference == "baseline" and probe.variant in FAR:
            if not general:
                out.setdefault("far", []).append(probe)
        elif probe.reference == "baseline":
            out.setdefault("near", []).append(probe)
    return out


def _nearest(scope: Scope, known: Mapping[Scope, list[Probe]]) -> Scope:
    """Return the scope, or what comes closest to it among those that have probes."""
    outside: tuple[Scope, ...] = ("far", "near") if scope == "far" else ("near", "far")
    wanted: list[Scope] = [*(outside if scope in outside else (scope,)), *SCOPES]
    for name in wanted:
        if known.get(name):
            return name
    return scope
