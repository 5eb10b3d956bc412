"""Drawings: finds an icon of a set and renders it as a 64x64 WebP on white; knows no facts."""

from __future__ import annotations

import importlib
import io
import json
import re
from dataclasses import dataclass
from pathlib import Path

from PIL import Image

from streams.atlas.build.packages import folder
from streams.atlas.world import FAMILY as SAME_ARTIST

_SIDE = 64
EMOJI_SETS = {
    "noto": "iconify-json-noto-1.2.9",
    "noto-v1": "iconify-json-noto-v1-1.2.5",
    "twemoji": "iconify-json-twemoji-1.2.5",
    "fluent-emoji-flat": "iconify-json-fluent-emoji-flat-1.2.6",
    "fluent-emoji": "iconify-json-fluent-emoji-1.2.7",
    "emojione": "iconify-json-emojione-1.2.3",
    "fxemoji": "iconify-json-fxemoji-1.2.2",
}
FLAG_SETS = {
    "flag": "iconify-json-flag-1.2.12",
    "flagpack": "iconify-json-flagpack-1.2.8",
    "circle-flags": "iconify-json-circle-flags-1.2.11",
    "cif": "iconify-json-cif-1.2.7",
}
ARTIST = {name: SAME_ARTIST.get(name, name) for name in (*EMOJI_SETS, *FLAG_SETS)}
"""Set -> the artist who drew it: drawings of one family share their shapes."""


@dataclass(frozen=True)
class IconSet:
    """One icon set: SVG bodies by name, aliases, and names by code point sequence."""

    name: str
    icons: dict[str, dict]
    aliases: dict[str, dict]
    by_code: dict[str, str]
    size: tuple[int, int]


def code(hexcode: str) -> str:
    """A code point sequence without variation selectors, in lower case: the key that all sets share."""
    return "-".join(part for part in hexcode.lower().split("-") if part != "fe0f")


def slug(label: str) -> str:
    """A label as icon sets spell it in their names."""
    plain = re.sub(r"[’'.]", "", label.lower())
    return re.sub(r"[^a-z0-9]+", "-", plain).strip("-")


def read_set(root: Path, name: str, package: str) -> IconSet:
    """Read one unpacked iconify package."""
    where = folder(root, package)
    table = json.loads((where / "icons.json").read_text(encoding="utf-8"))
    chars = where / "chars.json"
    raw = json.loads(chars.read_text(encoding="utf-8")) if chars.exists() else {}
    size = (table.get("width", 16), table.get("height", 16))
    return IconSet(name, table["icons"], table.get("aliases", {}), {code(k): v for k, v in raw.items()}, size)


def find(icons: IconSet, names: tuple[str, ...], hexcode: str = "") -> str | None:
    """Name of the set's icon for a code point sequence or one of several names, through plain aliases."""
    for name in (icons.by_code.get(hexcode), *names):
        steps = 0
        while name is not None and name not in icons.icons and steps < 5:
            alias = icons.aliases.get(name, {})
            # A flipped or turned alias is another picture than its parent.
            name = alias.get("parent") if not {"hFlip", "vFlip", "rotate"} & set(alias) else None
            steps += 1
        if name in icons.icons:
            return name
    return None


def render(icons: IconSet, name: str) -> bytes:
    """WebP bytes (quality 85, 64x64, RGB on white) of one icon, centred with its aspect kept."""
    icon = icons.icons[name]
    width = icon.get("width", icons.size[0])
    height = icon.get("height", icons.size[1])
    left, top = icon.get("left", 0), icon.get("top", 0)
    svg = (
        '<svg xmlns="http://www.w3.org/2000/svg" xmlns:xlink="http://www.w3.org/1999/xlink" '
        f'viewBox="{left} {top} {width} {height}" width="{width}" height="{height}">{icon["body"]}</svg>'
    )
    scale = _SIDE / max(width, height)
    box = (max(1, round(width * scale)), max(1, round(height * scale)))
    png = bytes(_renderer().svg_to_bytes(svg_string=svg, width=box[0], height=box[1]))
    drawing = Image.open(io.BytesIO(png), formats=("PNG",)).convert("RGBA")  # as it was just drawn
    drawing.thumbnail((_SIDE, _SIDE))
    page = Image.new("RGBA", (_SIDE, _SIDE), (255, 255, 255, 255))
    page.alpha_composite(drawing, ((_SIDE - drawing.width) // 2, (_SIDE - drawing.height) // 2))
    out = io.BytesIO()
    page.convert("RGB").save(out, "WEBP", quality=85, method=6)
    return out.getvalue()


def _renderer():
    # Only the builder needs the renderer: it is an optional dependency, so it is not imported above.
    try:
        return importlib.import_module("resvg_py")
    except ModuleNotFoundError as error:
        raise ModuleNotFoundError("the builder needs resvg-py; install the extra 'build'") from error
