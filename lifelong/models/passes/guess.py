"""Guesses of what a row that repeats itself will say next, and what a reading of them confirms.

An edited model often says one word over and over. One pass reads all guessed tokens of a row; those count that greedy
decoding gives too. Knows lists of tokens; nothing of models, caches or hooks.
"""

from __future__ import annotations

from collections.abc import Sequence

LONGEST = 4  # tokens that are repeated
ENOUGH = 4  # tokens that show a repetition, and two whole rounds after the first


def period(said: Sequence[int]) -> int:
    """Return the length of what a row repeats at its end, 0 where it does not.

    >>> period([5, 7, 7, 7, 7]), period([1, 2, 1, 2, 1, 2]), period([1, 2, 1, 2])
    (1, 2, 0)
    """
    for length in range(1, LONGEST + 1):
        n = max(ENOUGH, 3 * length)
        if len(said) >= n and list(said[-n:-length]) == list(said[-n + length :]):
            return length
    return 0


def guesses(said: Sequence[int], count: int) -> list[int]:
    """Return `count` tokens that go on as a row repeats itself, its last token where it does not.

    >>> guesses([9, 1, 2, 1, 2, 1, 2], 3)
    [1, 2, 1]
    """
    again = said[-(period(said) or 1) :]
    return [again[i % len(again)] for i in range(count)]


def confirmed(guessed: Sequence[int], given: Sequence[int]) -> list[int]:
    """Return the tokens that greedy decoding gives: those guessed right, and the first that was guessed wrong.

    `given[i]` is what the model says after it has read `guessed[:i]`.

    >>> confirmed([1, 2, 1, 2], [1, 2, 7, 8]), confirmed([1, 2], [1, 2])
    ([1, 2, 7], [1, 2])
    """
    for i, (mine, true) in enumerate(zip(guessed, given, strict=True)):
        if mine != true:
            return [*guessed[:i], true]
    return list(guessed)
