"""What is measured, by the papers' definitions: which probes a name stands for, and by which scorer.

Knows the columns of the log's facts, and names; no numbers. T-Loc and M-Loc are of questions that have nothing to do
with an edit, as in papers; those that are near to it are *hard locality*, and have names of their own.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

import polars as pl

HARD = ("near", "same-image", "same-subject")
"""Variants of locality that are near to an edit: papers ask none of them."""
MUST, MUST_NOT = ("must", "in-scope"), ("must-not", "out-of-scope")
"""Variants of specificity inside and outside of an edit's scope: the atlas's, and FGVEdit's."""
TOKEN_BY_TOKEN, EXACT = "teacher_forced", "generated"
TOP1_ALL, TOP10 = "locality_top1_all", "locality_top10_all"


@dataclass(frozen=True)
class Measure:
    """The probes of one axis or more (of a modality, of some variants or all but some), and the scorer that is read.

    `scope` says what an edit should do to them: change them (in), leave them alone (out), or neither ('').
    `head` is the head of its column, which says by which convention it is scored where papers differ.
    """

    axis: str | tuple[str, ...]
    scope: Literal["in", "out", ""]
    modality: str | None = None
    only: tuple[str, ...] = ()
    without: tuple[str, ...] = ()
    scorer: str = TOKEN_BY_TOKEN
    head: str = ""

    def rows(self, scorer: str = "") -> pl.Expr:
        """Return which rows of probes it is the mean of; `scorer` stands for its own."""
        axes = (self.axis,) if isinstance(self.axis, str) else self.axis
        chosen = pl.col("axis").is_in(axes) & (pl.col("scorer") == (scorer or self.scorer))
        left = (*self.without, "superseded", "withdrawn")  # edits that were replaced or taken back hold no more
        chosen &= ~pl.col("variant").is_in(left)
        if self.modality is not None:
            chosen &= pl.col("modality") == self.modality
        return chosen & pl.col("variant").is_in(self.only) if self.only else chosen


_TOP1, _EASY = "top-1 on answer tokens: LiveEdit, UniKE", "of all tokens: EasyEdit, VLKEB"
_PICTURE = ("image", "name-to-picture")
_WORDS = ("text-edit/image-similar", "text-edit/image-unrelated", "text-edit/image-none")
_OTHER_WORDS = ("text-similar/image-edit", "text-unrelated/image-edit")
MEASURES = {
    "Rel": Measure("reliability", "in"),
    "T-Gen": Measure("generality", "in", "text"),
    "M-Gen": Measure("generality", "in", "image"),
    "T-Loc": Measure("locality", "out", "text", without=HARD, head=f"T-Loc ({_TOP1})"),
    "M-Loc": Measure("locality", "out", "image", without=HARD, head=f"M-Loc, far ({_TOP1})"),
    "T-Loc all": Measure("locality", "out", "text", without=HARD, scorer=TOP1_ALL, head=f"T-Loc (top-1 {_EASY})"),
    "M-Loc top-10": Measure(
        "locality", "out", "image", without=HARD, scorer=TOP10, head=f"M-Loc, far (ordered top-10 {_EASY})"
    ),
    "near": Measure("locality", "out", "image", ("near",), head="hard locality: near picture"),
    "same image": Measure("locality", "out", "image", ("same-image",), head="hard locality: same image"),
    "near name": Measure("locality", "out", "text", ("near",), head="hard locality: near name"),
    "same name": Measure("locality", "out", "text", ("same-subject",), head="hard locality: same name"),
    "one hop": Measure("portability", "in", without=("image",), head="portability: one hop"),
    "by picture": Measure(("portability", "paired"), "in", only=_PICTURE, head="told by name, asked by picture"),
    "by name": Measure("paired", "in", only=("picture-to-name",), head="told by picture, asked by name"),
    "half name": Measure("paired", "in", only=("both-to-name",), head="told by both, asked by name"),
    "half picture": Measure("paired", "in", only=("both-to-picture",), head="told by both, asked by picture"),
    "conflict": Measure("conflict", "in", head="disputed by the other modality"),
    "must change": Measure("specificity", "in", only=MUST, head="specificity: must change"),
    "must not change": Measure("specificity", "out", only=MUST_NOT, head="specificity: must not"),
    "edit's words": Measure("grid", "out", only=_WORDS, head="grid: the edit's words, another picture"),
    "edit's picture": Measure("grid", "out", only=_OTHER_WORDS, head="grid: other words, the edit's picture"),
    "neither": Measure("grid", "out", without=(*_WORDS, *_OTHER_WORDS), head="grid: other words, another picture"),
    "negation": Measure("negation", "out", head="asked with not: unchanged"),
    "general": Measure("general", "", scorer=EXACT, head="general: agreement with the frozen model"),
    "general NLL": Measure("general", "", scorer="nll", head="general: NLL (nats a token)"),
}
"""Every measure of quality by its name, in the order of columns."""
DRAWN = {
    "reliability (retention)": MEASURES["Rel"],
    "text generality": MEASURES["T-Gen"],
    "modal generality": MEASURES["M-Gen"],
    "portability: one hop": MEASURES["one hop"],
    "text locality: far": MEASURES["T-Loc"],
    "text locality: near": Measure("locality", "out", "text", HARD),
    "modal locality: near": MEASURES["near"],
    "modal locality: same image": MEASURES["same image"],
    "modal locality: far": MEASURES["M-Loc"],
    "specificity: must change": MEASURES["must change"],
    "specificity: must not": MEASURES["must not change"],
    "general: untouched questions, accuracy": MEASURES["general"],
}
"""What the main figure shows, by title. Together with `DRAWN_SCOPE` no probe of an edit is left out."""
DRAWN_SCOPE = {
    "told by both, asked by name": MEASURES["half name"],
    "told by both, asked by picture": MEASURES["half picture"],
    "told by picture, asked by name": MEASURES["by name"],
    "told by name, asked by picture": MEASURES["by picture"],
    "the edit's words, another picture": MEASURES["edit's words"],
    "other words, the edit's picture": MEASURES["edit's picture"],
    "other words, another picture": MEASURES["neither"],
    "asked with a not": MEASURES["negation"],
    "conflict: asked by name": Measure("conflict", "in", only=("by-name",)),
    "conflict: asked by picture": Measure("conflict", "in", only=("by-picture",)),
}
"""Where a scope ends, by title: what an edit does when it is asked another way than it was told."""
IN_SCOPE = tuple(name for name, one in MEASURES.items() if one.scope == "in")


def heading(name: str) -> str:
    """Return the head of a measure's column."""
    return (MEASURES[name].head if name in MEASURES else "") or name
