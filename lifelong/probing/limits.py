"""How long a decoded answer may be, and which records a model cannot be asked at all: said before anything is asked.

The one place where both are decided, for runs, single edits and questions. Knows probes, and models by what they say.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

from streams.text import printable
from streams.types import Probe

if TYPE_CHECKING:
    from lifelong.models.vlm import VLM

FEWEST_TOKENS, MOST_TOKENS = 16, 1024  # tokens that an answer may have, whatever the targets
_LISTED = 20
_SHOWN = 40  # characters of a question


class UnaskableError(ValueError):
    """Some records cannot be asked; the message is one line that names them and says why and what to do."""


@dataclass(frozen=True)
class AnswerLimit:
    """What ends a decoded answer that meets no end token: so many tokens, or the newline after so many lines."""

    tokens: int = FEWEST_TOKENS
    lines: int = 1


def answer_limit(vlm: VLM, probes: Iterable[Probe]) -> AnswerLimit:
    """Return the limit for a stream's probes, one for all of them.

    Twice the longest target's tokens, every accepted answer in full, 16 at least and 1,024 at most; and as many lines
    as the target or accepted answer with the most of them. Raises `UnreadableTextError` for a target without tokens.
    """
    probes = list(probes)
    targets = {p.target for p in probes}
    others = {a for p in probes for a in p.accepted} - targets
    longest = [2 * len(vlm.target_ids(t)) for t in sorted(targets)]
    longest += [len(vlm.target_ids(t)) for t in sorted(others) if t.strip()]
    tokens = min(MOST_TOKENS, max([FEWEST_TOKENS, *longest]))
    return AnswerLimit(tokens, max([1, *map(line_count, targets | others)]))


def line_count(text: str) -> int:
    """Return how many lines an answer has; those that are empty at its end do not count.

    >>> line_count("Paris"), line_count("Anna\\nBert\\n")
    (1, 2)
    """
    return text.rstrip().count("\n") + 1


def check_askable(vlm: VLM, probes: Sequence[Probe], *, pictures: bool = True) -> None:
    """Raise `UnaskableError` naming every record whose question or answer this model cannot take.

    A question with its target longer than the model's context, an answer longer than any is decoded, a text that the
    tokenizer cannot read as text. Without `pictures` none is opened: each counts as one token.
    """
    found: dict[tuple[str, str], str] = {}
    why = vlm.unaskable([(p.query, p.target) for p in probes], pictures=pictures)
    for probe, reason in zip(probes, why, strict=True):
        reason = reason or _too_long(vlm, probe)
        if reason:
            name = f"edit {printable(probe.edit_id)}" if probe.edit_id else "a general question"
            shown = printable(probe.query.prompt)
            shown = shown if len(shown) <= _SHOWN else shown[:_SHOWN] + "..."
            found.setdefault((name, probe.query.digest), f"{name}, {probe.axis} {shown!r}: {reason}")
    if found:
        listed = list(found.values())[:_LISTED]
        listed += [f"and {len(found) - _LISTED} more"] if len(found) > _LISTED else []
        count = "1 question" if len(found) == 1 else f"{len(found)} questions"
        raise UnaskableError(
            f"model={printable(vlm.name)}: {count} cannot be asked: {'; '.join(listed)}."
            " Shorten or leave out these records, or take another model."
        )


def _too_long(vlm: VLM, probe: Probe) -> str:
    for answer in probe.answers:
        # A token has at least one character, so that short texts need not be counted.
        if len(answer.encode("utf-8", "replace")) > MOST_TOKENS and (n := len(vlm.target_ids(answer))) > MOST_TOKENS:
            return f"an answer of {n:,} tokens, decoding ends after {MOST_TOKENS:,}"
    return ""
