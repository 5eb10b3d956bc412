"""Whether the best setting lies at an end of its grid: then the best of all may lie beyond it, and nobody looked.

Knows values of a grid and what was scored; runs nothing.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any

from lifelong.running.words import ConfigError
from lifelong.studies.candidates import Candidates, Setting, grid_numbers, next_outwards

_EQUAL = 1e-9  # scores that differ by less are one plateau


def edge_warnings(candidates: Candidates, best: Setting, scored: Sequence[tuple[Setting, float]]) -> list[str]:
    """Return a sentence for each option whose best value is the first or last number of its grid: what to add.

    `scored` are the settings that the best one was chosen among, itself included. None for an option of one value or
    of a value that is no number; where the option allows nothing beyond, or nothing that would be another setting on
    this model; and on a plateau: where the best setting and the one with the next value inwards, all else equal,
    scored the same, or, where that one was not tried, all such pairs of others did.
    """
    scores = {candidates.form(setting): score for setting, score in scored}
    here = candidates.form(best)
    found = []
    for key, values in candidates.space.items():
        numbers, now = grid_numbers(values), best.get(key, candidates.defaults[key])
        if len(numbers) < 2 or now not in (numbers[0], numbers[-1]):
            continue
        up = now == numbers[-1]
        inner = numbers[-2] if up else numbers[1]
        at_end = [(s, score) for s, score in scored if s.get(key, candidates.defaults[key]) == now]
        if candidates.form({**best, key: inner}) in scores:
            at_end = [(best, scores[here])]
        twins = [(score, scores.get(candidates.form({**s, key: inner}))) for s, score in at_end]
        gaps = [abs(score - twin) for score, twin in twins if twin is not None]
        if gaps and max(gaps) < _EQUAL:
            continue
        more = _allowed(candidates.form, {**best}, key, numbers, up, here)
        if more is not None:
            which = "largest" if up else "smallest"
            found.append(f"{key}={now} is the {which} value of its grid and the best may lie beyond: add {more}.")
    return found


def _allowed(
    form: Callable[[Mapping[str, Any]], str],
    best: Setting,
    key: str,
    numbers: Sequence[float],
    up: bool,
    here: str,
) -> float | None:
    """Return a number beyond the grid's end that the option takes and that is another setting; None without."""
    end = numbers[-1] if up else numbers[0]
    further = next_outwards(numbers, up=up)
    for more in (further, type(further)((end + further) / 2)):  # half as far, where a bound is near
        try:
            if form({**best, key: more}) != here:
                return more
        except ConfigError:
            continue
    return None
