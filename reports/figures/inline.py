"""A figure as pieces of a page: one SVG an axis, that follows the page's colours, and the legend beside them.

Each axis is cut out, so that a page lays them out as wide as it is. What belongs to an editor is a group with the
attribute `data-editor`. Knows matplotlib's SVG; nothing of what is drawn.
"""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from xml.etree import ElementTree

import numpy as np
from matplotlib.artist import Artist
from matplotlib.figure import Figure
from matplotlib.lines import Line2D
from matplotlib.markers import MarkerStyle
from matplotlib.transforms import Bbox

from reports.figures.looks import HUES, SHADES, paler, palette
from reports.figures.style import OWNER, boxes

_SVG, _LINK = "{http://www.w3.org/2000/svg}", "{http://www.w3.org/1999/xlink}href"
_POINTS = 72  # of an inch: the unit of an SVG
_EDGE = 3.0  # points around an axis that is cut out
_THEMED = {
    **{light.lower(): f"var(--{name})" for name, (light, _) in {**HUES, **SHADES}.items()},
    **{paler(light).lower(): f"var(--{name}-pale)" for name, (light, _) in HUES.items()},
    "#ffffff": "var(--paper)", "#dddddd": "var(--line)", "#999999": "var(--faint)", "#bbbbbb": "var(--faint)",
    **dict.fromkeys(("#444444", "#555555", "#777777", "#888888"), "var(--soft)"),
}  # fmt: skip
_COLOUR = re.compile(r"(fill|stroke): (#[0-9a-f]{6})")
_PLACE = re.compile(r"url\(#([^)]+)\)")


@dataclass(frozen=True)
class Entry:
    """An entry of a legend: its words, whose it is ('': nobody's), and its mark as a small SVG."""

    label: str
    editor: str
    mark: str


@dataclass(frozen=True)
class AxisPiece:
    """One axis as an SVG, its width in points and in percent of the widest; `editor` is whose all of it is."""

    svg: str
    width: float
    editor: str
    share: float = 100.0


@dataclass(frozen=True)
class Inlined:
    """What a page shows of a figure: its `shared` definitions as an SVG without a size, its axes, and its legend."""

    shared: str
    pieces: tuple[AxisPiece, ...]
    legend: tuple[Entry, ...]


def themed(style: str) -> str:
    """Return the colours of an SVG as variables of the page, where a page has one for them.

    >>> themed("fill: #ffffff; stroke: #0072b2; stroke-width: 2")
    'fill: var(--paper); stroke: var(--blue); stroke-width: 2'
    """
    return _COLOUR.sub(lambda found: f"{found[1]}: {_THEMED.get(found[2], found[2])}", style)


def owned(svg: bytes) -> ElementTree.Element:
    """Return matplotlib's SVG with the groups that belong to an editor saying so (`data-editor`)."""
    root = ElementTree.fromstring(svg)
    _say_owners(root)
    return root


def svg_bytes(root: ElementTree.Element) -> bytes:
    """Return an SVG as the bytes of its file."""
    ElementTree.register_namespace("", _SVG[1:-1])
    ElementTree.register_namespace("xlink", _LINK[1 : _LINK.index("}")])
    return ElementTree.tostring(root, encoding="utf-8", xml_declaration=True)


def inlined(figure: Figure, root: ElementTree.Element, name: str) -> Inlined:
    """Return the pieces of a figure for a page; its ids begin with `name`, so that figures share none.

    `root` is `owned` of the SVG that `style.image_bytes` made of it after its PNG, and is used up.
    """
    _rename(root, name)
    drawn = root.find(f"{_SVG}g")
    groups = [] if drawn is None else [g for g in drawn if _is_axis(g, name)]
    shared = ElementTree.Element("svg", {"width": "0", "height": "0", "aria-hidden": "true", "class": "shared"})
    for parent in list(root.iter()):
        for definitions in parent.findall(f"{_SVG}defs"):
            parent.remove(definitions)
            shared.append(definitions)
    pieces: list[AxisPiece] = []
    for box, members in _cut(figure, groups):
        size = {"viewBox": " ".join(f"{v:.1f}" for v in box), "width": f"{box[2]:.0f}", "height": f"{box[3]:.0f}"}
        one = ElementTree.Element("svg", size | {"aria-hidden": "true", "focusable": "false"})
        one.extend(members)
        pieces.append(AxisPiece(_written(one), box[2], members[0].get("data-editor", "")))
    widest = max((piece.width for piece in pieces), default=1.0)
    pieces = [replace(piece, share=round(100 * piece.width / widest, 1)) for piece in pieces]
    return Inlined(_written(shared), tuple(pieces), _legend(figure))


def _is_axis(group: ElementTree.Element, name: str) -> bool:
    return group.get("id", "").startswith(f"{name}-axes_") or group.get("data-axes") == "1"


def _say_owners(root: ElementTree.Element) -> None:
    figure = root.find(f"{_SVG}g")
    tops = set(figure) if figure is not None else set()
    for number, element in enumerate(root.iter()):
        own = element.get("id", "")
        if own.startswith(OWNER):
            element.set("id", f"own_{number}")
            element.set("data-editor", own.removeprefix(OWNER))
            if element in tops:
                element.set("data-axes", "1")


