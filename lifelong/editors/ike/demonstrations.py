"""Demonstrations of how a new fact is to be used, in the three forms of the paper, from one training item.

Knows pool items and their words; nothing of retrieval or models.
"""

from __future__ import annotations

from lifelong.editing.facts.statement import StatedFact
from streams.types import PoolItem

PATTERN = ("retain", "update", "retain", "copy", "retain", "update", "retain", "update")
"""The forms of eight demonstrations, nearest fact first: copy, update, retain in the paper's ratio 1 : 3 : 4."""


def forms_of(item: PoolItem, template: str) -> dict[str, list[str]]:
    """Return the demonstrations of one training item by form; each states the new fact, asks, and answers."""
    fact = StatedFact.of(item.edit)
    said = fact.said(template)
    forms: dict[str, list[str]] = {"copy": [_shown(said, fact.question, fact.answer)], "update": [], "retain": []}
    for probe in item.probes:
        if probe.axis == "generality" and probe.query.prompt != fact.question:
            forms["update"].append(_shown(said, probe.query.prompt, probe.target))
        elif probe.axis == "locality":
            forms["retain"].append(_shown(said, probe.query.prompt, probe.target))
    return {form: list(dict.fromkeys(texts)) for form, texts in forms.items() if texts}


def _shown(said: str, question: str, answer: str) -> str:
    return f"{said} {question} {answer}."
