"""How every figure looks: one colour and marker per editor, axis labels with units, one legend. Knows no data.

Words in a figure are words: matplotlib reads no mathematics in them, and drops no name that begins with an
underscore. Every picture is made by `image_bytes`, which sees to that.
"""

from __future__ import annotations

import io
import math
import warnings
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from textwrap import fill
from typing import Any, Literal, NamedTuple

import matplotlib
import polars as pl
from matplotlib.artist import Artist
from matplotlib.axes import Axes
from matplotlib.axis import Axis
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.backends.backend_svg import FigureCanvasSVG
from matplotlib.figure import Figure
from matplotlib.text import Text
from matplotlib.ticker import FuncFormatter, LogLocator, MaxNLocator, NullLocator

from reports.written import write_whole
from streams.text import printable

PNG_DPI = 130
_KEPT = "\u2060"  # before a legend's label that matplotlib would drop; no printable text has it

# Okabe and Ito's colours, readable with colour-blind eyes; black is for the unedited reference.
COLOURS = (
    "#D55E00",
    "#0072B2",
    "#009E73",
    "#CC79A7",
    "#E69F00",
    "#56B4E9",
    "#8C510A",
    "#6A3D9A",
    "#999999",
    "#B2DF8A",
)
MARKERS = ("o", "s", "^", "D", "v", "P", "X", "<", ">", "*")


DASHES = ("-", "--", "-.", ":")
CHARACTER = 0.085  # inches that a character of a legend is wide


class Look(NamedTuple):
    """How one editor's line looks. When colours begin again, another marker, paler, and dashes tell lines apart.

    A hollow marker is none of a look: it says that a point is of a sample.
    """

    colour: str
    marker: str
    dash: str = "-"
    pale: bool = False

    def line(self, dash: str = "") -> dict[str, Any]:
        """Return matplotlib's words for a line; `dash` overrules, where a figure's dashes mean something else."""
        return {
            "color": self.colour,
            "marker": self.marker,
            "linestyle": dash or self.dash,
            "markersize": 3.5,
            "markerfacecolor": _paler(self.colour) if self.pale else self.colour,
        }


def _paler(colour: str) -> str:
    """Return a colour half way to white."""
    return "#" + "".join(f"{(int(colour[i : i + 2], 16) + 255) // 2:02x}" for i in (1, 3, 5))


def palette(editors: Sequence[str]) -> dict[str, Look]:
    """Return the look of each editor in the order given, the same for every figure of a report.

    The unedited model is black, of several (on other models, streams ...) the first.

    >>> palette(["ft", "none"])["none"].colour
    '#000000'
    """
    plain = next((e for e in editors if e.split(" ")[0] == "none"), "")
    others = [e for e in dict.fromkeys(editors) if e != plain]
    out = {plain: Look("#000000", "x")} if plain else {}
    for i, editor in enumerate(others):
        again, at = divmod(i, len(COLOURS))
        marker, dash = MARKERS[(at + again) % len(MARKERS)], DASHES[again % len(DASHES)]
        out[editor] = Look(COLOURS[at], marker, dash, again % 2 == 1)
    return out


def title(ax: Axes, text: str) -> None:
    """Write a title over an axis, in several lines where it is longer than the axis is wide."""
    ax.set_title(fill(text, 34), fontsize=10)


def named(label: str) -> str:
    """Return the label that an artist is given so that the legend shows exactly this text."""
    return _KEPT + label if label.startswith("_") else label


