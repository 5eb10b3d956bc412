"""How every figure looks: axis labels with units, one legend, and which editor each mark is of. Knows no data.

Words in a figure are words: matplotlib reads no mathematics in them, and drops no name that begins with an
underscore. Every picture is made by `image_bytes`, which sees to that.
"""

from __future__ import annotations

import io
import math
import warnings
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from textwrap import fill
from typing import Any, Literal

import matplotlib
import polars as pl
from matplotlib.artist import Artist
from matplotlib.axes import Axes
from matplotlib.axis import Axis
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.backends.backend_pdf import FigureCanvasPdf
from matplotlib.backends.backend_svg import FigureCanvasSVG
from matplotlib.container import Container
from matplotlib.figure import Figure
from matplotlib.text import Text
from matplotlib.ticker import FuncFormatter, LogLocator, MaxNLocator, NullLocator
from matplotlib.transforms import Bbox

from reports.figures.looks import Look
from reports.written import write_whole
from streams.text import printable

PNG_DPI = 130
_KEPT = "\u2060"  # before a legend's label that matplotlib would drop; no printable text has it

CHARACTER = 0.085  # inches that a character of a legend is wide


OWNER = "editor:"
"""Before the name of the editor that an artist, or a whole axis, belongs to: the `gid` by which a page hides it."""


@contextmanager
def marks_of(editor: str, *axes: Axes) -> Iterator[None]:
    """Note that what is drawn into these axes meanwhile belongs to an editor."""
    before = {id(artist) for ax in axes for artist in ax.get_children()}
    yield
    for artist in (a for ax in axes for a in ax.get_children() if id(a) not in before):
        belongs(artist, editor)


def each(looks: Mapping[str, Look], *axes: Axes) -> Iterator[tuple[str, Look]]:
    """Give editors with their looks; what the body of the loop draws into these axes belongs to that editor."""
    for editor, look in looks.items():
        with marks_of(editor, *axes):
            yield editor, look


def belongs(artist: Artist, editor: str) -> None:
    """Note that one artist belongs to an editor."""
    artist.set_gid(OWNER + editor)


def of_editor(ax: Axes, editor: str, text: str = "") -> None:
    """Title an axis that is all about one editor, by its name or another text."""
    title(ax, text or editor)
    belongs(ax, editor)


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


def legend_entries(axes: Sequence[Axes]) -> dict[str, Artist]:
    """Return what a legend of these axes has: each label with the first artist that is so called."""
    seen: dict[str, Artist] = {}
    for ax in axes:
        for handle, label in zip(*ax.get_legend_handles_labels(), strict=True):
            seen.setdefault(label.removeprefix(_KEPT), handle)
    return seen


def legend(figure: Figure, axes: Sequence[Axes]) -> None:
    """Draw one legend for all axes, below them: as many columns as its labels leave room for, the figure higher."""
    seen = legend_entries(axes)
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
    for handle, source in zip(drawn.legend_handles, seen.values(), strict=True):
        if handle is not None:
            handle.set_gid(owner_of(source))


def owner_of(artist: Artist | Container) -> str | None:
    """Return the `gid` of an artist, or the one that all of several have that are drawn as one."""
    parts = [p for p in artist.get_children() if p is not None] if isinstance(artist, Container) else [artist]
    owners = {p.get_gid() for p in parts}
    return str(owners.pop()) if len(owners) == 1 and None not in owners else None


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


ImageKind = Literal["png", "svg", "pdf"]
_WORDS: dict[Any, Any] = {"text.parse_math": False, "svg.fonttype": "none", "svg.hashsalt": "lifelong"}
"""Text is text in an SVG and a PDF, and one figure is the same bytes each time."""


def image_bytes(figure: Figure, kind: ImageKind = "png", dpi: float = PNG_DPI, *, whole_fonts: bool = False) -> bytes:
    """Return a figure as the bytes of a PNG, an SVG or a PDF: the only way in which one is made.

    All its words are shown as they are. What is made after a PNG keeps the places that the PNG was given. A PDF with
    `whole_fonts` holds TrueType fonts, as publishers ask, and takes twice as long.
    """
    buffer = io.BytesIO()
    with matplotlib.rc_context({**_WORDS, "pdf.fonttype": 42 if whole_fonts else 3}), warnings.catch_warnings():
        warnings.filterwarnings("ignore", message="Glyph")  # a letter that the font lacks is a box, and no message
        for text in figure.findobj(Text):
            text.set_parse_math(False)
            text.set_text("\n".join(printable(line) for line in text.get_text().split("\n")))
        # The canvases' own printing draws once per format; `savefig` draws everything twice.
        if kind == "png":
            figure.set_dpi(dpi)
            FigureCanvasAgg(figure).print_png(buffer)
            figure.set_layout_engine("none")
        elif kind == "svg":
            FigureCanvasSVG(figure).print_svg(buffer, metadata={"Date": None})
        else:
            FigureCanvasPdf(figure).print_pdf(buffer, metadata={"CreationDate": None})
    return buffer.getvalue()


def boxes(figure: Figure) -> list[tuple[Axes, Bbox]]:
    """Return the axes of a figure that was drawn as PNG, in that order, with the pixels that each takes up."""
    renderer = FigureCanvasAgg(figure).get_renderer()
    shown = sorted((ax for ax in figure.axes if ax.get_visible()), key=lambda ax: ax.get_zorder())
    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", message="Glyph")
        found = [(ax, ax.get_tightbbox(renderer)) for ax in shown]
    return [(ax, Bbox(ax.bbox.get_points() if box is None else box.get_points())) for ax, box in found]


def save(figure: Figure, target: str | Path) -> Path:
    """Write a figure as PNG, or as SVG or PDF where the name ends so, whole or not at all; return its path."""
    path = Path(target)
    kinds: dict[str, ImageKind] = {".svg": "svg", ".pdf": "pdf"}
    return write_whole(path, image_bytes(figure, kinds.get(path.suffix.lower(), "png")))
