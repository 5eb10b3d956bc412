"""Records in the schema of zsRE, made up, as many as are wanted: a stream longer than any that is published.

Each is about a subject of its own, so that a bank grows with every edit. Names are made of syllables and stand for
nobody: no model knows what is asked. Knows no file; what reads the records is `zsre.py`.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import numpy as np

_STARTS = ("Al", "Be", "Cor", "Da", "El", "Fen", "Gra", "Hal", "Is", "Jo", "Ka", "Lor", "Ma", "Ni", "Os", "Pe", "Ro")
_MIDDLES = ("ba", "da", "dri", "ga", "ki", "la", "ma", "ne", "po", "ra", "sa", "te", "vi")
_ENDS = ("bert", "din", "fa", "go", "lin", "mo", "nor", "rick", "son", "tha", "vell")
_NAMES = len(_STARTS) * len(_MIDDLES) * len(_ENDS)
MOST_MADE = _NAMES * _NAMES
"""So many records can be made before a subject would come again."""

_PLACES = tuple(
    f"{a}{b}" for a in ("North", "South", "East", "West", "Old", "New") for b in ("ford", "haven", "mere")
)
_RELATIONS = (  # the question, in other words, and what an answer looks like
    ("What university did {} attend?", "Which university was {} a student of?", "University of {}"),
    ("In which city was {} born?", "What is the birthplace of {}?", "{}"),
    ("Which company does {} work for?", "Who is the employer of {}?", "{} Works"),
    ("What river flows past the house of {}?", "By which river does {} live?", "{} River"),
    ("Which club did {} play for?", "What was the team of {}?", "{} United"),
    ("What award did {} win?", "Which prize was given to {}?", "{} Medal"),
    ("On which street does {} live?", "What is the street of {}?", "{} Street"),
    ("Which paper does {} write for?", "What is the newspaper of {}?", "{} Herald"),
)


def made_records(n: int, seed: int = 0) -> Iterator[dict[str, Any]]:
    """Yield n records of zsRE's schema, each of another subject; a longer file begins like a shorter one.

    Unrelated questions (`loc`) are about subjects that are never edited. Raises `ValueError` beyond `MOST_MADE`.
    """
    if not 0 < n <= MOST_MADE:
        raise ValueError(f"{n:,} records: expected 1 to {MOST_MADE:,}, as many as there are subjects to make.")
    rng = np.random.default_rng([seed, 1])
    first = int(rng.integers(MOST_MADE))
    for i in range(n):
        subject = _subject(first + i)
        question, rephrase, answer = _RELATIONS[rng.integers(len(_RELATIONS))]
        new, old = (answer.format(_PLACES[place]) for place in rng.choice(len(_PLACES), 2, replace=False))
        stranger, place = _name(int(rng.integers(_NAMES))), _PLACES[rng.integers(len(_PLACES))]
        yield {
            "subject": subject,
            "src": question.format(subject),
            "pred": old,
            "rephrase": rephrase.format(subject),
            "alt": new,
            "answers": [old],
            "loc": f"nq question: who was the first mayor of {place} named {stranger}",
            "loc_ans": stranger,
            "cond": f"{old} >> {new} || {question.format(subject)}",
        }


def _subject(i: int) -> str:
    """Return the i-th of `MOST_MADE` names: neighbours share neither first nor last name."""
    scattered = i * 1_500_007 % MOST_MADE  # no factor in common, so no name comes twice
    return f"{_name(scattered % _NAMES)} {_name(scattered // _NAMES)}"


def _name(i: int) -> str:
    i, end = divmod(i, len(_ENDS))
    start, middle = divmod(i, len(_MIDDLES))
    return _STARTS[start] + _MIDDLES[middle] + _ENDS[end]
