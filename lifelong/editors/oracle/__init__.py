"""The ceiling: perfect routing to the edit's answer. The only editor that is shown the probes.

Knows which questions each edit should change and how; it changes no weight. Every curve is read against it.
"""

from __future__ import annotations

from collections.abc import Callable, Hashable, Iterator, Sequence
from contextlib import contextmanager
from typing import TYPE_CHECKING

import numpy as np

from lifelong.editing.contract import Answerer, Editor, EditorOptions, Keys, Privileged, Route, State
from lifelong.editing.questions import EditedQuestions
from lifelong.editors.oracle.knowing import Knowing
from streams.types import Edit, Probe, Query

if TYPE_CHECKING:
    from lifelong.models.vlm import VLM


class Oracle(Editor, Privileged):
    """Reference: an expert is the list of one edit's in-scope questions with their answers; nothing is trained.

    A question routes to the latest edit that has it in scope (reliability, generality, portability: every probe whose
    reference is the target), by equality of query digests, not by search; it is then answered by the probe's target,
    with probability 1 - `DOUBT` on that answer's token at each position. All other questions are the base's. Memory
    per edit: 8 bytes and the answer per in-scope question; a query costs one look-up whatever the number of edits. It
    is a ceiling of retention, generality and locality under one answer per question, not a method.
    """

    Options = EditorOptions
    removes = True
    replaces = True
    lasting = True

    def __init__(self, vlm: VLM, options: EditorOptions | None = None, *, seed: int = 0) -> None:
        super().__init__(vlm, options, seed=seed)
        self._probes_of: Callable[[str], Sequence[Probe]] = lambda edit_id: ()
        self.questions = EditedQuestions()
        self._own: dict[str, tuple[str, str]] = {}  # edit id -> its own query's digest and answer, oldest first
        self._answers: dict[str, dict[str, str]] = {}  # edit id -> query digest -> answer
        self._served: dict[str, list[str]] = {}  # query digest -> edit ids that answer it, latest last

    def reveal(self, probes_of: Callable[[str], Sequence[Probe]]) -> None:
        """Take the probe table; edits already taken learn their questions now."""
        self._probes_of = probes_of
        if self._own:
            self.revision += 1
            self._rebuild()

    def edit(self, edits: Sequence[Edit]) -> None:
        """Take each edit's in-scope questions; a newer edit of a question replaces the older one."""
        for edit in edits:
            self.remove(self.questions.older(edit))
            self.questions.add(edit)
            self._own[edit.id] = (edit.query.digest, edit.target)
            self._learn(edit.id)

    def _learn(self, edit_id: str) -> None:
        digest, target = self._own[edit_id]
        answers = {p.query.digest: p.target for p in self._probes_of(edit_id) if p.reference == "target"}
        self._answers[edit_id] = {**answers, digest: target}
        for asked in self._answers[edit_id]:
            self._served.setdefault(asked, []).append(edit_id)

    def _rebuild(self) -> None:
        self._answers, self._served = {}, {}
        for edit_id in self._own:
            self._learn(edit_id)

    def encode(self, queries: Sequence[Query]) -> Keys:
        """Return `digest` (n, 8) uint8: what identifies each query."""
        digests = b"".join(bytes.fromhex(q.digest) for q in queries)
        return Keys({"digest": np.frombuffer(digests, dtype=np.uint8).reshape(len(queries), 8)})

    def route(self, keys: Keys) -> list[Route]:
        """Return the latest edit with each query in its scope."""
        found = [self._served.get(row.tobytes().hex()) for row in keys["digest"]]
        return [Route((ids[-1],), (1.0,)) if ids else Route() for ids in found]

    @contextmanager
    def applied(self, queries: Sequence[Query], routes: Sequence[Route]) -> Iterator[Answerer]:
        """Answer in-scope queries by their edit's answer, the others by the base."""
        pairs = zip(queries, routes, strict=True)
        answers = [self._answers[r.ids[0]][q.digest] if r.in_scope else None for q, r in pairs]
        yield Knowing(self.vlm, tuple(queries), answers)

    def remove(self, ids: Sequence[str]) -> None:
        """Forget edits; one that is not stored any more (replaced) is passed over."""
        self.questions.drop(ids)
        for edit_id in ids:
            self._own.pop(edit_id, None)
            for asked in self._answers.pop(edit_id, {}):
                self._served[asked].remove(edit_id)
                if not self._served[asked]:
                    del self._served[asked]

    def nbytes(self) -> int:
        """Return the bytes of digests and answers."""
        return sum(8 + len(text.encode()) for answers in self._answers.values() for text in answers.values())

    def bank_len(self) -> int:
        """Return the number of stored edits."""
        return len(self._own)

    def mark(self) -> Hashable:
        """Return the number of stored edits and the one stored last."""
        return self.revision, len(self._own), next(reversed(self._own), "")

    def state(self) -> State:
        """Return the edits' own questions and answers; the others are looked up in the probe table again."""
        own = [[edit_id, digest, target] for edit_id, (digest, target) in self._own.items()]
        return State({}, {"revision": self.revision, "own": own})

    def load(self, state: State) -> None:
        """Go on from a state, with the probe table given before or after."""
        super().load(state)
        self._own = {edit_id: (digest, target) for edit_id, digest, target in state.meta["own"]}
        self.questions.load([edit_id, digest] for edit_id, digest, _ in state.meta["own"])
        self._rebuild()
