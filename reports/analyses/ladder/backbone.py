"""How far budgets on a ladder's models are from those on a published backbone: what runs measured, scaled by width.

What an editor keeps grows with the width of a model: entries of vectors in proportion, whole matrices as its square.
Which one it is the ladder's own models tell. Knows facts, and sizes of models.
"""

from __future__ import annotations

import itertools
import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import polars as pl

from reports.analyses.ladder.points import Rung, in_millions

NUMBER_BYTES = 4
"""Bytes of a number that an editor keeps: editors compute in float32."""


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
    """Return one row per editor and model: what it keeps an edit after its last panel, here and on a backbone.

    `numbers` are bytes kept over edits and `NUMBER_BYTES`, `share` the bytes an edit over the model's; `there_...`
    are those on the backbone, by what the editor's bytes are a sum of on the ladder's models (`grows`), not numbers
    where they are of one width. `edits` are as many on every model. Editors that keep nothing have no row.
    """
    held = {rung.name: _held(rung) for rung in rungs}
    rows: list[dict[str, Any]] = []
    for editor in dict.fromkeys(editor for found in held.values() for editor, _ in found):
        mine = [rung for rung in rungs if any(editor == name for name, _ in held[rung.name])]
        last = max(set.intersection(*({step for e, step in held[r.name] if e == editor} for r in mine)), default=0)
        here = [(rung, held[rung.name][editor, last] / last) for rung in mine if last]
        here = [(rung, each) for rung, each in here if each > 0]
        grows, there = widened({rung.width: each for rung, each in here}, backbone.width)
        for rung, each in here:
            shares = each / rung.model_bytes, there / backbone.model_bytes
            values = (editor, rung.name, last, grows, each / NUMBER_BYTES, there / NUMBER_BYTES, *shares)
            rows.append(dict(zip(_SCHEMA, values, strict=True)))
    return pl.DataFrame(rows, schema=_SCHEMA)


_SCHEMA: dict[str, Any] = {
    "editor": pl.String, "model": pl.String, "edits": pl.Int64, "grows": pl.String, "numbers": pl.Float64,
    "there_numbers": pl.Float64, "share": pl.Float64, "there_share": pl.Float64,
}  # fmt: skip


def _held(rung: Rung) -> dict[tuple[str, int], float]:
    """Return the bytes that each editor keeps at each panel, the mean over seeds."""
    means = rung.facts.gauged.group_by("editor", "step").agg(pl.col("bank_bytes").mean()).sort("editor", "step")
    return {(editor, step): held for editor, step, held in means.rows()}


POWERS = {"1": 0, "width": 1, "width squared": 2}
"""What sizes are sums of: texts and vectors of an editor's own width, vectors of the model's, and matrices of it."""
CLOSE = 0.01
"""A sum whose sizes are all within this share of the measured ones is taken, the simplest first."""


def widened(by_width: Mapping[int, float], width: int) -> tuple[str, float]:
    """Return of which `POWERS` sizes at several widths are a sum, and what it comes to at another width.

    The simplest sum without negative parts that is `CLOSE` to all sizes, else the closest. '' and not a number where
    sizes of one width alone are given.

    >>> grows, there = widened({128: 16_384.0, 256: 24_576.0, 512: 40_960.0}, 4096)
    >>> grows, round(there)
    ('1 + width', 270336)
    """
    if len(by_width) < 2:
        return "", math.nan
    widths, sizes = np.array(list(by_width), float), np.array(list(by_width.values()), float)
    found: list[tuple[float, str, float]] = []
    for terms in range(1, min(len(POWERS), len(sizes)) + 1):
        for names in itertools.combinations(POWERS, terms):
            powers = np.array([POWERS[name] for name in names])
            parts = (widths[:, None] / widths.max()) ** powers / sizes[:, None]  # errors are shares of the sizes
            weights = np.linalg.lstsq(parts, np.ones(len(sizes)), rcond=None)[0]
            if (weights >= 0).all():
                there = float(((width / widths.max()) ** powers) @ weights)
                found.append((float(np.abs(parts @ weights - 1).max()), " + ".join(names), there))
    near = [one for one in found if one[0] <= CLOSE] or [min(found)]
    return near[0][1:]


def backbone_line(rungs: Sequence[Rung], backbone: Backbone = LLAVA_7B) -> str:
    """Return the models' editable weights and bytes beside the backbone's, in one sentence."""
    ours = ", ".join(f"{in_millions(r.editable_weights)} ({r.model_bytes / 1e6:,.1f} MB)" for r in rungs)
    theirs = f"{in_millions(backbone.editable_weights)} ({backbone.model_bytes / 1e9:,.1f} GB)"
    return f"Editable weights, and bytes of all weights: {ours}; {backbone.name}: {theirs}."
