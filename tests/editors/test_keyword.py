"""The router without learning: the same picture first, then letters in common, and what it cannot tell apart."""

from __future__ import annotations

import random
from dataclasses import replace

import numpy as np
import pytest

from lifelong.editors.keyword import Keyword, KeywordOptions
from lifelong.editors.keyword.trigrams import COUNTED, NO_TRIGRAM, TrigramIndex, padded_rows, trigrams
from streams.types import Edit, ImageRef, Prompt, Query

PICTURE, OTHER = ImageRef("noise:a", "a"), ImageRef("noise:b", "b")
EDIT = Edit("a", Query("Who made this bowl?", PICTURE), "Ann", "bowl")


def keyword(tiny_vlm, *edits: Edit, **options: float) -> Keyword:
    editor = Keyword(tiny_vlm, KeywordOptions.model_validate(options))
    editor.edit(edits)
    return editor


def route(editor: Keyword, query: Query):
    return editor.route(editor.encode([query]))[0]


def test_trigrams_are_those_of_letters_and_digits_with_one_space_around_words():
    """By hand: ' wh', 'who', 'ho ' of ' who ', ' wa', 'was', 'as ' of ' was ', and 'o w' between them."""
    who, was, both = map(trigrams, ("Who?", "WAS", "who was"))
    assert len(who) == len(was) == 3 and not set(who) & set(was)
    assert set(both) > set(who) | set(was) and len(both) == 7


@pytest.mark.parametrize("text", ["", " ", "?", "??", "\ud800", "字", "🍎?", "a", "é", "x" * 10_000, "\x00\n"])
def test_any_text_has_trigrams_and_is_wholly_like_itself(text: str):
    codes = trigrams(text)
    assert 1 <= len(codes) <= COUNTED and NO_TRIGRAM not in codes
    index = TrigramIndex()
    index.add("a", codes, b"")
    same, other = index.nearest(trigrams(text), b"")
    assert same == ("a", 1.0) and other is None


def test_of_a_long_text_a_fair_sample_of_trigrams_counts_not_its_beginning():
    rng = random.Random(0)
    words = ["".join(rng.choices("abcdefghij", k=6)) for _ in range(120)]
    first, second = " ".join(words), " ".join([*words[:60], *(w[::-1] for w in words[60:])])
    kept = [set(trigrams(t).tolist()) for t in (first, second)]
    assert all(len(k) == COUNTED for k in kept) and 0.2 < len(kept[0] & kept[1]) / len(kept[0] | kept[1]) < 0.8


def test_the_score_is_the_jaccard_index_and_one_more_for_the_same_picture(tiny_vlm):
    editor = keyword(tiny_vlm, EDIT, threshold=0.01, other_picture=0.01)
    asked = "Who made that bowl?"
    own, theirs = set(trigrams(EDIT.query.prompt).tolist()), set(trigrams(asked).tolist())
    jaccard = len(own & theirs) / len(own | theirs)
    assert 0.5 < jaccard < 1
    assert route(editor, Query(asked, PICTURE)).scores == (1 + jaccard,)
    assert route(editor, Query(asked, OTHER)).scores == (jaccard,)
    assert route(editor, Query(asked)).scores == (jaccard,)


def test_the_same_picture_comes_before_words_that_are_more_alike(tiny_vlm):
    elsewhere = Edit("b", Query("Who made this plate?", OTHER), "Bob", "plate")
    editor = keyword(tiny_vlm, elsewhere, EDIT)
    assert route(editor, Query("Who made this plate?", PICTURE)).ids == ("a",)
    assert route(editor, Query("Who made this plate?", ImageRef("noise:c", "c"))).ids == ("b",)
    assert not route(editor, Query("Who made this cup?", ImageRef("noise:c", "c"))).in_scope


def test_a_question_of_the_same_picture_below_its_limit_still_meets_another_picture_of_its_words(tiny_vlm):
    elsewhere = Edit("b", Query("Name the colour.", OTHER), "red", "plate")
    assert route(keyword(tiny_vlm, EDIT, elsewhere), Query("Name the colour.", PICTURE)).ids == ("b",)


def test_each_limit_is_reached_exactly_and_text_has_its_own(tiny_vlm):
    text = Edit("t", Query("Where is the bowl?"), "Lima", "bowl")
    asked = "Where is this bowl?"
    alike = route(keyword(tiny_vlm, text, text_threshold=0.01), Query(asked)).scores[0] - 1
    for limit, found in ((alike, True), (np.nextafter(alike, 1), False)):
        assert route(keyword(tiny_vlm, text, text_threshold=float(limit)), Query(asked)).in_scope is found
    assert route(keyword(tiny_vlm, text, text_threshold=1.0, threshold=0.01), Query(asked)).ids == ()


def test_of_equally_near_edits_the_one_stored_first_wins(tiny_vlm):
    edits = [Edit(i, Query(EDIT.query.prompt, ImageRef(f"noise:{i}", i)), i, i) for i in "xyz"]
    assert route(keyword(tiny_vlm, *edits), Query(EDIT.query.prompt, OTHER)).ids == ("x",)
    assert route(keyword(tiny_vlm, *edits[::-1]), Query(EDIT.query.prompt, OTHER)).ids == ("z",)


def test_the_routed_fact_is_stated_before_the_query(tiny_vlm):
    editor = keyword(tiny_vlm, EDIT)
    prompt = Prompt((PICTURE, "Update: Who made this bowl? The answer is Ann. Who made this bowl?"))
    with editor.applied([EDIT.query], [route(editor, EDIT.query)]) as answerer:
        got = answerer.score(["Ann"])[0]
    assert np.array_equal(got.logprobs, tiny_vlm.score([prompt], ["Ann"])[0].logprobs)


def test_a_newer_edit_of_a_question_takes_the_older_ones_place(tiny_vlm):
    editor = keyword(tiny_vlm, EDIT, replace(EDIT, id="b", target="Bob"))
    assert route(editor, EDIT.query).ids == ("b",) and editor.bank_len() == 1
    assert editor.holds("b") and not editor.holds("a")
    with pytest.raises(ValueError, match="'b' is stored already"):
        editor.edit([Edit("b", Query("Where?"), "here", "it")])


def test_an_index_finds_what_comparing_all_finds_whatever_was_removed():
    rng, index, kept = random.Random(1), TrigramIndex(), dict[str, tuple[frozenset[int], bytes]]()
    for step in range(600):
        codes = trigrams("".join(rng.choices("abc d", k=rng.randint(1, 12))))
        picture = bytes([rng.randrange(4)])
        if kept and rng.random() < 0.45:
            gone = rng.choice(list(kept))
            index.remove(gone)
            del kept[gone]
        else:
            index.add(str(step), codes, picture)
            kept[str(step)] = frozenset(codes.tolist()), picture
        asked = frozenset(codes.tolist())
        scores = {i: len(asked & c) / len(asked | c) for i, (c, _) in kept.items()}
        for found, same in zip(index.nearest(codes, picture), (True, False), strict=True):
            here = {i: s for i, s in scores.items() if (kept[i][1] == picture) is same and s > 0}
            assert found == (max(here.items(), key=lambda pair: pair[1]) if here else None)
        assert len(index) == len(kept) and index.nbytes() == 8 * sum(len(c) for c, _ in kept.values())
    index.remove("never stored")


def test_rows_of_an_encoding_hold_a_question_each():
    rows = padded_rows([trigrams("Who?"), trigrams("Who was it?")])
    assert rows.shape == (2, COUNTED) and (rows[0] != NO_TRIGRAM).sum() == 3
    assert padded_rows([]).shape == (0, COUNTED)
