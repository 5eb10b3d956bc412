"""What papers say happens to editors in a long stream, and whether the runs of a report agree.

Knows fact tables and the papers' claims as bounds on numbers; draws nothing. A claim about editors that a report has
no run of is left out. Agreement is a statement about these runs, not a test of them.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import polars as pl

from reports.numbers import metrics
from reports.table import Facts

QUALITIES: tuple[tuple[str, str | None], ...] = (
    ("reliability", None),
    ("generality", "text"),
    ("generality", "image"),
    ("locality", "text"),
    ("locality", "image"),
)


@dataclass(frozen=True)
class Claim:
    """A published behaviour: what is expected of an editor (a label's first word), from where, how it is read."""

    editor: str
    expected: str
    source: str
    read: Callable[[Numbers], tuple[str, bool]]
    beside: str = ""  # another editor that it is compared with


@dataclass(frozen=True)
class CheckedClaim:
    """A claim and what the runs say: the numbers in words, and whether they agree."""

    editor: str
    expected: str
    source: str
    numbers: str
    agrees: bool


class Numbers:
    """What claims read of one editor: means over all seeds by axis and modality, at the end or anywhere before."""

    def __init__(self, facts: Facts, editor: str, others: Sequence[str]) -> None:
        self.editor, self.others, self._facts = editor, tuple(others), facts
        rows = facts.probed.filter(pl.col("editor") == editor)
        self._rows = metrics.panel_rows(rows, facts.gauged.filter(pl.col("editor") == editor))
        self._instant = metrics.instant_rows(rows)
        self.collapsed = int(facts.edited.filter(pl.col("editor") == editor)["collapsed"].sum())

    def of(self, editor: str) -> Numbers:
        """Return the numbers of another editor, by its label or the first word of one."""
        label = next(x for x in self.others if editor in (x, x.split()[0]))
        return Numbers(self._facts, label, self.others)

    def last(self, axis: str, modality: str | None = None, scorer: str = "teacher_forced") -> float:
        """Return the mean at the last panel."""
        last = self._rows.filter(pl.col("step") == pl.col("step").max().over("seed"))
        return _mean(last, axis, modality, scorer)

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


def _chosen(axis: str, modality: str | None, scorer: str) -> pl.Expr:
    chosen = metrics.HOLDS & (pl.col("axis") == axis) & (pl.col("scorer") == scorer)
    return chosen if modality is None else chosen & (pl.col("modality") == modality)


def _mean(rows: pl.DataFrame, axis: str, modality: str | None, scorer: str) -> float:
    return float(rows.filter(_chosen(axis, modality, scorer))["score"].mean() or 0.0)  # pyright: ignore[reportArgumentType]


def _forgets(n: Numbers) -> tuple[str, bool]:
    words = f"right at once {n.at_once():.2f}, kept {n.kept():.2f}, {n.collapsed} collapsed"
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
    worst, best = min(n.last(*q) for q in QUALITIES), []
    for other in n.others:
        best += [other for q in QUALITIES if n.of(other).last(*q) > n.last(*q) + 1e-9]
    words = f"lowest of its five metrics {worst:.3f}"
    return words + (f"; surpassed by {', '.join(dict.fromkeys(best))}" if best else "; surpassed by none"), not best


def _never_moves(n: Numbers) -> tuple[str, bool]:
    return f"{n.answers_moved()} probes whose score ever changed", n.answers_moved() == 0


CLAIMS = (
    Claim("none", "is exactly flat", "by definition", _never_moves),
    Claim("oracle", "is above all in the five metrics", "by definition", _above_all),
    Claim("ft", "forgets or collapses within 1,000 edits", "2411.15432, table 1", _forgets),
    Claim("mend", "forgets or collapses within 1,000 edits", "2411.15432, table 1", _forgets),
    Claim("grace", "keeps its edits, generality near the unedited model's", "2406.20030", _memorises, "none"),
    Claim("serac", "routes by text: loses modal locality", "2310.08475, table 2", _blind, "liveedit"),
    Claim("lte", "routes by text: loses modal locality", "2411.15432, table 1", _blind, "liveedit"),
    Claim("recipe", "routes by text: loses modal locality", "2411.15432, table 1", _blind, "liveedit"),
    Claim("lemoe", "dilutes: many experts share a softmax", "2411.15432, table 1", _dilutes),
    Claim("liveedit", "stays flat to 1,000 edits", "2411.15432, table 1", _flat),
)


def expected(facts: Facts) -> list[CheckedClaim]:
    """Return every claim about an editor that the report has, with what its runs say.

    Labels begin with an editor's name; of several labels of one editor each is held to its claims.
    """
    out = []
    names = {label: label.split()[0] for label in facts.editors}
    for claim in CLAIMS:
        if claim.beside and claim.beside not in names.values():
            continue
        for label in [x for x, name in names.items() if name == claim.editor]:
            others = [x for x in facts.editors if x != label]
            words, agrees = claim.read(Numbers(facts, label, others))
            out.append(CheckedClaim(label, claim.expected, claim.source, words, agrees))
    return out
