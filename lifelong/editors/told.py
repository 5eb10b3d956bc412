"""The ceiling of all that states an edit in the prompt: the right fact, every time, before the unchanged model.

Knows which questions each edit should change and the edits' words; it changes no weight and no hidden state.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import TYPE_CHECKING

from lifelong.editing.contract import Answerer, Route, State
from lifelong.editing.facts.statement import StatedFact, StatementOptions, stated
from lifelong.editing.revealed import RevealedEditor
from streams.types import Edit, Query

if TYPE_CHECKING:
    from lifelong.models.vlm import VLM


class Told(RevealedEditor):
    """Reference: the gold fact in the prompt; an expert is an edit's words, and nothing is trained.

    A question that lies in an edit's scope (its own, and every probe of it whose reference is the target) routes to
    the latest such edit by the table of probes, so never to a wrong one; the edit is then stated before it, as `rag`
    states what it finds. All other questions are the base's. What is wrong here the model would not follow if routing
    were perfect: the ceiling of retrieval in the prompt, not a method.

    Memory per edit: its words; a query costs one look-up and a prompt longer by one statement.
    """

    Options = StatementOptions
    options: StatementOptions

    def __init__(self, vlm: VLM, options: StatementOptions | None = None, *, seed: int = 0) -> None:
        super().__init__(vlm, options, seed=seed)
        self.facts: dict[str, StatedFact] = {}

    def edit(self, edits: Sequence[Edit]) -> None:
        """Keep each edit's words, and take its in-scope questions."""
        for edit in edits:
            super().edit([edit])
            self.facts[edit.id] = StatedFact.of(edit)

    @contextmanager
    def applied(self, queries: Sequence[Query], routes: Sequence[Route]) -> Iterator[Answerer]:
        """Answer each query after its edit's fact; a query without a route is asked as it is."""
        yield self.vlm.answerer(stated(queries, routes, self.facts, self.options.template))

    def remove(self, ids: Sequence[str]) -> None:
        """Forget edits; one that is not stored any more (replaced) is passed over."""
        super().remove(ids)
        for edit_id in ids:
            self.facts.pop(edit_id, None)

    def nbytes(self) -> int:
        """Return the bytes of the words."""
        return sum(fact.nbytes() for fact in self.facts.values())

    def state(self) -> State:
        """Return the edits' own questions and their words."""
        found = super().state()
        facts = [[edit_id, f.question, f.answer] for edit_id, f in self.facts.items()]
        return State({}, {**found.meta, "facts": facts})

    def load(self, state: State) -> None:
        """Go on from a state, with the probe table given before or after."""
        super().load(state)
        self.facts = {edit_id: StatedFact(question, answer) for edit_id, question, answer in state.meta["facts"]}
