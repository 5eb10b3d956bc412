"""Routing that is always right: by the table of probes, which no method may see. What the reference editors share.

Knows which questions each edit should change and how; nothing of what is done with a routed question.
"""

from __future__ import annotations

from collections.abc import Callable, Hashable, Sequence
from typing import TYPE_CHECKING

import numpy as np

from lifelong.editing.contract import Editor, EditorOptions, Keys, Privileged, Route, State
from lifelong.editing.questions import EditedQuestions
from streams.types import Edit, Probe, Query

if TYPE_CHECKING:
    from lifelong.models.vlm import VLM


class RevealedEditor(Editor, Privileged):
    """Routes each question to the latest edit that has it in scope; a subclass keeps what it needs and answers.

    In scope are an edit's own question and every probe of it whose reference is the target (reliability, generality,
    portability and the like). Questions are compared by digest, not searched.
    """

    removes = True
    replaces = True
    lasting = True

    def __init__(self, vlm: VLM, options: EditorOptions | None = None, *, seed: int = 0) -> None:
        super().__init__(vlm, options, seed=seed)
        self._probes_of: Callable[[str], Sequence[Probe]] = lambda edit_id: ()
        self.questions = EditedQuestions()
        self.answers: dict[str, dict[str, str]] = {}  # edit id -> query digest -> answer
        self._own: dict[str, tuple[str, str]] = {}  # edit id -> its own query's digest and answer, oldest first
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
        self.answers[edit_id] = {**answers, digest: target}
        for asked in self.answers[edit_id]:
            self._served.setdefault(asked, []).append(edit_id)

    def _rebuild(self) -> None:
        self.answers, self._served = {}, {}
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

    def remove(self, ids: Sequence[str]) -> None:
        """Forget edits; one that is not stored any more (replaced) is passed over."""
        self.questions.drop(ids)
        for edit_id in ids:
            self._own.pop(edit_id, None)
            for asked in self.answers.pop(edit_id, {}):
                self._served[asked].remove(edit_id)
                if not self._served[asked]:
                    del self._served[asked]

    def bank_len(self) -> int:
        """Return the number of stored edits."""
        return len(self._own)

    def mark(self) -> Hashable:
        """Return the number of stored edits and the one stored last."""
        return self.revision, len(self._own), next(reversed(self._own), "")

    def holds(self, edit_id: str) -> bool:
        """Return whether an edit is stored."""
        return edit_id in self._own

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
