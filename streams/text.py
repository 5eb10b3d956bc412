"""Texts of other people made fit for one line of a terminal, a log or an error; knows nothing of where they go."""

from __future__ import annotations

import unicodedata

_HIDDEN = {"Cc", "Cf", "Cs", "Zl", "Zp", "Co", "Cn"}  # control, format, surrogate, line ends, private, unassigned
_JOINERS = {"\u200c", "\u200d"}  # parts of ordinary words and emoji


def printable(text: str) -> str:
    r"""Return a text of which no character moves the cursor, ends the line or hides: each is written as its escape.

    Called on every name, id, prompt and answer before it is printed. Ordinary letters of any script stay.

    >>> printable("red\x1b[31m line\nnext"), printable("a\ud800"), printable("naïve 鳥")
    ('red\\x1b[31m line\\nnext', 'a\\ud800', 'naïve 鳥')
    """
    return "".join(
        c
        if c in _JOINERS or unicodedata.category(c) not in _HIDDEN
        else c.encode("unicode_escape", "surrogatepass").decode("ascii")
        for c in text
    )
