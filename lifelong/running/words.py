"""Plain tables as TOML text (the standard library only reads it); knows nothing about what the keys mean."""

from __future__ import annotations

import json
import re
import tomllib
from collections.abc import Mapping, Sequence
from datetime import date
from datetime import time as clock_time
from pathlib import Path
from typing import Any

from streams.settings import said_as
from streams.text import TextError, read_text


def to_toml(table: Mapping[str, Any], prefix: str = "") -> str:
    """Return nested plain tables as TOML text that reads back as they are; None values are left out.

    Raises `ConfigError` for what TOML cannot hold: None in a list, half a surrogate pair, another kind of object.

    >>> print(to_toml({"seed": 1, "editor": {"name": "grace"}}), end="")
    seed = 1
    <BLANKLINE>
    [editor]
    name = "grace"
    """
    scalars = {k: v for k, v in table.items() if not isinstance(v, Mapping) and v is not None}
    text = "".join(f"{_toml_key(k)} = {_toml_value(v, f'{prefix}{k}')}\n" for k, v in scalars.items())
    for key, below in table.items():
        if isinstance(below, Mapping):
            name = f"{prefix}{_toml_key(key)}"
            text += f"\n[{name}]\n" + to_toml(below, f"{name}.")
    return text


def _toml_key(key: str) -> str:
    return key if re.fullmatch(r"[A-Za-z0-9_-]+", key) else _toml_text(key, key)


def _toml_value(value: Any, place: str) -> str:
    if isinstance(value, list | tuple):
        return "[" + ", ".join(_toml_value(v, place) for v in value) + "]"
    if isinstance(value, Mapping):  # in a list, where a table of its own has no place
        held = ((k, v) for k, v in value.items() if v is not None)
        return "{" + ", ".join(f"{_toml_key(k)} = {_toml_value(v, place)}" for k, v in held) + "}"
    if isinstance(value, bool):
        return "true" if value else "false"
    if isinstance(value, str):
        return _toml_text(value, place)
    if isinstance(value, int | float):
        return float.__repr__(value) if isinstance(value, float) else int.__repr__(value)
    if isinstance(value, date | clock_time):
        return value.isoformat()
    raise ConfigError(
        f"{place}: {value!r} cannot be written into a TOML file. Expected text, numbers, lists, tables."
    )


def _toml_text(value: str, place: str) -> str:
    if any("\ud800" <= c <= "\udfff" for c in value):
        raise ConfigError(f"{place}: {value!r} has half a character in it, which no file can hold.")
    return json.dumps(value, ensure_ascii=False).replace("\x7f", "\\u007f")


_BETWEEN_COMMAS = re.compile(r"""(?:"(?:\\.|[^"\\])*"|'[^']*'|[^,"'])+""")


class ConfigError(ValueError):
    """A key, a value or a file of a configuration is wrong; the message is one line and names near keys."""


def parse_value(text: str) -> Any:
    """Return the value of a key=value word: a TOML value, a list without brackets, or else the text itself.

    A date is a text, as no key wants one. Numbers and lists remember how they were written
    (`streams.settings.said`), because the key's type decides: `name=1.10` is a text. A text in quotes is what stands
    inside them.

    >>> parse_value("0.8"), parse_value("1,2,5"), parse_value("true"), parse_value("grace"), parse_value("a,b")
    (0.8, [1, 2, 5], True, 'grace', ['a', 'b'])
    """
    text = text.strip()
    found = _toml(text)
    if found is None and "," in text:
        found = _toml(f"[{text}]") if set(text) & set("[{") else None
        if found is None:  # item by item, so that each remembers how it was written
            return said_as([parse_value(item) for item in _items(text) if item.strip()], text)
    return text if found is None or isinstance(found, date | clock_time) else said_as(found, text)


def _items(text: str) -> list[str]:
    """Return what stands between the commas of a text that are outside quotes."""
    items = _BETWEEN_COMMAS.findall(text)
    whole = ",".join(items) == re.sub(",+", ",", text.strip(","))
    return items if whole else text.split(",")  # an apostrophe is no quote


