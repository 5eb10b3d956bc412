"""A figure as a part of a page: its files and numbers are written, and its pieces handed to the template.

Knows figures and a report's folder; not what is drawn.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

import polars as pl
from matplotlib.figure import Figure

from reports.figures.alternative import said_in_numbers
from reports.figures.inline import Inlined, inlined, owned, svg_bytes
from reports.figures.style import Drawn, image_bytes
from reports.written import csv_bytes, put

_NARROWEST, _WIDEST = 0.95, 1.4  # of an axis' own width: how far a page makes it narrower and wider
_ACROSS = 4  # axes beside each other


@dataclass(frozen=True)
class ShownFigure:
    """A figure of a page; `least` and `most` are the pixels that one of `across` axes may be wide.

    Without a picture `inlined` is None, and the caption says why.
    """

    name: str
    title: str
    reading: str
    caption: str
    said: str
    inlined: Inlined | None
    least: int = 0
    most: int = 0
    across: int = 1
    kind: str = "figure"


def shown_figure(
    drawn: Drawn, making: Path, reading: str = "", measured_on: Callable[[Sequence[str]], str] | str = ""
) -> ShownFigure:
    """Write a figure as PNG, SVG and PDF and its table into a report's folder, and return it as a part of the page.

    Its caption ends with what its n is of, its seeds, and, of what was measured, the hardware: a text, or what
    returns one for the editors of its table.
    """
    put(making, f"tables/{drawn.name}.csv", csv_bytes(drawn.table))
    caption = _caption(drawn, measured_on)
    if drawn.figure is None:
        return ShownFigure(drawn.name, drawn.title, "", caption, "", None)
    put(making, f"figures/{drawn.name}.png", image_bytes(drawn.figure))
    svg = owned(image_bytes(drawn.figure, "svg"))
    put(making, f"figures/{drawn.name}.svg", svg_bytes(svg))
    put(making, f"figures/{drawn.name}.pdf", image_bytes(drawn.figure, "pdf"))
    pieces = inlined(drawn.figure, svg, drawn.name)
    widest = max((piece.width for piece in pieces.pieces), default=0.0)
    sizes = (round(widest * _NARROWEST), round(widest * _WIDEST), min(_columns(drawn.figure), len(pieces.pieces)))
    return ShownFigure(drawn.name, drawn.title, reading, caption, said_in_numbers(drawn), pieces, *sizes)


def _columns(figure: Figure) -> int:
    """Return how many axes a figure has beside each other, as it was drawn."""
    places = [place for ax in figure.axes if (place := ax.get_subplotspec()) is not None]
    return min(_ACROSS, max((place.get_gridspec().ncols for place in places), default=1))


def _caption(drawn: Drawn, measured_on: Callable[[Sequence[str]], str] | str) -> str:
    editors = drawn.table["editor"].drop_nulls().unique().to_list() if "editor" in drawn.table.columns else []
    hardware = measured_on if isinstance(measured_on, str) else measured_on(editors)
    seeds = ""
    if drawn.figure is not None and "seeds" in drawn.table.columns:
        most = int(drawn.table["seeds"].cast(pl.Int64, strict=False).max() or 0)  # pyright: ignore[reportArgumentType]
        seeds = f"{most} seed{'s' if most > 1 else ''}" * (most > 0 and "seed" not in drawn.counted)
    ends = "; ".join(part for part in (drawn.counted, seeds, hardware if drawn.figure is not None else "") if part)
    first = ends[:1] if ends.startswith("n = ") else ends[:1].upper()
    return f"{drawn.caption} {first}{ends[1:]}{'.' if ends else ''}".strip()
