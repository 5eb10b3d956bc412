"""The ceiling: perfect routing to the edit's answer, without asking the model.

Knows which questions each edit should change and how; it changes no weight. Every curve is read against it.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager

from lifelong.editing.contract import Answerer, Route
from lifelong.editing.revealed import RevealedEditor
from lifelong.editors.oracle.knowing import Knowing
from streams.types import Query


class Oracle(RevealedEditor):
    """Reference: an expert is the list of one edit's in-scope questions with their answers; nothing is trained.

    A question routes to the latest edit that has it in scope (reliability, generality, portability: every probe whose
    reference is the target), by equality of query digests, not by search; it is then answered by the probe's target,
    with probability 1 - `DOUBT` on that answer's token at each position. All other questions are the base's. Memory
    per edit: 8 bytes and the answer per in-scope question; a query costs one look-up whatever the number of edits. It
    is a ceiling of retention, generality and locality under one answer per question, not a method.
    """

    @contextmanager
    def applied(self, queries: Sequence[Query], routes: Sequence[Route]) -> Iterator[Answerer]:
        """Answer in-scope queries by their edit's answer, the others by the base."""
        pairs = zip(queries, routes, strict=True)
        answers = [self.answers[r.ids[0]][q.digest] if r.in_scope else None for q, r in pairs]
        yield Knowing(self.vlm, tuple(queries), answers)

    def nbytes(self) -> int:
        """Return the bytes of digests and answers."""
        return sum(8 + len(text.encode()) for answers in self.answers.values() for text in answers.values())
