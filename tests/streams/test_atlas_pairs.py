"""Claims about pairs of a visual and a textual edit on the atlas: only both together give what is asked for."""

from __future__ import annotations

import pytest

from streams.atlas.relations import RELATIONS
from streams.atlas.wording import worded
from streams.atlas.world import load_world
from streams.stream import Stream, load_stream


@pytest.fixture(scope="module")
def stream() -> Stream:
    return load_stream("atlas", edits=60, order="pairs")


def test_a_visual_edit_comes_first_and_the_textual_one_names_what_it_shows(stream: Stream) -> None:
    world = load_world()
    for visual, textual in zip(stream.edits[::2], stream.edits[1::2], strict=True):
        assert RELATIONS[visual.relation].identity and visual.prompt_kind == "generic" and visual.query.image
        assert textual.prompt_kind == "text" and textual.query.image is None
        assert visual.target == world.by_id[textual.subject].facts[visual.relation][0] != ""
        assert visual.target.casefold() in textual.query.prompt.casefold() and visual.subject != textual.subject
        assert visual.target not in world.by_id[visual.subject].facts[visual.relation]


def test_the_question_that_needs_both_is_answered_by_neither_alone(stream: Stream) -> None:
    world = load_world()
    for visual, textual in zip(stream.edits[::2], stream.edits[1::2], strict=True):
        (asked,) = [p for p in stream.probes(textual.id) if p.axis == "compositional"]
        assert asked.query.image == visual.query.image and asked.target == textual.target and asked.hops == 1
        either = [world.by_id[edit.subject].facts[textual.relation] for edit in (visual, textual)]
        assert asked.target.casefold() not in {a.casefold() for answers in either for a in answers}
        assert not {visual.target.casefold(), asked.target.casefold()} & set(asked.query.prompt.casefold().split())
        assert not [p for p in stream.probes(visual.id) if p.axis == "compositional"]


def test_no_other_probe_of_a_pair_asks_what_the_pair_changes(stream: Stream) -> None:
    """A second step from the new name would be the fact that the textual edit changes: it is not asked."""
    for visual, textual in zip(stream.edits[::2], stream.edits[1::2], strict=True):
        words = RELATIONS[textual.relation]
        changed = {worded(template, "this picture") for template in (*words.train, *words.held_out)}
        steps = [p.query.prompt for p in stream.probes(visual.id) if p.axis == "portability"]
        assert not changed & set(steps)
    assert any(p.axis == "portability" for edit in stream.edits[::2] for p in stream.probes(edit.id))


def test_nothing_is_edited_twice_and_a_shorter_stream_is_its_beginning(stream: Stream) -> None:
    assert len({(e.subject, e.relation) for e in stream.edits}) == len({e.subject for e in stream.edits}) == 60
    short = load_stream("atlas", edits=7, order="pairs")
    assert short.edits == stream.edits[:7]
    assert [short.probes(e.id) for e in short.edits] == [stream.probes(e.id) for e in short.edits]
