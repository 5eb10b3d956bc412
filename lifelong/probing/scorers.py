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
SCORER_VERSION = 1

TEACHER_FORCED = "teacher_forced"
GENERATED = "generated"
NLL = "nll"
LOCALITY_TOP1_ANSWER = "locality_top1_answer"
LOCALITY_TOP1_ALL = "locality_top1_all"
LOCALITY_TOP10_ALL = "locality_top10_all"
TOP = 10


def normalise(text: str) -> str:
    """Return a text as answers are compared: NFC, stripped, case folded, runs of white space as one space.

    >>> normalise("  New   YORK ")
    'new york'
    """
    return " ".join(unicodedata.normalize("NFC", unicodedata.normalize("NFC", text).casefold()).split())


def exact_match(answer: str, accepted: Iterable[str]) -> float:
    """Return 1.0 when an answer equals any accepted one after `normalise`, else 0.0.

    >>> exact_match("Paris ", ("paris", "city of light"))
    1.0
    """
    given = normalise(answer)
    return float(any(given == normalise(a) for a in accepted))


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


def decoding_follows(
    target: str, target_ids: Sequence[int] | np.ndarray, argmax_ids: Sequence[int] | np.ndarray
) -> bool:
    """Return whether greedy decoding must give `target`: every argmax, the end token included, is the target's.

    Position i of teacher forcing sees the same prefix as step i of decoding as long as all earlier argmaxes equal
    the target, so by induction nothing has to be decoded. A target with a newline is excluded: decoding stops there.
    """
    return "\n" not in target and np.array_equal(np.asarray(target_ids), np.asarray(argmax_ids))


def _share(a: np.ndarray, b: np.ndarray, what: str) -> float:
    if a.shape != b.shape:
        raise ValueError(f"{what} have shapes {a.shape} and {b.shape}; they must be of one and the same target.")
    return float(np.mean(a == b)) if a.size else 1.0


def wanted_top(probe: Probe) -> int:
    """Return how many ordered top ids a probe's published scorers need (10 where locality is compared, else 0)."""
    return TOP if probe.reference == "baseline" and probe.axis in ("locality", "specificity") else 0