def _rename(root: ElementTree.Element, name: str) -> None:
    for element in root.iter():
        for key, value in list(element.attrib.items()):
            if key == "id":
                element.set(key, f"{name}-{value}")
            elif key == _LINK and value.startswith("#"):
                del element.attrib[key]
                element.set("href", f"#{name}-{value[1:]}")
            elif key == _LINK:
                del element.attrib[key]
                element.set("href", value)
            elif key == "style":
                element.set(key, themed(value))
            if key in ("clip-path", "style") and "url(#" in value:
                element.set(key, _PLACE.sub(rf"url(#{name}-\1)", element.get(key, "")))


def _cut(
    figure: Figure, groups: list[ElementTree.Element]
) -> list[tuple[tuple[float, ...], list[ElementTree.Element]]]:
    """Return the place (x, y, width, height) of each axis with its groups; a colour bar goes with the axis before."""
    scale, height = _POINTS / figure.dpi, figure.get_figheight() * _POINTS
    out: list[tuple[Bbox, list[ElementTree.Element]]] = []
    for (ax, box), group in zip(boxes(figure), groups, strict=True):
        if ax.get_label() == "<colorbar>" and out:
            out[-1] = (Bbox.union([out[-1][0], box]), [*out[-1][1], group])
        else:
            out.append((box, [group]))
    return [(_place(box, scale, height), members) for box, members in out]


def _place(box: Bbox, scale: float, height: float) -> tuple[float, ...]:
    """Return x, y, width and height in an SVG, whose y grows downwards, of a box in a canvas' pixels."""
    corner = (box.x0 * scale - _EDGE, height - box.y1 * scale - _EDGE)
    return (*corner, box.width * scale + 2 * _EDGE, box.height * scale + 2 * _EDGE)


def _written(element: ElementTree.Element) -> str:
    """Return an element as HTML has it: without names of namespaces, which a page of HTML does not know."""
    for one in element.iter():
        one.tag = one.tag.removeprefix(_SVG)
    return ElementTree.tostring(element, encoding="unicode")


def _legend(figure: Figure) -> tuple[Entry, ...]:
    entries: list[Entry] = []
    for legend in figure.legends:
        for handle, text in zip(legend.legend_handles, legend.get_texts(), strict=True):
            owner = str(handle.get_gid() or "") if handle is not None else ""
            entries.append(Entry(text.get_text(), owner.removeprefix(OWNER), mark_svg(handle)))
    return tuple(entries)


def editors_legend(editors: Sequence[str], origins: Mapping[str, str] | None = None) -> list[Entry]:
    """Return the legend of a whole page: each editor's name and mark, in the order given (`looks.palette`)."""
    lines = {editor: look.line() for editor, look in palette(editors, origins).items()}
    return [
        Entry(e, e, line_svg(one["color"], one["marker"], one["linestyle"], one["markerfacecolor"]))
        for e, one in lines.items()
    ]


def mark_svg(handle: Artist | None) -> str:
    """Return the mark of a legend's entry: a line with its marker, or a patch of colour."""
    if isinstance(handle, Line2D):
        return line_svg(
            str(handle.get_color()), handle.get_marker(), handle.get_linestyle(), str(handle.get_markerfacecolor())
        )
    colour = next(
        (_hex(found) for name in ("get_facecolor", "get_edgecolor") if (found := getattr(handle, name, None))),
        "#767676",
    )
    return _small(f"<rect x='8' y='2' width='12' height='10' style='{themed(f'fill: {colour}')}'/>")


def line_svg(colour: str, marker: object, dash: object = "-", face: str = "") -> str:
    """Return a short line with its marker in the middle as a small SVG."""
    colour, parts = colour.lower(), []
    dashes = {"--": "5 2.5", "-.": "6 2 1.5 2", ":": "1.5 2"}.get(str(dash), "")
    if isinstance(dash, tuple) and dash[1]:
        dashes = " ".join(f"{1.5 * x:g}" for x in dash[1])
    if str(dash) not in ("None", "", " "):
        parts.append(
            f"<path d='M1 7H27' style='{themed(f'stroke: {colour}')}; stroke-width: 1.8; stroke-dasharray: "
            f"{dashes or 'none'}; fill: none'/>"
        )
    if marker not in (None, "None", "", " "):
        shape = MarkerStyle(marker)  # pyright: ignore[reportArgumentType]
        path = shape.get_path().transformed(shape.get_transform())
        outline = [corner for part in path.to_polygons() for corner in np.asarray(part)]
        points = " ".join(f"{x * 7 + 14:.1f},{7 - y * 7:.1f}" for x, y in outline)
        filled = themed(f"fill: {(face or colour).lower()}; stroke: {colour}") if points else ""
        parts.append(f"<polygon points='{points}' style='{filled}; stroke-width: 1'/>" if points else _cross(colour))
    return _small("".join(parts))


def _cross(colour: str) -> str:
    return (
        f"<path d='M10.5 3.5L17.5 10.5M10.5 10.5L17.5 3.5' style='{themed(f'stroke: {colour}')}; stroke-width: 1.6'/>"
    )


def _small(inside: str) -> str:
    return f"<svg class='mark' viewBox='0 0 28 14' width='28' height='14' aria-hidden='true'>{inside}</svg>"


def _hex(found: object) -> str:
    from matplotlib.colors import to_hex

    value = found() if callable(found) else found
    try:
        return to_hex(value)  # pyright: ignore[reportArgumentType]
    except ValueError:  # a collection has a list of them
        return to_hex(value[0]) if len(value) else "#767676"  # pyright: ignore[reportArgumentType, reportIndexIssue]
