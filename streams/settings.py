"""What was said for a setting, and what is meant by it: the type that is wanted decides.

A text stays as it was written, a path is made absolute from the place that says it, a list may be one value. Knows
pydantic models and plain values; nothing of what a setting does.
"""

from __future__ import annotations

import os
import types
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Annotated, Any, Literal, TypeVar, Union, get_args, get_origin

from pydantic import BaseModel, ValidationError

from streams.problems import IsPath, problems

_Model = TypeVar("_Model", bound=BaseModel)
_LISTS = (tuple, list, set, frozenset, Sequence)
LARGEST = 2**63 - 1  # what Parquet, NumPy and torch hold


class SettingError(ValueError):
    """A setting has a key or a value that it cannot have; the message is one line."""


class SaidInt(int):
    """A whole number that remembers the word it was read from."""

    text: str


class SaidFloat(float):
    """A number that remembers the word it was read from."""

    text: str


class SaidList(list[Any]):
    """A list that remembers the word it was read from."""

    text: str


class SaidTable(dict[str, Any]):
    """A table that remembers the word it was read from."""

    text: str


class SaidText(str):
    """A text that remembers the folder of the file that says it: relative paths begin there."""

    base: Path


_KINDS: Mapping[type, type] = {int: SaidInt, float: SaidFloat, list: SaidList, dict: SaidTable}


def said_as(value: Any, text: str) -> Any:
    """Return a value that remembers the word it was read from, where that may matter (a list's `1.10` is no 1.1)."""
    if type(value) not in _KINDS:
        return value
    made = _KINDS[type(value)](value)
    made.text = text
    return made


def said_in(value: Any, folder: Path) -> Any:
    """Return a file's value or table whose texts remember the file's folder."""
    if isinstance(value, str):
        text = SaidText(value)
        text.base = folder
        return text
    if isinstance(value, Mapping):
        return {key: said_in(below, folder) for key, below in value.items()}
    return [said_in(below, folder) for below in value] if isinstance(value, list) else value


def said_text(value: Any) -> Any:
    """Return the word that a value was read from, or the value itself where none is known.

    >>> said_text(said_as(1.1, "1.10")), said_text(True), said_text(7)
    ('1.10', 'true', 7)
    """
    if isinstance(value, bool):
        return str(value).lower()
    return getattr(value, "text", value)


PathText = Annotated[str, IsPath()]
"""A path as a text; an empty one is none. What `meant` returns is absolute."""


def absolute(value: str, prefix: str = "") -> str:
    """Return a path that is absolute: from the folder of the file that says it, else from the current one.

    `~` is the home folder; an empty path stays empty. With a prefix only what follows it is a path, and a text
    without it stays as it is. Raises `SettingError` for a user that does not exist.
    """
    if not value.startswith(prefix) or value == prefix:
        return str(value)
    rest = value[len(prefix) :]
    if "\0" in rest:
        raise SettingError("a path has no character NUL")
    try:
        path = Path(rest).expanduser() if rest.startswith("~") else Path(rest)
    except RuntimeError:
        name = rest.split("/")[0]
        raise SettingError(f"there is no user {name[1:]!r} here; a file of this name is ./{name}") from None
    return prefix + os.path.abspath(getattr(value, "base", Path.cwd()) / path)


def checked_settings(model: type[_Model], table: Mapping[str, Any], what: str) -> _Model:
    """Return a model made of what was said; `what` stands before its keys. Raises `SettingError`, one line."""
    try:
        return model.model_validate(meant(model, table, what))
    except ValidationError as error:
        raise SettingError(problems(model, error, what)) from error


def meant(model: type[BaseModel], table: Mapping[str, Any], what: str = "") -> dict[str, Any]:
    """Return a model's table with every value as its field means it; raises `SettingError` naming the key."""
    out = dict(table)
    for key, value in table.items():
        field = model.model_fields.get(key)
        if field is None:
            continue
        name = f"{what}.{key}" if what else key
        try:
            out[key] = _meant(field.annotation, tuple(field.metadata), value, name)
        except SettingError as error:
            prefix = "" if str(error).startswith(name) else f"{name}={str(said_text(value))[:80]}: "
            raise SettingError(f"{prefix}{error}".rstrip(".") + ".") from None
    return out


def path_options(model: type[BaseModel], options: Mapping[str, Any]) -> dict[str, str]:
    """Return those of a model's options that are paths to read (without what stands before them) and are given."""
    found = {}
    for key, value in options.items():
        field = model.model_fields.get(key)
        mark = None if field is None else _path_mark(field.annotation, tuple(field.metadata))
        text = str(value) if isinstance(value, str | Path) else ""
        if mark is not None and mark.read and text.startswith(mark.prefix) and text not in mark.words:
            found[key] = text[len(mark.prefix) :]
    return {key: value for key, value in found.items() if value}


def _path_mark(kind: Any, marks: tuple[Any, ...]) -> IsPath | None:
    marked = next((mark for mark in marks if isinstance(mark, IsPath)), None)
    if marked is not None:
        return marked
    if isinstance(kind, type) and issubclass(kind, Path):
        return IsPath()
    if get_origin(kind) is Annotated:
        return _path_mark(kind.__origin__, kind.__metadata__)
    if get_origin(kind) in (Union, types.UnionType):
        return next((found for arm in get_args(kind) if (found := _path_mark(arm, ()))), None)
    return None


def _meant(kind: Any, marks: tuple[Any, ...], value: Any, name: str) -> Any:
    mark = _path_mark(kind, marks)
    if mark is not None and value is not None:
        text = said_text(str(value) if isinstance(value, os.PathLike) else value)
        return absolute(text, mark.prefix) if isinstance(text, str) and text not in mark.words else text
    if get_origin(kind) is Annotated:
        return _meant(kind.__origin__, kind.__metadata__, value, name)
    if get_origin(kind) in (Union, types.UnionType):
        return _of_several([arm for arm in get_args(kind) if arm is not type(None)], value, name)
    if kind is str or _names(kind):
        return said_text(value)
    if get_origin(kind) in _LISTS or kind in _LISTS:
        return _items(kind, value, name)
    if isinstance(kind, type) and issubclass(kind, BaseModel) and isinstance(value, Mapping):
        return meant(kind, value, name)
    if kind in (int, float) and isinstance(value, bool):
        return said_text(value)  # true is no 1
    if kind in (int, float) and isinstance(value, int) and abs(value) > LARGEST:
        raise SettingError(f"a number of at most {LARGEST} (2^63 - 1) is needed")
    return value


def _of_several(arms: list[Any], value: Any, name: str) -> Any:
    """Of several types: a list's where a list is given, a text's where all are texts, else the value as it is."""
    lists = [arm for arm in arms if get_origin(arm) in _LISTS or arm in _LISTS]
    if len(arms) == 1 or (lists and isinstance(value, list | tuple)):
        return _meant((lists or arms)[0], (), value, name)
    if all(arm is str or _names(arm) for arm in arms):
        return said_text(value)
    numbers = int in arms or float in arms
    return said_text(value) if isinstance(value, bool) and numbers and bool not in arms else value


def _names(kind: Any) -> bool:
    return get_origin(kind) is Literal and any(isinstance(name, str) for name in get_args(kind))


def _items(kind: Any, value: Any, name: str) -> Any:
    if value is None or isinstance(value, Mapping):
        return value
    items = list(value) if isinstance(value, list | tuple | set | frozenset) else [value]
    inner = [arm for arm in get_args(kind) if arm is not Ellipsis]
    if not inner:
        return items
    return [_meant(inner[min(n, len(inner) - 1)], (), item, name) for n, item in enumerate(items)]