def _toml(text: str) -> Any:
    """Return a text read as one TOML value, None where it is none."""
    if "\n" in text or "#" in text and not set(text) & set("\"'"):  # more than a value
        return None
    try:
        table = tomllib.loads(f"v = {text}")
    except (ValueError, RecursionError):  # a number of thousands of digits is a ValueError, too
        return None
    return table["v"] if len(table) == 1 else None


def parse_words(words: Sequence[str]) -> dict[str, Any]:
    """Return key -> value of words such as `editor.radius=0.8`.

    Raises `ConfigError` for a word without `=`, and for two values of one key.
    """
    pairs: dict[str, Any] = {}
    texts: dict[str, str] = {}
    for word in words:
        key, equals, value = (part.strip() for part in word.partition("="))
        if not equals or not key:
            raise ConfigError(f"{word!r}: expected key=value, for example editor=grace or panels=1,10,100.")
        one = key.removesuffix(".name") if key.count(".") == 1 else key  # `editor.name` is `editor`
        if one in texts:
            raise ConfigError(
                f"{one} is given twice, as {texts[one]} and as {value}: give it once. "
                f"Several values are for `lifelong sweep {one}={texts[one]},{value}`."
            )
        texts[one] = value
        pairs[one] = parse_value(value)
    return pairs


INNER_PART = ("fit", "stream")
"""The one part of a run that stands inside a table."""


def override(table: Mapping[str, Any], changes: Mapping[str, Any]) -> dict[str, Any]:
    """Return a nested table with changes by dotted key; another name for a part drops the old part's options.

    Only `fit.stream`, a part inside a table, has options after a second dot.

    >>> override({"editor": {"name": "grace", "radius": 1}}, {"editor.radius": 2, "editor": "ft"})
    {'editor': {'name': 'ft', 'radius': 2}}
    """
    result = {k: dict(v) if isinstance(v, Mapping) else v for k, v in table.items()}
    for key, value in sorted(changes.items(), key=lambda pair: pair[0].count(".")):
        *path, last = key.split(".")
        if last == "name" and len(path) == 1:  # `editor.name` is `editor`
            path, last = [], path[0]
        if not path:
            before = result.get(last)
            same = isinstance(before, Mapping) and before.get("name") == value
            result[last] = before if same else value
            continue
        if len(path) > 1 and tuple(path) != INNER_PART:
            raise ConfigError(f"{key}: keys have at most one dot.")
        if tuple(path) == INNER_PART:
            inner = result.get(path[0], {})
            result[path[0]] = {
                **inner,
                path[1]: override({path[1]: inner.get(path[1], {})}, {f"{path[1]}.{last}": value})[path[1]],
            }
            continue
        below = result.setdefault(path[0], {})
        if not isinstance(below, Mapping):
            below = {"at" if path[0] == "panels" else "name": below}
        result[path[0]] = {**below, last: value}
    return result


def read_toml(path: Path) -> dict[str, Any]:
    """Return a TOML file's tables; raises `ConfigError` with the file's name."""
    try:
        return tomllib.loads(read_text(path))
    except TextError as error:
        raise ConfigError(f"{path}: {error}") from error
    except (ValueError, RecursionError) as error:  # TOML's own errors, and numbers of thousands of digits
        raise ConfigError(f"{path}: cannot be read as TOML ({error}).") from error


def words_of(settings: Mapping[str, Any]) -> list[str]:
    """Return settings as key=value words, the way they are given on the command line.

    >>> words_of({"seed": 1, "stream": {"name": "toy", "order": "shuffled"}})
    ['seed=1', 'stream=toy', 'stream.order=shuffled']
    """
    words = []
    for key, value in settings.items():
        below = value if isinstance(value, Mapping) else {"name": value}
        words += [f"{key if k == 'name' else f'{key}.{k}'}={_text(v)}" for k, v in below.items()]
    return words


def _text(value: Any) -> str:
    if isinstance(value, list | tuple):
        return ",".join(map(_text, value))
    return str(value).lower() if isinstance(value, bool) or value is None else str(value)
