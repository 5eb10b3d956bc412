"""The records of a JSON file: one a line, or all in one array. Knows places in a file, not what records mean.

A record that is no JSON says so by itself, so that whoever reads the file can name all bad ones at once.
"""

from __future__ import annotations

import json
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from streams.text import TextError, half_character, lines_of, printable, read_text

_SPACE = " \t\r\n\ufeff"  # of JSON, and the mark that stands between files that were joined
_DIGITS = 18  # of a whole number that fits 64 bits
HINT = "One object a line, or all in one array."


class RecordsError(ValueError):
    """A file of which no single record can be taken; the message names the file, and the line where it is known."""


@dataclass(frozen=True)
class HugeNumber:
    """Stands for a whole number of more digits than any field can take."""

    digits: int


class JsonObject(dict[str, Any]):
    """An object as the file says it; `twice` is the first name that it gives two values ('' : none)."""

    twice: str = ""


@dataclass(frozen=True)
class RawRecord:
    """One record: where in its file it stands, its text, and what it says, or the problem with it ('' : none)."""

    place: str
    text: str
    value: Any
    problem: str = ""


def read_records(path: Path) -> list[RawRecord]:
    """Return the records of a file in order, called once when a stream is loaded; raises `RecordsError`.

    Empty lines are passed over. In an array nothing after a broken record can be told apart: that is an error.
    """
    try:
        text = read_text(path, strict=False)
    except TextError as error:
        raise RecordsError(f"{error}") from error
    if text.lstrip(_SPACE).startswith("["):
        return list(_of_array(path, text))
    return list(_of_lines(text))


def shown(value: Any) -> str:
    """Return what a value of a file is, short and on one line, for an error message.

    >>> shown(["a"]), shown(None), shown(12), shown("x"), shown(HugeNumber(5000))
    ('a list', 'null', '12', "'x'", 'a number of 5000 digits')
    """
    if isinstance(value, HugeNumber):
        return f"a number of {value.digits} digits"
    if isinstance(value, list | dict):
        return "a list" if isinstance(value, list) else "an object"
    if value is None or isinstance(value, bool):
        return {None: "null", True: "true", False: "false"}[value]
    if isinstance(value, str):
        return f"'{printable(value[:60])}{'...' if len(value) > 60 else ''}'"
    return str(value)


def _of_lines(text: str) -> Iterator[RawRecord]:
    for number, line in enumerate(lines_of(text), 1):
        line = line.strip(_SPACE)
        if not line:
            continue
        place = f"line {number}"
        try:
            yield RawRecord(place, line, _DECODER.decode(line))
        except json.JSONDecodeError as error:
            yield RawRecord(place, line, None, f"column {error.colno}: no JSON ({_why(error, line)}). {HINT}")
        except RecursionError:
            yield RawRecord(place, line, None, "lists or objects are nested too deep. A record needs three levels.")


def _of_array(path: Path, text: str) -> Iterator[RawRecord]:
    at, number = _next(text, text.index("[") + 1), 0
    line, counted = 1, 0
    if text[at : at + 1] == "]":
        at += 1
    else:
        while True:
            number += 1
            line, counted = line + len(lines_of(text[counted:at])) - 1, at
            place = f"record {number} (line {line})"
            try:
                value, end = _DECODER.raw_decode(text, at)
            except json.JSONDecodeError as error:
                where = f"{path}, line {error.lineno}, column {error.colno}"
                raise RecordsError(f"{where}: no JSON in record {number} ({_why(error, text)}). {HINT}") from error
            except RecursionError as error:
                raise RecordsError(f"{path}, {place}: lists or objects are nested too deep.") from error
            yield RawRecord(place, text[at:end], value)
            at = _next(text, end)
            if text[at : at + 1] not in (",", "]"):
                raise RecordsError(f"{path}, {place}: a comma or the end of the array is missing after it. {HINT}")
            closed = text[at] == "]"
            at = _next(text, at + 1)
            if closed:
                break
    if _next(text, at) < len(text):
        raise RecordsError(f"{path}, line {len(lines_of(text[:at]))}: something stands after the end of the array.")


def _next(text: str, at: int) -> int:
    while at < len(text) and text[at] in _SPACE:
        at += 1
    return at


def _why(error: json.JSONDecodeError, text: str) -> str:
    half = half_character(text[error.pos : error.pos + 1])
    return f"a byte that is no UTF-8: {half}" if half else error.msg


def _object(pairs: list[tuple[str, Any]]) -> JsonObject:
    found = JsonObject(pairs)
    if len(found) < len(pairs):
        seen: set[str] = set()
        found.twice = next(name for name, _ in pairs if name in seen or seen.add(name))
    return found


def _whole(digits: str) -> int | HugeNumber:
    return int(digits) if len(digits) <= _DIGITS else HugeNumber(len(digits.lstrip("-")))


_DECODER = json.JSONDecoder(object_pairs_hook=_object, parse_int=_whole)
