"""How a fact is told in a prompt: the one template of all editors that state an edit before a question.

Knows questions, routes and words; nothing of how a fact is found or who answers.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from string import Formatter
from typing import Annotated

from pydantic import AfterValidator, Field

from lifelong.editing.contract import EditorOptions, Route
from streams.atlas.wording import HELD_OUT_STATEMENT
from streams.types import Edit, Prompt, Query

# The atlas model's training tells facts in many ways and leaves this one out: no editor is measured in the very words
# that its model was drilled in. To another model it is as good as any.
STATEMENT = HELD_OUT_STATEMENT
"""The default of every editor."""


def _names_both(template: str) -> str:
    """Return a template that fills in question and answer and nothing else; raises `ValueError` for any other."""
    wanted = "expected a text with {question} and {answer}, such as " + repr(STATEMENT)
    try:
        parts = [part[1:] for part in Formatter().parse(template) if part[1] is not None]
    except ValueError as error:
        raise ValueError(f"template={template!r}: {error}; {wanted} ({{{{ is a brace)") from error
    given = {name for name, _, _ in parts}
    if given != {"question", "answer"}:
        raise ValueError(f"template={template!r} fills in {_listed(given)}; {wanted}")
    if any(spec or conversion for _, spec, conversion in parts):
        raise ValueError(f"template={template!r} says how to write a name in braces; {wanted}")
    return template


def _listed(names: set[str | None]) -> str:
    return " and ".join(f"{{{name}}}" for name in sorted(map(str, names))) or "nothing"


Template = Annotated[str, AfterValidator(_names_both)]
"""How a fact is stated: a text with {question} and {answer}; an option of this type refuses any other."""


class StatementOptions(EditorOptions):
    """Base of the options of an editor that states facts."""

    template: Template = Field(
        default=STATEMENT, description="how an edit is stated before a question: a text with {question} and {answer}"
    )


@dataclass(frozen=True)
class StatedFact:
    """The words of a stored edit."""

    question: str
    answer: str

    @classmethod
    def of(cls, edit: Edit) -> StatedFact:
        """Return what an edit says."""
        return cls(edit.query.prompt, edit.target)

    def said(self, template: str) -> str:
        """Return the fact as one sentence of a prompt.

        >>> StatedFact("Who made it?", "Ann").said(STATEMENT)
        'Update: Who made it? The answer is Ann.'
        """
        return template.format(question=self.question, answer=self.answer)

    def nbytes(self) -> int:
        """Return the bytes of the words."""
        return len(self.question.encode()) + len(self.answer.encode())


def after(sentences: Sequence[str], query: Query) -> Prompt:
    """Return the prompt that says some sentences and then asks a question; the picture is the question's."""
    return Prompt.of(Query(" ".join([*sentences, query.prompt]), query.image))


def stated(
    queries: Sequence[Query], routes: Sequence[Route], facts: Mapping[str, StatedFact], template: str
) -> list[Query | Prompt]:
    """Return each query after the facts that its route names, best first; one without a route as it is."""
    return [
        after([facts[i].said(template) for i in route.ids], query) if route.in_scope else query
        for query, route in zip(queries, routes, strict=True)
    ]
