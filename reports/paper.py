"""Figures for a paper: one axis a file, as wide as a column, text as text; and a table for LaTeX.

Knows matplotlib's figures as `style.grid` makes them; not what is drawn.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.gridspec import GridSpec
from matplotlib.legend import Legend
from matplotlib.text import Text

from reports.figures.inline import owned, svg_bytes
from reports.figures.style import CHARACTER, Drawn, image_bytes, legend_entries
from reports.parts import Table, TableCell
from reports.written import put

_HEIGHT = 0.74  # of an axis, as a share of its width
_LEAST = 0.5  # of the axis alone
_ROW = 1.45  # height of a row of the legend, in font sizes
_SPECIAL = {"\\": r"\textbackslash{}", "~": r"\textasciitilde{}", "^": r"\textasciicircum{}", "–": "--", "−": "$-$",
            "≥": r"$\geq$"} | {c: f"\\{c}" for c in "&%$#_{}"}  # fmt: skip


@dataclass(frozen=True)
class Paper:
    """How figures for a paper look: their width in inches, the family of their font and its size in points."""

    width: float = 3.25
    font: str = "DejaVu Sans"
    size: float = 8.0


def write_axes(drawn: Drawn, making: Path, paper: Paper) -> None:
    """Write each axis of a figure as `paper/NAME-NUMBER-TITLE.pdf` and `.svg` below a report's folder.

    The figure is used up: its other pictures are made before.
    """
    figure = drawn.figure
    if figure is None:
        return
    axes = [ax for ax in figure.axes if ax.get_visible() and ax.get_label() != "<colorbar>"]
    legends = _set_words(figure, paper)
    for number, ax in enumerate(axes, start=1):
        _alone(figure, ax, legends, paper)
        title = re.sub(r"[^a-z0-9]+", "-", ax.get_title().lower()).strip("-")[:40]
        stem = f"paper/{drawn.name}-{number}" + (f"-{title}" if title else "")
        put(making, f"{stem}.pdf", image_bytes(figure, "pdf", whole_fonts=True))
        put(making, f"{stem}.svg", svg_bytes(owned(image_bytes(figure, "svg"))))


def _set_words(figure: Figure, paper: Paper) -> list[tuple[Legend, int]]:
    """Set every word in the paper's font, and return the legends made anew with their numbers of columns."""
    out = []
    for text in figure.findobj(Text):
        text.set_fontfamily(paper.font)
        text.set_fontsize(paper.size)
    known = legend_entries(figure.axes)
    for legend in list(figure.legends):
        labels = [text.get_text() for text in legend.get_texts()]
        handles = [known[label] for label in labels]
        legend.remove()
        widest = max(map(len, labels), default=1) * CHARACTER * paper.size / 10 + 0.5
        columns = max(1, min(len(labels), int(paper.width / widest)))
        font = {"family": paper.font, "size": paper.size}
        new = figure.legend(handles, ["-"] * len(labels), loc="outside lower center",
                            ncols=columns, frameon=False, prop=font)  # fmt: skip
        for text, label in zip(new.get_texts(), labels, strict=True):
            text.set_text(label)
        out.append((new, columns))
    return out


def _alone(figure: Figure, ax: Axes, legends: Sequence[tuple[Legend, int]], paper: Paper) -> None:
    """Lay a figure out so that one of its axes has all of it."""
    bar = [image.colorbar.ax for image in ax.images if image.colorbar is not None]
    for other in figure.axes:
        other.set_visible(other is ax or other in bar)
        other.set_in_layout(other is ax or other in bar)
    ax.set_subplotspec(GridSpec(1, 1, figure=figure)[0, 0])
    rows = sum(-(-len(legend.get_texts()) // columns) for legend, columns in legends)
    figure.set_size_inches(paper.width, paper.width * _HEIGHT + rows * _ROW * paper.size / 72)
    figure.set_layout_engine("constrained")
    figure.draw_without_rendering()
    # What stands below an axis (numbers at risk) takes no height from it.
    lacking = paper.width * _LEAST - ax.get_position().height * figure.get_figheight()
    figure.set_figheight(figure.get_figheight() + max(0.0, lacking))


def latex(table: Table) -> str:
    """Return a table for LaTeX (package booktabs): a row a measure, a column an editor; every text is escaped.

    >>> from reports.parts import Table, cell
    >>> print(latex(Table("t", "T", "", ("editor", "a_b"), ((cell("x & y"), cell(0.5)),))))
    \\begin{tabular}{lr}
    \\toprule
     & x \\& y \\\\
    \\midrule
    a\\_b & 0.5 \\\\
    \\bottomrule
    \\end{tabular}
    """
    first = [escaped(row[0].text) for row in table.rows]
    lines = [
        f"\\begin{{tabular}}{{l{'r' * len(first)}}}",
        r"\toprule",
        " & ".join(["", *first]) + r" \\",
        r"\midrule",
    ]
    for place, head in enumerate(table.heads[1:], start=1):
        cells = [_cell(row[place]) for row in table.rows]
        lines.append(" & ".join([escaped(head), *cells]) + r" \\")
    return "\n".join([*lines, r"\bottomrule", r"\end{tabular}"])


def _cell(one: TableCell) -> str:
    small = f" {{\\scriptsize ({'; '.join(map(escaped, one.small))})}}" if one.small else ""
    return escaped(one.text) + small


def escaped(text: str) -> str:
    """Return a text as LaTeX prints it.

    >>> escaped("50 % of a_b")
    '50 \\\\% of a\\\\_b'
    """
    return "".join(_SPECIAL.get(letter, letter) for letter in text)
