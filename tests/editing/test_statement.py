"""How a fact is told: one template, checked, and the same in every editor that states facts."""

from __future__ import annotations

from pathlib import Path

import pytest

from lifelong.editing.contract import Route
from lifelong.editing.facts.statement import STATEMENT, StatedFact, StatementOptions, stated
from lifelong.editing.find import editor_class, editor_names
from streams.atlas.wording import HELD_OUT_STATEMENT, STATEMENTS, fact
from streams.types import ImageRef, Prompt, Query

STATING = {name for name in editor_names() if issubclass(editor_class(name).Options, StatementOptions)}


def test_every_editor_that_states_facts_has_the_one_template():
    assert STATING == {"ike", "keyword", "lte", "mscke", "rag", "serac", "told", "unike"}
    for name in editor_names():
        field = editor_class(name).Options.model_fields.get("template")
        assert (field is not None) == (name in STATING), name
        assert field is None or field.default == STATEMENT, name


def test_no_editor_tells_a_fact_in_words_that_the_atlas_model_was_trained_on():
    assert STATEMENT == "Update: {question} The answer is {answer}." == HELD_OUT_STATEMENT
    assert len(STATEMENTS) == len(set(STATEMENTS)) == 71 and STATEMENT not in STATEMENTS
    said = StatedFact("Who made it?", "Ann").said(STATEMENT)
    assert fact("Who made it?", "Ann", STATEMENT) == said not in {fact("Who made it?", "Ann", s) for s in STATEMENTS}


def test_the_template_is_written_in_one_file():
    root = Path(__file__).parents[2]
    files = [p for folder in ("lifelong", "streams", "reports") for p in (root / folder).rglob("*.py")]
    words = "{question} The answer is {answer}"
    assert [p.name for p in files if words in p.read_text()] == ["wording.py"]
    assert not [p.name for p in files if "New fact: {" in p.read_text()]


@pytest.mark.parametrize(
    "template",
    [
        "", "New fact.", "{question}", "It is {answer}.", "{prompt} {target}", "{} {}", "{0} {1}",
        "{question} {answer", "{question} {answer} {more}", "{question.__class__} {answer}", "{question[0]} {answer}",
        "{question!r} {answer}", "{question:>9} {answer}", "{{question}} {answer}",
    ],
)  # fmt: skip
def test_a_template_of_anything_but_question_and_answer_is_refused_in_one_line(template: str):
    with pytest.raises(ValueError, match=r"template=.*expected a text with \{question\} and \{answer\}") as caught:
        StatementOptions(template=template)
    assert "\n" not in str(caught.value.errors()[0]["msg"])  # pyright: ignore[reportAttributeAccessIssue]


def test_braces_in_the_words_of_a_fact_stay_as_they_are():
    assert StatedFact("Who is {answer}?", "{x}").said("{{{question}}} {answer}") == "{Who is {answer}?} {x}"


def test_a_routed_question_follows_its_facts_and_another_one_is_left_alone():
    picture = ImageRef("noise:a", "a")
    asked, facts = (
        Query("Who?", picture),
        {"a": StatedFact("Who made it?", "Ann"), "b": StatedFact("Where is it?", "Lima")},
    )
    told, alone = stated([asked, asked], [Route(("b", "a"), (0.9, 0.8)), Route()], facts, STATEMENT)
    said = "Update: Where is it? The answer is Lima. Update: Who made it? The answer is Ann. Who?"
    assert told == Prompt((picture, said))
    assert alone is asked
