"""What papers say happens to editors in a long stream, and whether the runs of a report agree.

Knows fact tables and the papers' claims as numbers; draws nothing. A claim says what number a paper has, and what it
would be if the claim were wrong: runs agree that are nearer to the first. A claim about editors that a report has no
run of is left out, and one about more edits than were made is not tested. Agreement is a statement about these runs.
"""

from __future__ import annotations

import math
import re
from collections.abc import Callable, Sequence
from dataclasses import dataclass

import polars as pl

from reports.numbers import metrics
from reports.numbers.axes import EXACT, MEASURES
from reports.numbers.gains import LOCALITY, SUCCESS, gain
from reports.numbers.published import published_number
from reports.numbers.summary import at_the_end
from reports.statistics.curves import mean_score
from reports.statistics.seeds import over_seeds
from reports.table import Facts, RunInfo

AGREES, DIFFERS = "agrees", "does not agree"
MADE_UP = {"model": "tiny", "stream": "toy"}
"""A model of random numbers, and a stream of made-up questions: no paper says anything about either."""
_LONG = 1000  # edits of the published tables that claims are about


@dataclass(frozen=True)
class Claim:
    """A published behaviour: of what editor, from where, and how it is read (words and a number; `Numbers` in).

    `published` is the number of the paper and `otherwise` what it is where the claim is wrong; half-way between the
    two is the bound. `edits` is how many it is about; one without (0) is true by definition, of any model and stream.
    """

    editor: str
    expected: str
    source: str
    read: Callable[[Numbers], tuple[str, float]]
    published: float
    otherwise: float
    beside: str = ""  # another editor that it is compared with
    edits: int = _LONG

    def holds(self, value: float) -> bool:
        """Whether a number is on the paper's side of half-way."""
        return (value - (self.published + self.otherwise) / 2) * (self.published - self.otherwise) > 0


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

    Teacher forced, as in the papers' tables. Not a number where something was not asked.
    """

    def __init__(self, facts: Facts, editor: str, others: Sequence[str]) -> None:
        self.editor, self.others, self._facts = editor, tuple(others), facts
        rows = facts.probed.filter(pl.col("editor") == editor)
        gauges = facts.gauged.filter(pl.col("editor") == editor)
        self._rows = metrics.panels_of(facts).filter(pl.col("editor") == editor)
        self._last = at_the_end(self._rows, gauges)
        self._instant = metrics.instant_rows(rows)
        self.edits = int(gauges.group_by("seed").agg(pl.col("step").max())["step"].min() or 0)  # pyright: ignore[reportArgumentType]
        self.panels = gauges["step"].n_unique()

    def of(self, editor: str) -> Numbers:
        """Return the numbers of another editor, by its label or its name: of several settings of the like one."""
        labels = [x for x in self.others if editor in (x, self._facts.names.get(x, x))]
        label = max(labels, key=lambda x: len(_settings(x) & _settings(self.editor)))  # of equal ones the first
        return Numbers(self._facts, label, [*self.others, self.editor])

    def last(self, measure: str) -> float:
        """Return the mean of a measure at the last panel."""
        return over_seeds(self._last.filter(MEASURES[measure].rows()), mean_score)["mean"]

    def at_once(self) -> float:
        """Return the reliability of edits as soon as they were visible."""
        return over_seeds(self._instant.filter(MEASURES["Rel"].rows()), mean_score)["mean"]

    def right_at_once(self) -> float:
        """Return the share of edits that were answered exactly right as soon as they were visible."""
        return over_seeds(self._instant.filter(MEASURES["Rel"].rows(EXACT)), mean_score)["mean"]

    def kept(self) -> float:
        """Return the share of its reliability at once that an editor has left at the last panel."""
        once = self.at_once()
        return self.last("Rel") / once if once > 0 else math.nan

    def answers_moved(self) -> int:
        """Return how many probes have a score that is not the same at all panels."""
        spread = self._rows.group_by("seed", "probe_id", "scorer").agg(pl.col("score").n_unique().alias("values"))
        return int((spread["values"] > 1).sum())


def _settings(label: str) -> set[str]:
    """Return which named settings a label tells of: published, tuned, both or none."""
    found = re.search(r" \(([a-z, ]+)\)", label)
    return set(found[1].split(", ")) if found else set()


def _keeps(n: Numbers) -> tuple[str, float]:
    # The same edits at both times: means over growing numbers of edits differ by which edits there are.
    return f"right at once {n.at_once():.3f}, left of it at the end {n.kept():.3f}", n.kept()


def _generalises(n: Numbers) -> tuple[str, float]:
    base = n.of("none")
    own, *others = (gain(n.last(name), base.last(name)) for name in SUCCESS)
    share = sum(others) / len(others) / own if own > 0 else math.nan
    words = f"gain above the unedited model: edits {own:.2f}, text {others[0]:.2f}, modal {others[1]:.2f}"
    return f"{words}; rephrased to edits {share:.2f}", share


def _sees(n: Numbers) -> tuple[str, float]:
    own, other = n.last("M-Loc"), n.of("liveedit").last("M-Loc")
    return f"M-Loc {own:.2f}, liveedit's {other:.2f}", own - other


def _above_all(n: Numbers) -> tuple[str, float]:
    five = (*SUCCESS, *LOCALITY)
    asked = [q for q in five if not math.isnan(n.last(q))]
    worst, best = min((n.last(q) for q in asked), default=math.nan), []
    for other in n.others:
        best += [other for q in asked if n.of(other).last(q) > n.last(q) + 1e-9]
    words = f"lowest of its {len(asked)} of five metrics {worst:.3f}"
    words += f"; surpassed by {', '.join(dict.fromkeys(best))}" if best else "; surpassed by none"
    return words, float(not best)


def _never_moves(n: Numbers) -> tuple[str, float]:
    moved = n.answers_moved()
    return f"{moved} probes whose score ever changed", float(moved == 0)


def _left(editor: str) -> float:
    """Return what a published editor has left, after 1,000 edits, of its reliability after one."""
    return published_number(editor, "Rel", _LONG) / published_number(editor, "Rel", 1)


def _behind(editor: str) -> float:
    """Return how far a published editor's M-Loc is behind LiveEdit's after 1,000 edits."""
    return published_number(editor, "M-Loc", _LONG) - published_number("liveedit", "M-Loc", _LONG)


_TABLE = "2411.15432, table 1 (LLaVA, E-VQA)"
CLAIMS = (
    Claim("none", "is exactly flat", "by definition", _never_moves, 1, 0, edits=0),
    Claim("oracle", "is above all in the five metrics", "by definition", _above_all, 1, 0, edits=0),
    Claim("ft", "forgets within 1,000 edits", _TABLE, _keeps, _left("ft"), 1),
    Claim("mend", "collapses within 1,000 edits", _TABLE, _keeps, _left("mend"), 1),
    Claim("lemoe", "dilutes: many experts share a softmax", _TABLE, _keeps, _left("lemoe"), 1),
    # Flat: nearer to LiveEdit's own loss than to that of the next flattest of the table.
    Claim("liveedit", "stays flat to 1,000 edits", _TABLE, _keeps, _left("liveedit"), _left("serac")),
    # In words only there: edits as if rephrasings gained nothing, against as much as the edits do.
    Claim("grace", "memorises: rephrased, little is gained", "2211.11031, 2406.20030", _generalises, 0, 1, "none"),
    Claim("serac", "routes by text: loses modal locality", _TABLE, _sees, _behind("serac"), 0, "liveedit"),
    Claim("lte", "routes by text: loses modal locality", _TABLE, _sees, _behind("lte"), 0, "liveedit"),
    Claim("recipe", "routes by text: loses modal locality", _TABLE, _sees, _behind("recipe"), 0, "liveedit"),
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
            words, value = claim.read(numbers)
            untold = _untold(claim, numbers, value, [r for r in runs if r.editor == label])
            verdict = untold or (AGREES if claim.holds(value) else DIFFERS)
            if claim.edits:
                words += f" (published {claim.published:.2f}, if wrong {claim.otherwise:.2f})"
            out.append(CheckedClaim(label, claim.expected, claim.source, words, verdict))
    return out


def _on(runs: Sequence[RunInfo], label: str) -> set[tuple[tuple[str, str], ...]]:
    """Return which models and streams the runs of a label are about: only equal ones are compared."""
    return {r.ground for r in runs if r.editor == label}


def _untold(claim: Claim, n: Numbers, value: float, runs: Sequence[RunInfo]) -> str:
    """Return why runs cannot tell whether a claim holds, '' where they can."""
    if not claim.edits:
        return "not tested: 1 panel" if claim.read is _never_moves and n.panels < 2 else ""
    for what, name in MADE_UP.items():
        if any(getattr(run, what) == name for run in runs):
            return f"not tested: {what} {name} is made up"
    if n.edits < claim.edits:
        return f"not tested: {n.edits:,} of {claim.edits:,} edits"
    if n.right_at_once() == 0:
        return "cannot tell: no edit was ever right at once"
    if claim.beside and n.of(claim.beside).edits != n.edits:
        return f"not tested: {claim.beside} made {n.of(claim.beside).edits:,} edits"
    if math.isnan(value):
        return "not asked"
    return ""
