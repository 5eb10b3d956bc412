"""The picture of one edit's life: a row for its own question and each axis, a column for each step it was asked at.

Knows plain rows; nothing of runs.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from reports.figures.style import grid, save, title

_SAID_AT_MOST = 16  # columns in which the answer is written; of more there is no room


def draw_story(heading: str, rows: Sequence[Mapping[str, Any]], target: str | Path) -> Path:
    """Draw moments of an edit (`step`, `own` right or None, `answer`, and shares of axes by name) as one picture.

    Red is wrong, blue right, white not asked. Raises `ValueError` without a moment.
    """
    if not rows:
        raise ValueError("nothing was asked about this edit yet: let the run reach its first panel.")
    axes = list(dict.fromkeys(k for row in rows for k in row if k not in ("step", "own", "answer")))
    image = np.full((1 + len(axes), len(rows)), np.nan)
    for column, row in enumerate(rows):
        image[0, column] = np.nan if row["own"] is None else float(row["own"])
        for place, axis in enumerate(axes, 1):
            image[place, column] = row.get(axis, np.nan)
    figure, (ax,) = grid(1, width=max(4.0, 1.6 + 0.75 * min(len(rows), 16)), height=1.5 + 0.4 * len(image))
    ax.imshow(image, aspect="auto", vmin=0, vmax=1, cmap="RdYlBu")
    if len(rows) <= _SAID_AT_MOST:
        for column, row in enumerate(rows):
            ax.text(column, 0, str(row["answer"])[:14], ha="center", va="center", fontsize=7)
    shown = range(0, len(rows), max(1, len(rows) // 12))
    ax.set_xticks(list(shown), [str(rows[i]["step"]) for i in shown])
    ax.set_yticks(range(len(image)), ["its own question", *axes])
    ax.grid(False)
    ax.set_xlabel("edits so far (step)")
    title(ax, heading)
    return save(figure, target)
