"""Interference on facts where it is known which edit broke which, and similarity on words counted by hand."""

from __future__ import annotations

import math

import numpy as np
import polars as pl
import pytest

from reports.analyses.interference import by_similarity, first_losses, similarity_bin, transitions
from reports.analyses.similarity import cosines


def run(n: int, breaks, *, every: int = 1, seed: int = 0, prompts=None) -> tuple[pl.DataFrame, ...]:
    """Probed, edited and told of a run of n edits, in which edit j breaks edit i where `breaks(i, j)` says so."""
    right = np.ones(n + 1, bool)
    probed = []
    for step in range(1, n + 1):
        for i in range(1, step):
            right[i] &= not breaks(i, step)
        asked = range(1, step + 1) if step % every == 0 else [step]
        probed += [{"editor": "x", "seed": seed, "step": step, "edit_id": f"e{i}", "age": step - i,
                    "axis": "reliability", "variant": "edit", "scorer": "generated", "score": float(right[i])}
                   for i in asked]  # fmt: skip
    ids = [f"e{i}" for i in range(1, n + 1)]
    edited = pl.DataFrame({"editor": "x", "seed": seed, "edit_id": ids, "step": range(1, n + 1)})
    words = prompts or [f"Where does person {chr(97 + i % 26) * 4} live?" for i in range(n)]
    told = pl.DataFrame({"editor": "x", "seed": seed, "edit_id": ids, "prompt": words,
                         "picture": [f"p{i}" for i in range(n)]})  # fmt: skip
    return pl.DataFrame(probed), edited, told


def test_the_one_edit_that_broke_another_is_named() -> None:
    found = first_losses(transitions(*run(20, lambda i, j: (i, j) == (3, 11))))
    assert found.select("victim", "before", "after", "breakers").rows() == [("e3", 10, 11, ["e11"])]


def test_between_two_panels_all_edits_made_there_are_suspects() -> None:
    found = first_losses(transitions(*run(20, lambda i, j: (i, j) == (3, 11), every=5)))
    assert found.select("victim", "before", "after", "breakers").rows() == [
        ("e3", 10, 15, ["e11", "e12", "e13", "e14", "e15"])
    ]


def test_an_edit_that_stays_wrong_breaks_once_and_long_windows_are_left_out() -> None:
    assert transitions(*run(20, lambda i, j: (i, j) == (3, 11)))["broke"].sum() == 1
    wide = transitions(*run(40, lambda i, j: (i, j) == (3, 30), every=20))
    assert max((wide["after"] - wide["before"]).to_list()) <= 10


def test_the_share_that_breaks_is_that_of_its_similarity() -> None:
    words = [f"What colour is the {'red car' if i % 2 else 'old blue boat'}?" for i in range(60)]
    found = by_similarity(transitions(*run(60, lambda i, j: (i - j) % 2 == 0 and j % 10 == 0, prompts=words)))
    rates = dict(found.select("alike", "rate").rows())
    assert rates[1.0] > 0 and rates[min(rates)] == 0


def test_one_breaker_of_many_does_not_make_an_interval_narrow() -> None:
    """Whole steps break or not, with chance .1: intervals hold that share though their transitions are not free."""
    inside = []
    for seed in range(60):
        strong = np.random.default_rng(seed).random(41) < 0.1
        rng = np.random.default_rng(seed)
        rows = [("x", 0, f"e{i}", j - 1, j, bool(strong[j] and rng.random() < 0.9), [f"e{j}"], 0.5, False)
                for j in range(1, 41) for i in range(j)]  # fmt: skip
        names = ["editor", "seed", "victim", "before", "after", "broke", "breakers", "similarity", "same_picture"]
        found = by_similarity(pl.DataFrame(rows, schema=names, orient="row"), draws=100).row(0, named=True)
        inside.append(found["low"] <= 0.09 <= found["high"])
    assert np.mean(inside) >= 0.85


def test_cosines_are_those_of_counted_trigrams() -> None:
    # " ab", "ab " against " ab", "abc", "bc ": one shared of 2 and 3
    assert cosines(["ab"], ["ABC", "ab", "xyz", ""])[0] == pytest.approx([1 / math.sqrt(6), 1, 0, 0])
    many = [f"text number {i}" for i in range(1500)]
    whole = cosines(many, many[:3])
    assert whole.shape == (1500, 3) and whole[:3].diagonal() == pytest.approx([1, 1, 1])


def test_similarities_fall_into_bins_by_their_lower_edge() -> None:
    got = similarity_bin(np.array([0, 0.19, 0.2, 0.79, 0.8, 0.99, 0.999999, 1.0]))
    assert got.tolist() == [0, 0, 0.2, 0.6, 0.8, 0.8, 1.0, 1.0]
