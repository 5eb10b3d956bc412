"""Pages from templates: every text is escaped, and shows no control characters. Knows templates, not what is in them.

A page is one file that opens from disk: style, script and pictures are inside, and its policy lets a browser load
nothing else.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from jinja2 import Environment, FileSystemLoader, StrictUndefined
from markupsafe import Markup, escape

from reports.figures.inline import Entry
from reports.figures.looks import HUES, SHADES
from streams.text import printable

TEMPLATES = Path(__file__).parent / "templates"


def page_bytes(template: str, **said: Any) -> bytes:
    """Return a page of a template (`report.html.j2`) as bytes; what it asks for and is not given is an error."""
    made = Environment(
        loader=FileSystemLoader(TEMPLATES),
        autoescape=True,
        undefined=StrictUndefined,
        finalize=_shown,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    made.globals |= {
        "markup": Markup,
        "hues": HUES | SHADES,
        "ordered": _ordered,
    }  # markup: for SVG that was written by this package
    return made.get_template(template).render(**said).encode()


def _ordered(entries: Sequence[Entry], known: Mapping[str, str]) -> list[Entry]:
    """Return a legend with editors in the page's order, before everything else."""
    places = list(known)
    return sorted(entries, key=lambda one: places.index(one.editor) if one.editor in known else len(places))


def _shown(value: object) -> object:
    """Return what a template writes, with control characters as their escapes."""
    return value if isinstance(value, Markup) or not isinstance(value, str) else printable(value)


def html_text(value: object) -> str:
    """Return any value as a piece of a page that no template makes: what is in it is text, in quotes safely too.

    >>> html_text("<b> & 'x'"), html_text("a\\x1b[1m")
    ('&lt;b&gt; &amp; &#39;x&#39;', 'a\\\\x1b[1m')
    """
    return str(escape(printable(str(value))))