def grid(n: int, columns: int = 4, width: float = 3.4, height: float = 2.7) -> tuple[Figure, list[Axes]]:
    """Return a figure with n axes in rows of `columns`, without pyplot's global state."""
    columns = min(columns, n)
    rows = -(-n // columns)
    figure = Figure(figsize=(width * columns, height * rows), layout="constrained")
    axes = [figure.add_subplot(rows, columns, i + 1) for i in range(n)]
    for ax in axes:
        ax.grid(True, color="#dddddd", linewidth=0.6)
        ax.spines[["top", "right"]].set_visible(False)
        ax.set_axisbelow(True)
    return figure, axes


def plain_ticks(axis: Axis) -> None:
    """Label a logarithmic axis with plain numbers: powers of ten, and 2 and 5 times them where the axis is short."""
    low, high = axis.get_view_interval()
    short = high < 60 * low
    axis.set_major_locator(LogLocator(subs=(1.0, 2.0, 5.0) if short else (1.0,), numticks=12))
    axis.set_major_formatter(FuncFormatter(lambda value, _: f"{value:,.0f}" if value >= 1000 else f"{value:g}"))
    axis.set_minor_locator(NullLocator())


def log_axis(axis: Axis) -> None:
    """Make an axis logarithmic, with plain numbers, where it has values above 0; called when everything is drawn."""
    if not 0 < axis.get_minpos() < math.inf:
        return
    (axis.axes.set_xscale if axis is axis.axes.xaxis else axis.axes.set_yscale)("log")
    plain_ticks(axis)


def edits_axis(ax: Axes, last: int) -> None:
    """Label the x-axis in edits, logarithmic from the first edit when the stream is long."""
    count_axis(ax, last, "edits so far (step)")


def count_axis(ax: Axes, last: int, label: str) -> None:
    """Label an x-axis that counts up to `last`, logarithmic when that is more than 20."""
    if last > 20:
        log_axis(ax.xaxis)
    else:
        ax.xaxis.set_major_locator(MaxNLocator(6, integer=True))
    ax.set_xlabel(label)


def score_axis(ax: Axes, label: str) -> None:
    """Show the whole range of a proportion, so that axes of different editors compare."""
    ax.set_ylim(-0.03, 1.03)
    ax.set_ylabel(label)


def legend(figure: Figure, axes: Sequence[Axes]) -> None:
    """Draw one legend for all axes, below them: as many columns as its labels leave room for, the figure higher."""
    seen: dict[str, Artist] = {}
    for ax in axes:
        for handle, label in zip(*ax.get_legend_handles_labels(), strict=True):
            seen.setdefault(label.removeprefix(_KEPT), handle)
    widest = max(map(len, seen), default=0) * CHARACTER + 0.6
    columns = max(1, min(6, len(seen), int(figure.get_figwidth() / widest)))
    figure.set_figheight(figure.get_figheight() + 0.2 * max(0, -(-len(seen) // columns) - 1))
    if not seen:
        return
    drawn = figure.legend(
        list(seen.values()), ["-"] * len(seen), loc="outside lower center", ncols=columns, frameon=False
    )
    for text, label in zip(drawn.get_texts(), seen, strict=True):
        text.set_text(label)


@dataclass(frozen=True)
class Drawn:
    """One figure: its file name, title, caption, picture, the table of every number in it, and what n it is of.

    Without a picture nothing was asked that it could show; the caption says what.
    """

    name: str
    title: str
    caption: str
    figure: Figure | None
    table: pl.DataFrame
    counted: str = ""


def not_asked(name: str, title: str, what: str, table: pl.DataFrame) -> Drawn:
    """Return what stands in a figure's place where its runs asked nothing that it could show."""
    return Drawn(name, title, f"Not asked: these runs have no {what}.", None, table)


def stacked(tables: Sequence[pl.DataFrame]) -> pl.DataFrame:
    """Return tables of equal columns as one; an empty one where there are none."""
    return pl.concat(tables) if tables else pl.DataFrame()


def image_bytes(figure: Figure, kind: Literal["png", "svg"] = "png", dpi: float = PNG_DPI) -> bytes:
    """Return a figure as the bytes of a PNG or an SVG: the only way in which one is made.

    All its words are shown as they are. An SVG made after a PNG keeps the places that the PNG was given.
    """
    buffer = io.BytesIO()
    with matplotlib.rc_context({"text.parse_math": False}), warnings.catch_warnings():
        warnings.filterwarnings("ignore", message="Glyph")  # a letter that the font lacks is a box, and no message
        for text in figure.findobj(Text):
            text.set_parse_math(False)
            text.set_text("\n".join(printable(line) for line in text.get_text().split("\n")))
        # The canvases' own printing draws once per format; `savefig` draws everything twice.
        if kind == "png":
            figure.set_dpi(dpi)
            FigureCanvasAgg(figure).print_png(buffer)
            figure.set_layout_engine("none")
        else:
            FigureCanvasSVG(figure).print_svg(buffer, metadata={"Date": None})
    return buffer.getvalue()


def save(figure: Figure, target: str | Path) -> Path:
    """Write a figure as PNG, or as SVG where the name ends so, whole or not at all; return its path."""
    path = Path(target)
    return write_whole(path, image_bytes(figure, "svg" if path.suffix.lower() == ".svg" else "png"))
