"""What a misspelt word may have meant, for error messages. Knows words only."""

from __future__ import annotations

import difflib
from collections.abc import Iterable


def near(word: str, known: Iterable[str]) -> str:
    """Return ' Did you mean X?' for a misspelt word ('' when nothing is near), followed by all known ones.

    >>> near("editr", ["editor", "seed"])
    " Did you mean 'editor'? Known: editor, seed."
    """
    names = sorted(known)
    close = difflib.get_close_matches(word, names, 3, 0.5)
    hint = f" Did you mean {' or '.join(map(repr, close))}?" if close else ""
    return f"{hint} Known: {', '.join(names) or 'nothing'}."
