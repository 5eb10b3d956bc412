"""Texts of other people: read from their files, and made fit for one line. Knows nothing of their use."""

from __future__ import annotations

import codecs
import re
import stat
import unicodedata
from pathlib import Path

_HIDDEN = {"Cc", "Cf", "Cs", "Zl", "Zp", "Co", "Cn"}  # control, format, surrogate, line ends, private, unassigned
_JOINERS = {"\u200c", "\u200d"}  # parts of ordinary words and emoji
_WIDE = ((codecs.BOM_UTF32_LE, "UTF-32"), (codecs.BOM_UTF16_LE, "UTF-16"), (codecs.BOM_UTF16_BE, "UTF-16"))
_PICTURE_MARK = re.compile(
    r"<\|?/?(?:start_of_|end_of_|fake_token_around_)?(?:image|img|video|vision)(?:_[a-z0-9_]+|[ ]?[0-9]+|here)?\|?/?>"
    r"|\[/?IMG(?:_[A-Z]+)*\]",
    re.IGNORECASE,
)
_LINE_END = re.compile(r"\r\n|\r|\n")
_HALF = re.compile("[\ud800-\udfff]")


class TextError(ValueError):
    """A file that cannot be read as text; the message says why, and whoever asked adds what the file is for."""


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


def read_text(path: Path, *, strict: bool = True) -> str:
    """Return the text of a UTF-8 file, with or without a byte order mark; called for every file that a user wrote.

    Without `strict` bytes that are no UTF-8 come back as half characters (U+DC80 to U+DCFF), so that whoever takes
    the text apart can say in which field they stand. Raises `TextError` for what is no regular file or no text.
    """
    try:
        if not stat.S_ISREG(path.stat().st_mode):
            raise TextError(
                "it is a folder." if path.is_dir() else "it is no regular file. Write its content to one."
            )
        data = path.read_bytes()
    except (OSError, ValueError) as error:
        if isinstance(error, TextError):
            raise
        reason = (error.strerror if isinstance(error, OSError) else None) or str(error)
        raise TextError(f"cannot read it ({reason}).") from error
    for mark, name in _WIDE:
        if data.startswith(mark):
            raise TextError(f"it is {name}. Save it as UTF-8.")
    data = data.removeprefix(codecs.BOM_UTF8)
    try:
        return data.decode("utf-8", "strict" if strict else "surrogateescape")
    except UnicodeDecodeError as error:
        line = len(_LINE_END.findall(data[: error.start].decode("utf-8", "replace"))) + 1
        raise TextError(f"line {line}: byte 0x{data[error.start]:02x} is no UTF-8. Save it as UTF-8.") from error


def lines_of(text: str) -> list[str]:
    r"""Return the lines of a text, ended by LF, CR LF or CR and by nothing else that Unicode calls a line end.

    >>> lines_of("a\u2028b\r\nc\x85d")
    ['a\u2028b', 'c\x85d']
    """
    return _LINE_END.split(text)


def half_character(text: str) -> str:
    r"""Return the first character of a text that is half of one (a lone surrogate) as its escape, '' without one.

    >>> half_character("a\ud83d"), half_character("a\U0001f600")
    ('\\ud83d', '')
    """
    found = _HALF.search(text)
    return printable(found.group()) if found else ""


def picture_mark(text: str) -> str:
    """Return the first mark in a text by which processors of models know the place of a picture, '' without one.

    >>> picture_mark("look <image> here"), picture_mark("<|vision_start|>"), picture_mark("a < b, <b>bold</b>")
    ('<image>', '<|vision_start|>', '')
    """
    found = _PICTURE_MARK.search(text)
    return found.group() if found else ""
