"""Facts found again: what stored edits and queries are compared by, and where the line is drawn."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

from lifelong.editing.facts.book import FactBook, separating
from streams.stream import load_stream
from streams.types import Edit, ImageRef, Pool, PoolItem, Probe, Query

PICTURE, OTHER = ImageRef("noise:a", "a"), ImageRef("noise:b", "b")
EDIT = Edit("a", Query("Who made this bowl?", PICTURE), "Ann", "bowl")


@pytest.mark.parametrize("keys", ["both", "text", "image"])
def test_the_edits_own_query_has_cosine_one(tiny_vlm, keys):
    book = FactBook(tiny_vlm, keys=keys)
    book.add([EDIT])
    found = book.route(book.keys([EDIT.query]), 1)[0]
    assert found.ids == ("a",) and found.scores[0] == pytest.approx(1, abs=1e-5)


def test_the_cosine_is_the_weighted_mean_and_that_of_the_text_where_there_is_no_picture(tiny_vlm):
    book = FactBook(tiny_vlm, keys="both", image_weight=0.25)
    book.add([EDIT])
    assert book.text is not None and book.image is not None
    words = book.text.encode([EDIT.query.prompt, "Where is it?"])
    looks = book.image.encode([PICTURE, OTHER])
    found = book.route(book.keys([Query("Where is it?", OTHER), Query("Where is it?")]), 1)
    text, image = words[0] @ words[1], looks[0] @ looks[1]
    assert [r.scores[0] for r in found] == pytest.approx([0.75 * text + 0.25 * image, text], abs=1e-5)


def test_a_stored_key_may_be_prompt_and_answer(tiny_vlm):
    book = FactBook(tiny_vlm, keys="text", answers=True)
    assert book.text is not None
    assert np.allclose(book.stored([EDIT])[0], book.text.encode(["Who made this bowl? Ann"])[0])


def test_what_is_replaced_or_evicted_is_gone_and_named(tiny_vlm):
    book = FactBook(tiny_vlm, keys="text", capacity=1, eviction="fifo")
    assert book.add([EDIT]) == []
    assert book.add([replace(EDIT, id="b", target="Bob", supersedes="a")]) == ["a"]
    assert book.add([Edit("c", Query("Where is it?"), "here", "it")]) == ["b"] and list(book.facts) == ["c"]


def test_calibration_lets_in_more_of_its_own_than_strangers(tiny_vlm):
    pool = load_stream("toy", edits=2, seed=0).pool(24, 0)
    book = FactBook(tiny_vlm, keys="both")
    least = {kind: limit.least for kind, limit in book.calibrated(pool, 0.3).items()}
    book.add([item.edit for item in pool.items])
    probes = [p for item in pool.items for p in item.probes if p.query.image is not None]
    fired = [r.in_scope for r in book.route(book.keys([p.query for p in probes]), 1, least)]
    own = np.mean([f for f, p in zip(fired, probes, strict=True) if p.axis == "reliability"])
    strange = np.mean([f for f, p in zip(fired, probes, strict=True) if p.reference == "baseline"])
    assert own > 0.9 and strange < own


def test_calibration_of_shared_keys_asks_each_edit_alone(tiny_vlm):
    """Two edits in the same words: among both, half of the probes find the other's, and no limit lets them in."""
    shared = Query("What is it called?", PICTURE)
    items = []
    for edit_id, image, relation in (("a", PICTURE, "name"), ("b", OTHER, "name")):
        edit = Edit(edit_id, Query(shared.prompt, image), "Ann", edit_id, relation)
        probes = (
            Probe(f"{edit_id}/r", edit_id, "reliability", "own", "image", edit.query, "Ann"),
            Probe(f"{edit_id}/l", edit_id, "locality", "far", "image", Query("Who?", image), "x", "baseline"),
        )
        items.append(PoolItem(edit, probes))
    book = FactBook(tiny_vlm, keys="text", answers=True)
    among, alone = (book.calibrated(Pool(tuple(items), "p", 0), 0.3, alone=a)["image"] for a in (False, True))
    assert among.right < 1 and alone.right == 1


def test_the_separating_score_lies_in_the_widest_gap_of_the_best_ones():
    assert separating(np.array([0.9, 0.8]), np.array([0.2, 0.4])) == (pytest.approx(0.6), 1)
    mixed, right = separating(np.array([0.9, 0.8, 0.3]), np.array([0.1, 0.2, 0.85]))
    assert 0.2 < mixed <= 0.3 and right == pytest.approx(5 / 6)


def test_a_kind_without_samples_keeps_the_limit_that_is_given(tiny_vlm):
    limits = FactBook(tiny_vlm).calibrated(Pool((), "none", 0), 0.3)
    assert {kind: limit.least for kind, limit in limits.items()} == {"image": 0.3, "text": 0.3}
