"""What a contract check works with: an editor on a small model with a few edits and questions, and the report.

Knows the editor contract and the toy stream; no editor in particular and none of the checks.
"""

from __future__ import annotations

import hashlib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from functools import cached_property
from typing import TYPE_CHECKING, Any

import numpy as np
import torch
from pydantic import ValidationError

from lifelong.editing.contract import Editor, EditorOptions, Privileged, Route, State
from lifelong.log.shown import short_repr
from streams.near import near
from streams.stream import Stream, load_stream
from streams.types import Edit, Probe, Query

if TYPE_CHECKING:
    from lifelong.models.passes.layout import Scored
    from lifelong.models.vlm import VLM

EDITS = 5
POOL = 24
STEPS = 8
TOLERANCE = 1e-4
"""Largest difference of two log-probabilities that count as equal: rounding differs between batch shapes."""


class ContractError(AssertionError):
    """An editor breaks its contract; the message says how."""


def require(holds: bool, message: str) -> None:
    """Raise `ContractError` with a message unless something holds."""
    if not holds:
        raise ContractError(message)


@dataclass(frozen=True)
class Answers:
    """Routes and teacher-forced results of some queries."""

    routes: list[Route]
    scored: list[Scored]

    def different(self, other: Answers) -> list[int]:
        """Return the rows whose most likely tokens or log-probabilities differ."""
        pairs = zip(self.scored, other.scored, strict=True)
        return [i for i, (a, b) in enumerate(pairs) if not same_scored(a, b)]


def same_scored(a: Scored, b: Scored) -> bool:
    """Return whether two results of one row are equal up to rounding."""
    close = np.allclose(a.logprobs, b.logprobs, rtol=0, atol=TOLERANCE)
    return bool(close) and np.array_equal(a.argmax_ids, b.argmax_ids)


