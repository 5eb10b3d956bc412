"""What the order of equal questions implies: the newer edit supersedes the older one."""

from __future__ import annotations

from streams.orders.succession import with_succession
from streams.types import Edit, ImageRef, Query


def edit(name: str, prompt: str, target: str = "x", said: str | None = None, picture: str = "") -> Edit:
    image = ImageRef(f"file:{name}.png", picture) if picture else None
    return Edit(name, Query(prompt, image), target, "s", supersedes=said)


def pairs(*edits: Edit) -> list[str | None]:
    return [e.supersedes for e in with_succession(edits)]


def test_a_newer_edit_of_a_question_supersedes_the_older_one_that_it_does_not_name() -> None:
    assert pairs(edit("a", "Who?"), edit("b", "Where?"), edit("c", "Who?"), edit("d", "Who?")) == [
        None,
        None,
        "a",
        "c",
    ]


def test_pictures_count_by_content_not_by_name() -> None:
    shown = [edit("a", "Who?", picture="1"), edit("b", "Who?", picture="2"), edit("c", "Who?", picture="1")]
    assert pairs(*shown, edit("d", "Who?")) == [None, None, "a", None]


def test_what_a_record_says_stands() -> None:
    assert pairs(edit("a", "Who?"), edit("b", "Who is it?", said="a"), edit("c", "Why?")) == [None, "a", None]


def test_a_question_is_answered_by_the_edit_that_replaced_its_own() -> None:
    reworded = edit("b", "Who is it?", said="a")
    assert pairs(edit("a", "Who?"), reworded, edit("c", "Who?")) == [None, "a", "b"]
    assert pairs(edit("a", "Who?"), reworded, edit("c", "Who?", said="a")) == [None, "a", "b"]


def test_the_beginning_of_a_longer_stream_is_a_shorter_one() -> None:
    edits = [edit(str(i), f"{i % 3}?", said="0" if i == 4 else None) for i in range(9)]
    whole = with_succession(edits)
    assert all(with_succession(edits[:n]) == whole[:n] for n in range(9))
