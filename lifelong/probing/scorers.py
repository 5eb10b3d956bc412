"""How an answer is scored: token accuracy, exact match, and the published conventions of locality.

Pure functions of token ids and strings. Knows nothing about models, editors, panels or files.
"""

from __future__ import annotations

import unicodedata
from collections.abc import Iterable, Sequence

import numpy as np

from streams.types import Probe

# Part of the name of every cache of scored answers: raise it when any function here or the rules of `baseline`
# change a number.
SCORER_VERSION = 2

TEACHER_FORCED = "teacher_forced"
GENERATED = "generated"
NLL = "nll"
LOCALITY_TOP1_ANSWER = "locality_top1_answer"
LOCALITY_TOP1_ALL = "locality_top1_all"
LOCALITY_TOP10_ALL = "locality_top10_all"
TOP = 10


# What looks alike or is not seen at all, as people, keyboards and programs write it.
_QUOTES = dict.fromkeys(
    "\u2018\u2019\u201a\u201b\u2032\u2035\u2039\u203a\u00b4\u0060\u02b9\u02bb\u02bc\u05f3\uff07", "'"
)
_QUOTES |= dict.fromkeys("\u201c\u201d\u201e\u201f\u2033\u2036\u00ab\u00bb\u05f4\uff02", '"')
_DASHES = dict.fromkeys("\u2010\u2011\u2012\u2013\u2014\u2015\u2212\ufe58\ufe63\uff0d", "-")
_SLASHES = dict.fromkeys("\u2044\u2215", "/")  # NFKC makes 1, a fraction slash and 2 of one half
_FILLERS = "\u034f\u115f\u1160\u17b4\u17b5\u180b\u180c\u180d\u180f\u3164\uffa0"
_SELECTORS = (*map(chr, range(0xFE00, 0xFE10)), *map(chr, range(0xE0100, 0xE01F0)))
_ALIKE = str.maketrans(_QUOTES | _DASHES | _SLASHES | dict.fromkeys((*_FILLERS, *_SELECTORS), ""))


def normalise(text: str) -> str:
    """Return a text as answers are compared: what differs only in how it is typed or stored becomes the same.

    Unicode's compatibility forms (NFKC: full width, ligatures, superscripts, so that m\u00b2 is m2), case, quotation
    marks, apostrophes, dashes and minus signs are folded, invisible characters left out, runs of white space one
    space. Accents, punctuation and the sign of a number stay: -5 is not 5. So do the letters of an emoji flag.

    >>> normalise("  New\u200b   YORK\u2019s "), normalise("\u22125") == normalise("5")
    ("new york's", False)
    """
    before = None
    while text != before:  # what is left out or folded may leave letters that compose
        before, text = text, _folded(text)
    return text


def _folded(text: str) -> str:
    text = unicodedata.normalize("NFKC", text.translate(_ALIKE)).casefold()
    text = unicodedata.normalize("NFKC", text).translate(_ALIKE).replace("i\u0307", "i")  # the dotted capital I
    return " ".join("".join(c for c in text if not _unseen(c)).split())


def _unseen(c: str) -> bool:
    """Whether a character is invisible: joiners, marks of direction, soft hyphens. Tags spell emoji flags."""
    return unicodedata.category(c) == "Cf" and not "\U000e0020" <= c <= "\U000e007f"


def exact_match(answer: str, accepted: Iterable[str]) -> float:
    """Return 1.0 when an answer equals any accepted one after `normalise`, else 0.0.

    >>> exact_match("Paris ", ("paris", "city of light"))
    1.0
    """
    given = normalise(answer)
    return float(any(given == normalise(a) for a in accepted))


def line_match(answer: str, accepted: Iterable[str]) -> float:
    """Return 1.0 when an answer says an accepted one; what it says after as many lines as that has does not count.

    >>> line_match("Paris\\nLyon", ["Paris"]), line_match("Paris", ["Paris\\nLyon"])
    (1.0, 0.0)
    """
    lines = answer.split("\n")
    return max((exact_match("\n".join(lines[: a.rstrip().count("\n") + 1]), (a,)) for a in accepted), default=0.0)


def agreement(answer: str, baseline: str) -> float:
    """Return 1.0 when an answer equals the frozen model's after `normalise`, else 0.0."""
    return float(normalise(answer) == normalise(baseline))


def token_accuracy(target_ids: np.ndarray, argmax_ids: np.ndarray) -> float:
    """Return the share of target tokens that are the most likely ones under teacher forcing.

    Both (tokens,); the caller leaves the end token out. An empty target counts as right. Raises `ValueError` for
    different lengths.
    """
    return _share(np.asarray(target_ids), np.asarray(argmax_ids), "target and argmax ids")


def locality_top1_answer(before: np.ndarray, after: np.ndarray) -> float:
    """Return the share of answer positions whose most likely token is the frozen model's (LiveEdit, UniKE).

    Both (tokens,): argmax ids at the answer's positions, end token left out by the caller.
    """
    return _share(np.asarray(before), np.asarray(after), "argmax ids before and after")


def locality_top_all(before: np.ndarray, after: np.ndarray, k: int) -> float:
    """Return the share of equal entries of the ordered top-k lists over all positions (EasyEdit, VLKEB).

    Both (positions, at least k): ids in order of decreasing logit. Sequences of different length are aligned at
    their end and cut to the shorter one. Raises `ValueError` when fewer than k ids are kept per position.
    """
    before, after = np.asarray(before), np.asarray(after)
    for name, ids in (("before", before), ("after", after)):
        if ids.ndim != 2 or ids.shape[1] < k:
            raise ValueError(f"top ids {name} have shape {ids.shape}, expected (positions, at least {k}).")
    positions = min(len(before), len(after))
    if positions == 0:
        return 1.0
    return float(np.mean(before[-positions:, :k] == after[-positions:, :k]))


def nll(logprobs: np.ndarray) -> float:
    """Return the mean negative log-probability of the target's tokens, the end token included, in nats."""
    return float(-np.mean(np.asarray(logprobs, dtype=np.float64))) if len(logprobs) else 0.0


def followed(target_ids: Sequence[int] | np.ndarray, argmax_ids: Sequence[int] | np.ndarray) -> list[int]:
    """Return the tokens of a target, its end token included, that greedy decoding must pick too.

    Position i of teacher forcing sees the same prefix as step i of decoding as long as all earlier argmaxes equal
    the target, so by induction these need not be decoded.
    """
    target = np.asarray(target_ids)
    differs = np.flatnonzero(target != np.asarray(argmax_ids))
    return target[: differs[0] if len(differs) else None].tolist()


def _share(a: np.ndarray, b: np.ndarray, what: str) -> float:
    if a.shape != b.shape:
        raise ValueError(f"{what} have shapes {a.shape} and {b.shape}; they must be of one and the same target.")
    return float(np.mean(a == b)) if a.size else 1.0


def wanted_top(probe: Probe) -> int:
    """Return how many ordered top ids a probe's published scorers need (10 where locality is compared, else 0)."""
    return TOP if probe.reference == "baseline" and probe.axis in ("locality", "specificity") else 0
