"""The facts of a run that nobody ran, written answer by answer, for tests of what is read off them."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import polars as pl

from lifelong.log.facts import Edited, Gauged, Probed, Served, Timed, table_of
from reports.table import PUT_BACK, TOLD_WORDS, Facts

Answer = tuple[int, int, str, float]
"""The step of a question, the number of its edit, what it is (below) and how it was scored."""
KINDS = {
    "rel": ("reliability", "edit", "image"),
    "t-gen": ("generality", "template", "text"),
    "m-gen": ("generality", "seen", "image"),
    "t-loc": ("locality", "text", "text"),
    "m-loc": ("locality", "far", "image"),
    "near": ("locality", "near", "image"),
    "port": ("portability", "1-hop", "image"),
    "2-hop": ("portability", "2-hop", "image"),
    "in": ("specificity", "in-scope", "image"),
    "out": ("specificity", "out-of-scope", "image"),
    "comp": ("compositional", "comp", "image"),
    "gone": ("reliability", "superseded", "image"),
    "learnt": ("general", "text", "text"),
    "held": ("general", "test", "text"),
}


def probed(step: int, edit: int, kind: str, score: float, scorers: Sequence[str] = (), **more: Any) -> list[Probed]:
    axis, variant, modality = KINDS[kind]
    edit_id = "" if axis == "general" else f"e{edit}"
    outside = axis == "locality" or kind == "out"
    names = ["teacher_forced", "generated"]
    names += ["locality_top1_answer", "locality_top1_all", "locality_top10_all"] if outside else []
    cell = (step, 0.0, f"{kind}{edit}", edit_id, step - edit, axis, variant, modality, "generic")
    return [Probed(*cell, name, score, **more) for name in scorers or names]


def log_of(
    answers: Sequence[Answer | list[Probed]],
    edits: int,
    *,
    back: Sequence[int] = (),
    sources: Mapping[int, str] | None = None,
    banks: Mapping[int, float] | None = None,
    batch: int = 1,
) -> Facts:
    """The facts of one run of `ft`, seed 0, of edits e1, e2, ...; it was put back after the steps `back`."""
    rows = [f for one in answers for f in (one if isinstance(one, list) else probed(*one))]
    made = [Edited(-(-n // batch) * batch, 0.0, f"e{n}", 0.0, 0.0, 0.1, batch) for n in range(1, edits + 1)]

    def frame(kind: type, facts: Sequence[Any]) -> pl.DataFrame:
        table = pl.DataFrame(pl.from_arrow(table_of(kind, facts)))
        return table.with_columns(pl.lit("ft").alias("editor"), pl.lit(0, pl.Int32).alias("seed"))

    banks = {edits: 0.0} if banks is None else banks
    gauged = frame(Gauged, [Gauged(step, 0.0, "bank", "bank_len", n) for step, n in banks.items()])
    restored = pl.DataFrame({"step": list(back), "value": [0.0] * len(back), "editor": "ft", "seed": 0}, PUT_BACK)
    told = [{"step": n, "edit_id": f"e{n}", "source": (sources or {}).get(n, ""), "editor": "ft", "seed": 0}
            for n in range(1, edits + 1)]  # fmt: skip
    return Facts(
        frame(Probed, rows), frame(Edited, made), gauged.rename({"value": "bank_len"}), frame(Timed, []),
        frame(Served, []), pl.DataFrame(), {"ft": "ft"}, told=pl.DataFrame(told, TOLD_WORDS), restored=restored,
    )  # fmt: skip
