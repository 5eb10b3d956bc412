"""Interference: which edit broke which, and whether it is the similar ones that do.

A right edit that is wrong when it is next asked was broken by an edit made in between. Knows fact tables and the
words of edits; draws nothing.
"""

from __future__ import annotations

from typing import Any

import numpy as np
import polars as pl

from reports.analyses.similarity import cosines
from reports.numbers.metrics import HOLDS
from reports.statistics.clusters import certain

LONGEST_WINDOW = 10  # edits between two questions to an edit; of a longer window nobody can say which of them it was
FEWEST_OF_BIN = 10  # transitions of a bin, below which its share has no interval
ALIKE = (0.2, 0.4, 0.6, 0.8, 1.0)
"""Lower edges of the bins of similarity but the first; the last one holds equal words."""
_CLOSE = 1 - 1e-5  # a cosine from here on is one of equal counts


def similarity_bin(values: np.ndarray) -> np.ndarray:
    """Return the bin of each cosine by its lower edge: 0, .2, .4, .6, .8, and 1 for equal words."""
    edges = np.array([0.0, *ALIKE])
    return edges[np.searchsorted(np.array([*ALIKE[:-1], _CLOSE]), values, side="right")]


def transitions(probed: pl.DataFrame, edited: pl.DataFrame, told: pl.DataFrame) -> pl.DataFrame:
    """Return one row for each two questions in a row to an edit, right at the first, at most ten edits apart.

    Columns: editor, seed, victim, before and after (the steps of the questions), broke, breakers (the edits made in
    between), similarity (the largest trigram cosine of their questions with the victim's) and same_picture.
    """
    own = HOLDS & (pl.col("axis") == "reliability") & (pl.col("scorer") == "generated")
    keys = ["editor", "seed", "edit_id"]
    right = (pl.col("score").min() >= 1).alias("was_right")
    cells = probed.lazy().filter(own).group_by(*keys, "step").agg(right).collect()
    cells = cells.sort(*keys, "step").with_columns(
        pl.col("step").shift(-1).over(keys).alias("after"), (~pl.col("was_right")).shift(-1).over(keys).alias("broke")
    )
    near = pl.col("after") - pl.col("step") <= LONGEST_WINDOW  # null, and so left out, after the last question
    known = cells.filter(pl.col("was_right") & near)
    out: list[dict[str, Any]] = []
    for (editor, seed), mine in known.group_by("editor", "seed", maintain_order=True):
        of_run = (pl.col("editor") == editor) & (pl.col("seed") == seed)
        words = told.filter(of_run)
        made = edited.filter(of_run).select("edit_id", "step").sort("step")
        if words.is_empty() or made.is_empty():
            continue
        steps, names = made["step"].to_numpy(), made["edit_id"].to_list()
        prompts = dict(words.select("edit_id", "prompt").rows())
        pictures = dict(words.select("edit_id", "picture").rows())
        pairs = []
        for one in mine.iter_rows(named=True):
            first, last = np.searchsorted(steps, (one["step"], one["after"]), side="right")
            breakers = [n for n in names[first:last] if n in prompts and n != one["edit_id"]]
            if breakers and one["edit_id"] in prompts:
                pairs.append((one, breakers))
        # Only edits that met are compared: of a long stream with few panels they are few.
        met = dict.fromkeys(i for one, breakers in pairs for i in (one["edit_id"], *breakers))
        place, texts = {i: n for n, i in enumerate(met)}, [prompts[i] for i in met]
        alike = cosines(texts, texts)
        for one, breakers in pairs:
            me = one["edit_id"]
            same = bool(pictures[me]) and any(pictures[o] == pictures[me] for o in breakers)
            near = float(alike[place[me], [place[o] for o in breakers]].max())
            out.append({"editor": editor, "seed": seed, "victim": me, "before": one["step"], "after": one["after"],
                        "broke": bool(one["broke"]), "breakers": breakers, "similarity": near,
                        "same_picture": same})  # fmt: skip
    return pl.DataFrame(out, schema=_SCHEMA)


_SCHEMA = {
    "editor": pl.String,
    "seed": pl.Int64,
    "victim": pl.String,
    "before": pl.Int64,
    "after": pl.Int64,
    "broke": pl.Boolean,
    "breakers": pl.List(pl.String),
    "similarity": pl.Float64,
    "same_picture": pl.Boolean,
}


def first_losses(found: pl.DataFrame) -> pl.DataFrame:
    """Return, per lost edit, the first row of `transitions` at which it broke, the most similar cases first."""
    lost = found.filter("broke").sort("after").unique(["editor", "seed", "victim"], keep="first", maintain_order=True)
    return lost.drop("broke").sort("editor", "seed", "after", "victim")


def by_similarity(found: pl.DataFrame, *, draws: int = 200, seed: int = 0) -> pl.DataFrame:
    """Return the share of transitions that broke, per editor, same picture and bin of similarity, with 95 % bounds.

    Bounds are null where fewer than ten transitions fell into a bin.

    One edit can break many, and one victim can be hard to keep: both are drawn anew in each bootstrap sample, and a
    transition counts as often as both together were (Owen's pigeonhole bootstrap, never too narrow).
    """
    out = []
    binned = found.with_columns(pl.Series("alike", similarity_bin(found["similarity"].to_numpy())))
    for (editor,), mine in binned.group_by("editor", maintain_order=True):
        rng = np.random.default_rng(seed)
        victims = _places(mine, ["seed", "victim"])
        moments = _places(mine, ["seed", "after"])
        weights = np.stack([_drawn(victims, rng) * _drawn(moments, rng) for _ in range(draws)])
        broke = mine["broke"].cast(pl.Float64).to_numpy()
        for (same, alike), part in mine.with_row_index("i").group_by("same_picture", "alike"):
            at = part["i"].to_numpy()
            counts = weights[:, at].sum(1)
            rates = (weights[:, at] @ broke[at])[counts > 0] / counts[counts > 0]
            mean, low, high = float(broke[at].mean()), None, None
            if len(at) >= FEWEST_OF_BIN:
                fewer = min(part["victim"].n_unique(), part["after"].n_unique())
                ends = np.quantile(rates, [0.025, 0.975])
                low, high = (float(b) for b in certain(np.array(mean), ends[0], ends[1], np.array(fewer)))
            out.append((editor, same, alike, mean, low, high, len(at), int(broke[at].sum())))
    names = {"editor": pl.String, "same_picture": pl.Boolean, "alike": pl.Float64, "rate": pl.Float64,
             "low": pl.Float64, "high": pl.Float64, "n": pl.Int64, "broke": pl.Int64}  # fmt: skip
    return pl.DataFrame(out, schema=names, orient="row").sort("editor", "same_picture", "alike")


def _places(frame: pl.DataFrame, keys: list[str]) -> np.ndarray:
    return frame.select(pl.struct(keys).rank("dense")).to_series().to_numpy().astype(int) - 1


def _drawn(places: np.ndarray, rng: np.random.Generator) -> np.ndarray:
    """Return how often each row's group is drawn when as many groups are drawn as there are."""
    groups = int(places.max()) + 1
    return np.bincount(rng.integers(0, groups, groups), minlength=groups)[places]