@dataclass
class Workbench:
    """Makes editors of one class on one model and asks them things.

    Options called `steps` or `..._steps` are set to a few, so that optimisation is short; `options` overrides them.
    What `fit` learnt is kept and given to every later editor.
    """

    kind: type[Editor]
    vlm: VLM
    options: Mapping[str, Any] = field(default_factory=dict)
    learner: Editor | None = None  # the editor that was fitted, of one that trains
    _fitted: State | None = None

    @cached_property
    def stream(self) -> Stream:
        """The stream of edits."""
        return load_stream("toy", edits=EDITS + 1, seed=0)

    @cached_property
    def edits(self) -> tuple[Edit, ...]:
        """The edits every check begins with; one more is in `extra`."""
        return self.stream.edits[:EDITS]

    @property
    def extra(self) -> Edit:
        """An edit that comes after the others."""
        return self.stream.edits[EDITS]

    @cached_property
    def probes(self) -> tuple[Probe, ...]:
        """Questions about the edits and next to them."""
        return tuple(p for e in self.edits for p in self.stream.probes(e.id)[:5])

    @property
    def queries(self) -> list[Query]:
        """The probes' queries."""
        return [p.query for p in self.probes]

    @property
    def targets(self) -> list[str]:
        """The probes' targets."""
        return [p.target for p in self.probes]

    @cached_property
    def settings(self) -> EditorOptions:
        """The options of every editor made here; raises `ValueError`, one line, where they are not this editor's."""
        short = {name: STEPS for name in self.kind.Options.model_fields if name == "steps" or name.endswith("_steps")}
        try:
            return self.kind.Options(**{**short, **self.options})
        except ValidationError as error:
            first = error.errors()[0]
            key, said = ".".join(map(str, first["loc"])), first["msg"].removeprefix("Value error, ")
            more = near(key, self.kind.Options.model_fields) if first["type"] == "extra_forbidden" else ""
            given = f" (given: {first['input']!r})" if key in self.options else ""
            raise ValueError(f"{self.kind.__name__}: {key or 'options'}: {said}{given}.{more}") from error

    def make(self) -> Editor:
        """Return a fresh editor, fitted where it trains."""
        if self.kind.trains and self._fitted is None:
            self.learner = self.kind(self.vlm, self.settings, seed=0)
            with self.vlm.serving_with():
                self.learner.fit(self.stream.pool(POOL, 0))
            self._fitted = self.learner.fitted()
        editor = self.kind(self.vlm, self.settings, seed=0)
        if self._fitted is not None:
            editor.load_fitted(self._fitted)
        if isinstance(editor, Privileged):
            editor.reveal(self._probes_of)
        return editor

    def _probes_of(self, edit_id: str) -> tuple[Probe, ...]:
        """Return the probes of an edit of the stream; none for one that a check made up."""
        known = any(e.id == edit_id for e in self.stream.edits)
        return self.stream.probes(edit_id) if known else ()

    def learnt(self) -> State:
        """Return what `fit` learnt; empty when nothing was fitted."""
        return self._fitted or State({}, {})

    def edited(self, edits: Sequence[Edit] | None = None) -> Editor:
        """Return a fresh editor that has taken edits (all of `edits` by default) in batches of its turn."""
        editor = self.make()
        take(editor, self.edits if edits is None else edits)
        return editor

    def ask(self, editor: Editor, rows: Sequence[int] | None = None) -> Answers:
        """Return routes and results for some probes (all by default), asked in one batch."""
        rows = range(len(self.probes)) if rows is None else rows
        return answers_of(editor, [self.queries[r] for r in rows], [self.targets[r] for r in rows])

    def base(self) -> Answers:
        """Return what the model answers without any editor."""
        return Answers([Route()] * len(self.probes), self.vlm.score(self.queries, self.targets))

    def fingerprint(self) -> str:
        """Return a digest of every weight, of the very tensors that hold them, and of all hooks on the model."""
        h = hashlib.sha256()
        model = self.vlm.model
        for name, tensor in (*model.named_parameters(), *model.named_buffers()):
            raw = tensor.detach().cpu().contiguous().view(-1).view(torch.uint8).numpy()
            h.update(f"{name} {id(tensor)} {tensor.requires_grad}".encode() + raw.tobytes())
        for name, module in model.named_modules():
            hooks = len(module._forward_hooks), len(module._forward_pre_hooks), len(module._backward_hooks)
            h.update(f"{name} {module.training} {hooks}".encode())
        return h.hexdigest()


def take(editor: Editor, edits: Sequence[Edit]) -> None:
    """Give edits to an editor in batches of its turn, as the simulator does."""
    for low in range(0, len(edits), editor.turn):
        editor.edit(edits[low : low + editor.turn])


def answers_of(editor: Editor, queries: Sequence[Query], targets: Sequence[str]) -> Answers:
    """Return routes and results of queries, asked of an editor in one batch."""
    routes = editor.route(editor.encode(queries))
    with editor.applied(queries, routes) as answerer:
        return Answers(routes, answerer.score(targets))


@dataclass(frozen=True)
class Result:
    """How one check ended: `passed` or `failed`, and why."""

    check: str
    claim: str
    outcome: str
    message: str = ""


@dataclass(frozen=True)
class Report:
    """All results of one editor."""

    editor: str
    results: tuple[Result, ...]

    __repr__ = short_repr

    @property
    def ok(self) -> bool:
        """Whether nothing failed."""
        return all(r.outcome != "failed" for r in self.results)

    def text(self) -> str:
        """Return one line per check, and a last line that sums up."""
        lines = [f"{r.outcome:8}{r.check}: {r.message if r.outcome == 'failed' else r.claim}" for r in self.results]
        bad = sum(r.outcome == "failed" for r in self.results)
        verdict = "keeps the contract" if not bad else f"breaks the contract in {bad} of {len(self.results)} checks"
        return "\n".join([*lines, f"{self.editor} {verdict}."])
