"""How far budgets on a ladder's models are from those on a published backbone: arithmetic on what runs measured.

An entry of a bank is made of vectors as wide as the decoder's states, or as its feed-forward layers, so its bytes
grow in proportion to the width; a matrix that edits share grows with its square. Knows tables, and sizes of models.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import polars as pl

from reports.numbers.growth import bytes_grown
from reports.numbers.ladder.points import Rung, in_millions

WEIGHT_BYTES = 4
"""Bytes of a number in an editor's state: editors compute in float32."""
LEAST_GROWN = 0.05
"""A bank that grew by less than this share of what it began with is that of an editor whose edits share weights."""


@dataclass(frozen=True)
class Backbone:
    """The size of a model as its paper gives it; `other` are its weights beside the decoder's layers."""

    name: str
    width: int
    inner: int
    layers: int
    other: int
    weight_bytes: int

    @property
    def editable_weights(self) -> int:
        """Numbers in the matrices of its decoder layers: four of attention, three of the feed-forward part."""
        return self.layers * (4 * self.width**2 + 3 * self.width * self.inner)

    @property
    def model_bytes(self) -> int:
        """Bytes of all of its weights."""
        return (self.editable_weights + self.other) * self.weight_bytes


LLAVA_7B = Backbone("LLaVA-1.5-7B", 4096, 11008, 32, 2 * 32_064 * 4096 + 303_500_000 + 20_980_000, 2)
"""Vicuna-7B in half precision, its words in and out, CLIP ViT-L/14-336 and the two-layer projector."""


def budgets(rungs: Sequence[Rung], backbone: Backbone = LLAVA_7B) -> pl.DataFrame:
    """Return one row per editor and model: what it spends an edit here, and what it would on a backbone.

    Of an editor whose bank grows `kind` is `own` and the numbers are bytes that one more edit adds, over the model's
    bytes. Of one that writes into a fixed number of weights it is `shared`, and they are weights an edit after as
    many edits as its last panel has. `here`, `there` (on the backbone) and `ratio` (here over there); `edits`.
    """
    rows: list[dict[str, Any]] = []
    for rung in rungs:
        wider = backbone.width / rung.width if rung.width else math.nan
        for editor in rung.facts.editors:
            panels = rung.facts.gauged.filter(pl.col("editor") == editor).sort("seed", "step")
            if panels.is_empty() or not panels["bank_bytes"].max():
                continue
            last = int(panels["step"].max() or 0)  # pyright: ignore[reportArgumentType]
            grown = [bytes_grown(own["step"].to_numpy(), own["bank_bytes"].to_numpy()) for _, own in
                     panels.group_by("seed", maintain_order=True)]  # fmt: skip
            fixed, slope = (sum(parts) / len(grown) for parts in zip(*grown, strict=True))
            if slope * last > LEAST_GROWN * fixed:
                kind, here = "own", slope / rung.model_bytes
                there = slope * wider / backbone.model_bytes
            else:
                held = float(panels["bank_bytes"].mean())  # pyright: ignore[reportArgumentType]
                kind, here = "shared", held / WEIGHT_BYTES / last
                there = here * wider**2
            rows.append(dict(zip(_SCHEMA, (editor, rung.name, kind, last, here, there, here / there), strict=True)))
    return pl.DataFrame(rows, schema=_SCHEMA)


_SCHEMA: dict[str, Any] = {
    "editor": pl.String, "model": pl.String, "kind": pl.String, "edits": pl.Int64, "here": pl.Float64,
    "there": pl.Float64, "ratio": pl.Float64,
}  # fmt: skip


def budget_sentences(table: pl.DataFrame, backbone: Backbone = LLAVA_7B) -> list[str]:
    """Return what `budgets` comes to in words, one sentence a row.

    >>> row = {"editor": "ft", "model": "", "kind": "shared", "edits": 1000, "here": 180.0, "there": 46080.0,
    ...        "ratio": 180 / 46080}
    >>> print(budget_sentences(pl.DataFrame([row]))[0])
    ft: 180 shared weights an edit after 1,000 edits, 46,080 on LLaVA-1.5-7B: 256 times fewer here.
    """
    out = []
    for row in table.iter_rows(named=True):
        if row["kind"] == "shared":
            said = f"{row['here']:,.0f} shared weights an edit after {row['edits']:,} edits, {row['there']:,.0f}"
        else:
            said = f"one more edit adds {row['here']:.1e} of the model's bytes, {row['there']:.1e}"
        times = f"{row['ratio']:,.0f} times as many" if row["ratio"] >= 1 else f"{1 / row['ratio']:,.0f} times fewer"
        out.append(f"{row['editor']}: {said} on {backbone.name}: {times} here.")
    return out


def backbone_line(rungs: Sequence[Rung], backbone: Backbone = LLAVA_7B) -> str:
    """Return the models' editable weights and bytes beside the backbone's, in one sentence."""
    ours = ", ".join(f"{in_millions(r.editable_weights)} ({r.model_bytes / 1e6:,.1f} MB)" for r in rungs)
    theirs = f"{in_millions(backbone.editable_weights)} ({backbone.model_bytes / 1e9:,.1f} GB)"
    return f"Editable weights, and bytes of all weights: {ours}; {backbone.name}: {theirs}."
