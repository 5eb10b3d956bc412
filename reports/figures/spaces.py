"""The picture of an editor's spaces: a row a space, before and after training. Knows points with kinds, no editor."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Protocol

import numpy as np

from reports.figures.looks import COLOURS
from reports.figures.style import grid, save


class _Space(Protocol):
    """Points before and after training (n, 2), a kind and a number each; shares of points whose nearest is alike."""

    @property
    def name(self) -> str: ...
    @property
    def about(self) -> str: ...
    @property
    def before(self) -> np.ndarray: ...
    @property
    def after(self) -> np.ndarray: ...
    @property
    def kinds(self) -> tuple[str, ...]: ...
    @property
    def numbers(self) -> np.ndarray: ...
    @property
    def separation(self) -> tuple[float, float]: ...


def draw_spaces(spaces: Sequence[_Space], target: Path) -> Path:
    """Draw every space before and after training, a colour a kind of point; PNG or SVG by the ending of `target`.

    What belongs together, by its number, is joined by a thin line where a number has several points.
    """
    figure, axes = grid(2 * len(spaces), columns=2)
    kinds = list(dict.fromkeys(kind for space in spaces for kind in space.kinds))
    colours = dict(zip(kinds, COLOURS, strict=False))
    for i, space in enumerate(spaces):
        for ax, points, share, when in zip(
            axes[2 * i : 2 * i + 2], (space.before, space.after), space.separation, ("before", "after"), strict=True
        ):
            for number in dict.fromkeys(space.numbers.tolist()):
                own = points[space.numbers == number]
                ax.plot(own[:, 0], own[:, 1], color="#999999", linewidth=0.3, alpha=0.5, zorder=1)
            for kind in dict.fromkeys(space.kinds):
                at = [j for j, k in enumerate(space.kinds) if k == kind]
                ax.scatter(points[at, 0], points[at, 1], s=8, color=colours[kind], label=kind, zorder=2)
            ax.set_title(f"{space.name}, {when} training: nearest alike {share:.2f}", fontsize=9)
            ax.set_xticks([])
            ax.set_yticks([])
            ax.set_xlabel(space.about, fontsize=7)
        axes[2 * i].legend(fontsize=7, loc="best")
    return save(figure, target)
