"""What papers say happens to editors in a long stream, and whether the runs of a report agree.

Knows fact tables and the papers' claims as bounds on numbers; draws nothing. A claim about editors that a report has
no run of is left out. A verdict needs what the claim is about: so many edits, a model and a stream that mean
something, and an editor that learnt at all. Agreement is a statement about these runs, not a test of them.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass

import polars as pl

from reports.numbers import metrics
from reports.numbers.seeds import over_seeds
from reports.numbers.summary import at_the_end
from reports.table import Facts, RunInfo

AGREES, DIFFERS = "agrees", "does not agree"
MADE_UP = {"model": "tiny", "stream": "toy"}
"""A model of random numbers, and a stream of made-up questions: no paper says anything about either."""
QUALITIES: tuple[tuple[str, str | None], ...] = (
    ("reliability", None),
    ("generality", "text"),
    ("generality", "image"),
    ("locality", "text"),
    ("locality", "image"),
)


@dataclass(frozen=True)
class Claim:
    """A published behaviour: what is expected of an editor, from where, how it is read.

    `edits` is how many it is about. One without (0) is true by definition, of any model and stream.
    """

    editor: str
    expected: str
    source: str
    read: Callable[[Numbers], tuple[str, bool]]
    beside: str = ""  # another editor that it is compared with
    edits: int = 1000


@dataclass(frozen=True)
class CheckedClaim:
    """A claim and what the runs say: the numbers in words, and `AGREES`, `DIFFERS`, or why neither can be told."""

    editor: str
    expected: str
    source: str
    numbers: str
    verdict: str


class Numbers:
    """What claims read of one editor: means within and then over seeds, at the end or right after each edit.

    Not a number where something was not asked.
    """

    def __init__(self, facts: Facts, editor: str, others: Sequence[str]) -> None:
        self.editor, self.others, self._facts = editor, tuple(others), facts
        rows = facts.probed.filter(pl.col("editor") == editor)
        gauges = facts.gauged.filter(pl.col("editor") == editor)
        self._rows = metrics.panel_rows(rows, gauges)
        self._last = at_the_end(self._rows, gauges)
        self._instant = metrics.instant_rows(rows)
        self.edits = int(gauges.group_by("seed").agg(pl.col("step").max())["step"].min() or 0)  # pyright: ignore[reportArgumentType]
        self.panels = gauges["step"].n_unique()
        self.collapsed = facts.edited.filter(editor=editor, outcome="not finite").height

    def of(self, editor: str) -> Numbers:
        """Return the numbers of another editor, by its label or its name."""
        label = next(x for x in self.others if editor in (x, self._facts.names.get(x, x)))
        return Numbers(self._facts, label, [*self.others, self.editor])

    def last(self, axis: str, modality: str | None = None, scorer: str = "teacher_forced") -> float:
        """Return the mean at the last panel."""
        return _mean(self._last, axis, modality, scorer)

    def at_once(self) -> float:
        """Return the share of edits that were answered right (generated) as soon as they were visible."""
        return _mean(self._instant, "reliability", None, "generated")

    def kept(self) -> float:
        """Return the share of edits that are answered right (generated) at the last panel."""
        return self.last("reliability", scorer="generated")

    def answers_moved(self) -> int:
        """Return how many probes have a score that is not the same at all panels."""
        spread = self._rows.group_by("seed", "probe_id", "scorer").agg(pl.col("score").n_unique().alias("values"))
        return int((spread["values"] > 1).sum())


def _mean(rows: pl.DataFrame, axis: str, modality: str | None, scorer: str) -> float:
    chosen = metrics.HOLDS & (pl.col("axis") == axis) & (pl.col("scorer") == scorer)
    chosen = chosen if modality is None else chosen & (pl.col("modality") == modality)
    return over_seeds(rows.filter(chosen), lambda part: float(part["score"].mean()))["mean"]  # pyright: ignore[reportArgumentType]


def _forgets(n: Numbers) -> tuple[str, bool]:
    words = f"right at once {n.at_once():.2f}, kept {n.kept():.2f}, {n.collapsed} not finite"
    return words, n.kept() < 0.8 * n.at_once() or n.collapsed > 0 or n.at_once() < 0.2


def _memorises(n: Numbers) -> tuple[str, bool]:
    base = n.of("none")
    gains = [n.last("generality", m) - base.last("generality", m) for m in ("text", "image")]
    words = f"kept {n.kept():.2f}; generality above the unedited model's: text {gains[0]:+.2f}, modal {gains[1]:+.2f}"
    return words, n.kept() > 0.9 and max(gains) < 0.15


def _blind(n: Numbers) -> tuple[str, bool]:
    own, sees = n.last("locality", "image"), n.of("liveedit").last("locality", "image")
    return f"modal locality {own:.2f}, liveedit's {sees:.2f}", own < sees - 0.05


def _dilutes(n: Numbers) -> tuple[str, bool]:
    return f"right at once {n.at_once():.2f}, kept {n.kept():.2f}", n.kept() < 0.8 * n.at_once()


def _flat(n: Numbers) -> tuple[str, bool]:
    # The same edits at both times: means over growing numbers of edits differ by which edits there are.
    return f"right at once {n.at_once():.3f}, kept {n.kept():.3f}", n.kept() >= n.at_once() - 0.03


def _above_all(n: Numbers) -> tuple[str, bool]:
    asked = [q for q in QUALITIES if not math.isnan(n.last(*q))]
    worst, best = min((n.last(*q) for q in asked), default=math.nan), []
    for other in n.others:
        best += [other for q in asked if n.of(other).last(*q) > n.last(*q) + 1e-9]
    words = f"lowest of its {len(asked)} of five metrics {worst:.3f}"
    return words + (f"; surpassed by {', '.join(dict.fromkeys(best))}" if best else "; surpassed by none"), not best


def _never_moves(n: Numbers) -> tuple[str, bool]:
    return f"{n.answers_moved()} probes whose score ever changed", n.answers_moved() == 0


CLAIMS = (
    Claim("none", "is exactly flat", "by definition", _never_moves, edits=0),
    Claim("oracle", "is above all in the five metrics", "by definition", _above_all, edits=0),
    Claim("ft", "forgets or collapses within 1,000 edits", "2411.15432, table 1", _forgets),
    Claim("mend", "forgets or collapses within 1,000 edits", "2411.15432, table 1", _forgets),
    Claim("grace", "keeps its edits, generality near the unedited model's", "2406.20030", _memorises, "none"),
    Claim("serac", "routes by text: loses modal locality", "2310.08475, table 2", _blind, "liveedit", edits=100),
    Claim("lte", "routes by text: loses modal locality", "2411.15432, table 1", _blind, "liveedit"),
    Claim("recipe", "routes by text: loses modal locality", "2411.15432, table 1", _blind, "liveedit"),
    Claim("lemoe", "dilutes: many experts share a softmax", "2411.15432, table 1", _dilutes),
    Claim("liveedit", "stays flat to 1,000 edits", "2411.15432, table 1", _flat),
)


def expected(facts: Facts, runs: Sequence[RunInfo]) -> list[CheckedClaim]:
    """Return every claim about an editor that the report has, with what its runs say.

    Of several labels of one editor each is held to its claims.
    """
    out = []
    names = {label: facts.names.get(label, label) for label in facts.editors}
    for claim in CLAIMS:
        for label in [x for x, name in names.items() if name == claim.editor]:
            others = [x for x in facts.editors if x != label and _on(runs, x) == _on(runs, label)]
            if claim.beside and claim.beside not in [names[x] for x in others]:
                continue
            numbers = Numbers(facts, label, others)
            words, agrees = claim.read(numbers)
            untold = _untold(claim, numbers, words, [r for r in runs if r.editor == label])
            verdict = untold or (AGREES if agrees else DIFFERS)
            out.append(CheckedClaim(label, claim.expected, claim.source, words, verdict))
    return out


def _on(runs: Sequence[RunInfo], label: str) -> set[tuple[str, ...]]:
    """Return which models and streams the runs of a label are about: only equal ones are compared."""
    mine = (r for r in runs if r.editor == label)
    return {(r.model, r.made.get("digest.model", ""), r.stream, r.made.get("stream.path", "")) for r in mine}


def _untold(claim: Claim, n: Numbers, words: str, runs: Sequence[RunInfo]) -> str:
    """Return why runs cannot tell whether a claim holds, '' where they can."""
    if not claim.edits:
        return "too few panels to tell (1)" if claim.read is _never_moves and n.panels < 2 else ""
    for what, name in MADE_UP.items():
        if any(getattr(run, what) == name for run in runs):
            return f"cannot tell: {what} {name} is made up"
    if n.edits < claim.edits:
        return f"too few edits to tell ({n.edits:,} of {claim.edits:,})"
    if "nan" in words:
        return "not asked"
    if n.at_once() == 0 or (math.isnan(n.at_once()) and n.kept() == 0):
        return "cannot tell: no edit was ever right at once"
    if claim.beside and n.of(claim.beside).edits != n.edits:
        return f"cannot tell: {claim.beside} made {n.of(claim.beside).edits:,} edits"
    return ""
