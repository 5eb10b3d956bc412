"""How each editor looks, in every figure of every report: its colour, marker and dashes. Knows names, no data.

A name that is in the table always looks the same; of another the look comes from its letters. Variants of one editor
share its colour. Every colour has a second value for dark pages, at least three times as light as their ground.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterator, Mapping, Sequence
from typing import Any, NamedTuple

HUES = {
    "ink": ("#000000", "#f2f2f2"),
    "vermilion": ("#D55E00", "#F2854B"),
    "blue": ("#0072B2", "#55AEEA"),
    "pink": ("#C466A0", "#EBA1CC"),
    "green": ("#008F68", "#2FC69A"),
    "mustard": ("#AD7400", "#E6B035"),
    "purple": ("#6A3D9A", "#B592E6"),
    "sky": ("#2A8BC4", "#85CEF5"),
    "brown": ("#8C510A", "#CC9961"),
    "lime": ("#5B8C2A", "#A6D46C"),
    "red": ("#B2182B", "#F0707F"),
    "teal": ("#1B7F8C", "#5FC2CF"),
    "grey": ("#767676", "#ABABAB"),
}
"""Colours by name: on white, and on a dark page. None is told from its neighbours by red against green alone."""
MARKERS = ("o", "s", "D", "^", "v", "P", "X", "<", ">", "*", "h")
DASHES: tuple[Any, ...] = ("-", "--", "-.", ":", (0, (7, 2)), (0, (1, 1)), (0, (5, 1, 1, 1, 1, 1)), (0, (3, 4)))
SHADES = {
    "shade-1": ("#6AA6D0", "#3E6E96"), "shade-2": ("#2F75B5", "#6AAEE0"), "shade-3": ("#08306B", "#C9E4FA"),
    "dose-0": ("#79AFD8", "#46749B"), "dose-1": ("#4F8FC4", "#5A93C4"), "dose-2": ("#2A6CA8", "#7DB7E8"),
    "dose-3": ("#08519C", "#B4DAFA"), "dose-4": ("#7A0177", "#E08BDD"), "dose-5": ("#D7301F", "#FF8A75"),
}  # fmt: skip
"""Colours of ordered things, the strongest last: of three, and of six."""
_FIXED = {
    "none": ("ink", "x"), "told": ("grey", "P"), "oracle": ("grey", "*"),
    "ft": ("vermilion", "o"), "ft_vision": ("vermilion", "^"), "lora": ("brown", "v"),
    "grace": ("blue", "s"), "melo": ("teal", "X"), "wise": ("green", "^"), "lemoe": ("green", "<"),
    "liveedit": ("pink", "D"), "unike": ("red", "h"), "t_patcher": ("brown", "s"),
    "rag": ("mustard", "v"), "ike": ("lime", "P"), "mscke": ("lime", "D"), "lte": ("mustard", "*"),
    "serac": ("sky", "o"), "recipe": ("sky", ">"), "keyword": ("teal", "o"),
    "mend": ("purple", "P"), "ke": ("purple", ">"),
}  # fmt: skip
_FREE = [hue for hue in HUES if hue not in ("ink", "grey")]
_KNOWN = {"": 0, "(tuned)": 0, "(published)": 1}  # others have a look by their letters
_VARIANTS = 2 * len(MARKERS)
COLOURS = tuple(HUES[hue][0] for hue in _FREE)
"""Colours for things that are no editors, in order."""


class Look(NamedTuple):
    """How one editor's line looks; `pale` markers are filled half way to white.

    A hollow marker is none of a look: it says that a point is of a sample.
    """

    colour: str
    marker: str
    dash: Any = "-"
    pale: bool = False

    def line(self, dash: str = "") -> dict[str, Any]:
        """Return matplotlib's words for a line; `dash` overrules, where a figure's dashes mean something else."""
        return {
            "color": self.colour,
            "marker": self.marker,
            "linestyle": dash or self.dash,
            "markersize": 3.5,
            "markerfacecolor": paler(self.colour) if self.pale else self.colour,
        }


def paler(colour: str) -> str:
    """Return a colour half way to white.

    >>> paler("#0072b2")
    '#7fb8d8'
    """
    return "#" + "".join(f"{(int(colour[i : i + 2], 16) + 255) // 2:02x}" for i in (1, 3, 5))


def palette(editors: Sequence[str], origins: Mapping[str, str] | None = None) -> dict[str, Look]:
    """Return the look of each label in the order given, whatever else is there.

    `origins` has the label as a run gave it, for labels that a reader chose: an editor's name and what sets a variant
    apart. Only labels whose looks would be the same take the next free one.

    >>> palette(["ft", "none"])["none"].colour, palette(["grace (tuned)"])["grace (tuned)"].colour
    ('#000000', '#0072B2')
    """
    reserved = {_look(name, 0) for name in _FIXED}
    out: dict[str, Look] = {}
    for label in sorted(dict.fromkeys(editors), key=lambda e: (len(e), e)):
        name, _, rest = (origins or {}).get(label, label).removesuffix(" (unfinished)").partition(" ")
        mine = _look(name, 0)
        for look in _wanted(name, rest):
            if look not in out.values() and (look == mine or look not in reserved):
                out[label] = look
                break
        else:  # more labels than looks: they begin again
            out[label] = mine
    return {label: out[label] for label in dict.fromkeys(editors)}


def in_order(things: Sequence[str]) -> dict[str, Look]:
    """Return looks of things that are no editors (sizes of a model, kinds of an index), in order.

    >>> [look.colour for look in in_order(["small", "large"]).values()]
    ['#D55E00', '#0072B2']
    """
    count = len(COLOURS)
    return {
        thing: Look(COLOURS[i % count], MARKERS[(i + i // count) % len(MARKERS)], DASHES[i // count % len(DASHES)])
        for i, thing in enumerate(dict.fromkeys(things))
    }


def _wanted(name: str, rest: str) -> Iterator[Look]:
    """Give the looks that a label may have, the one that it should have first."""
    first = _KNOWN[rest] if rest in _KNOWN else 2 + _letters(rest) % (_VARIANTS - 2)
    for variant in range(len(DASHES) * _VARIANTS):
        yield _look(name, first + variant)


def _look(name: str, variant: int) -> Look:
    if name in _FIXED:
        hue, marker = _FIXED[name]
        place = MARKERS.index(marker) if marker in MARKERS else -1
    else:
        hue, place = _FREE[_letters(name) % len(_FREE)], _letters(f"{name}'s marker") % len(MARKERS)
        marker = MARKERS[place]
    if variant:
        marker = MARKERS[(place + variant // 2) % len(MARKERS)] if place >= 0 or variant > 1 else marker
    return Look(HUES[hue][0], marker, DASHES[variant % len(DASHES)], variant % 2 == 1)


def _letters(word: str) -> int:
    return int.from_bytes(hashlib.sha256(word.encode()).digest()[:4], "big")
