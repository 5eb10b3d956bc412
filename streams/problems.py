"""What is wrong with a setting, said in plain words: the key, what was given, what is expected, the default.

pydantic finds the mistake; its words are for programmers. Knows pydantic's models and errors, nothing of settings.
"""

from __future__ import annotations

import types
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Any, Literal, Union, get_args, get_origin

from pydantic import BaseModel, ValidationError
from pydantic.fields import FieldInfo

from streams.near import near
from streams.text import printable

_SHOWN = 3  # problems in one line
_WIDTH = 80  # characters of a value
_MANY = {"a whole number": "whole numbers", "a number": "numbers", "a text": "texts", "a path": "paths"}


@dataclass(frozen=True)
class IsPath:
    """Marks a text that is a path, or is one after a prefix such as `disk:`.

    `words` are names of no file; what lies at a path that is not `read` changes nothing.
    """

    prefix: str = ""
    words: tuple[str, ...] = ()
    read: bool = True


def problems(model: type[BaseModel], error: ValidationError, what: str = "") -> str:
    """Return everything that pydantic found wrong with a model's table as one line, every key once.

    `what` stands before the keys (`editor`, `stream`; nothing for the keys of a run).
    """
    found: dict[str, str] = {}
    for one in error.errors(include_url=False):
        key, owner, field = _place(model, tuple(one["loc"]), what)
        if key not in found:
            found[key] = _sentence(key, owner, field, one)
    sentences = list(found.values())
    more = f" And {len(sentences) - _SHOWN} more." if len(sentences) > _SHOWN else ""
    return " Also: ".join(sentences[:_SHOWN]) + more


def expected_words(field: FieldInfo) -> str:
    """Return what a field takes in words, with its bounds.

    >>> from pydantic import Field, create_model
    >>> expected_words(create_model("Some", share=(float, Field(1.0, ge=0, le=1))).model_fields["share"])
    'a number from 0 to 1'
    """
    return kind_words(field.annotation, field.metadata)


def default_of(field: FieldInfo) -> Any:
    """Return a field's default as plain data; None where it must be given."""
    if field.is_required():
        return None
    default = field.get_default(call_default_factory=True)
    return default.model_dump(mode="json") if isinstance(default, BaseModel) else default


def shown_value(value: Any) -> str:
    """Return a value as one would write it in a word, cut where it is long.

    >>> shown_value([1, True, "a"]), shown_value("x" * 99)[-5:]
    ('1,true,a', 'x ...')
    """
    text = getattr(value, "text", None)
    if text is None and isinstance(value, list | tuple):
        text = ",".join(map(shown_value, value))
    if text is None:
        text = str(value).lower() if isinstance(value, bool) or value is None else str(value)
    text = printable(text.replace("\n", "\\n"))
    return text if len(text) <= _WIDTH else text[:_WIDTH] + " ..."


def kind_words(kind: Any, marks: Sequence[Any] = ()) -> str:
    """Return what a type takes in words."""
    origin, arms = get_origin(kind), get_args(kind)
    if origin is Annotated:
        return kind_words(kind.__origin__, kind.__metadata__)
    if origin in (Union, types.UnionType):
        words = dict.fromkeys(kind_words(arm, marks) for arm in arms if arm is not type(None))
        return " or ".join(words)
    if origin is Literal:
        return f"one of {', '.join(map(str, arms))}"
    if (origin or kind) in (tuple, list, set, frozenset, Sequence):
        inner = [kind_words(arm) for arm in arms if arm is not Ellipsis]
        return f"a list of {_MANY.get(inner[0], inner[0])}" if inner else "a list"
    if isinstance(kind, type) and issubclass(kind, BaseModel):
        return getattr(kind, "takes", "options after a dot")
    is_path = any(isinstance(mark, IsPath) and not mark.prefix for mark in marks)
    plain = {bool: "true or false", int: "a whole number", float: "a number", Path: "a path", str: "a text"}
    said = "a path" if is_path and kind is str else plain.get(kind, getattr(kind, "__name__", str(kind)))
    return said + _bounds(marks)


def _bounds(marks: Sequence[Any]) -> str:
    bound: dict[str, Any] = {}
    for mark in marks:
        for name in ("ge", "gt", "le", "lt"):
            if getattr(mark, name, None) is not None:
                bound[name] = getattr(mark, name)
    if not bound:
        return ""
    if {"ge", "le"} <= set(bound):
        return f" from {_number(bound['ge'])} to {_number(bound['le'])}"
    words = {"ge": "of at least", "gt": "above", "le": "of at most", "lt": "below"}
    return " " + " and ".join(f"{words[name]} {_number(value)}" for name, value in bound.items())


def _number(value: Any) -> str:
    if not isinstance(value, float):
        powers = {2**63 - 1: "2^63 - 1", **{10**n: f"10^{n}" for n in range(6, 19)}}
        return powers.get(value, str(value))
    return f"{value:g}".replace("e-0", "e-").replace("e+0", "e")


def _place(
    model: type[BaseModel], loc: tuple[str | int, ...], what: str
) -> tuple[str, type[BaseModel], FieldInfo | None]:
    """Return the key that a place in a table is, the model that owns it and its field (None: it has no such key)."""
    owner, field, path = model, None, [what] if what else []
    inner: type[BaseModel] | None = model
    for step in loc:
        if inner is None or not isinstance(step, str):
            break
        owner, field = inner, inner.model_fields.get(step)
        path.append(step)
        if field is None:
            break
        inner = _model_in(field.annotation)
    return ".".join(path), owner, field


def _model_in(kind: Any) -> type[BaseModel] | None:
    if isinstance(kind, type) and issubclass(kind, BaseModel):
        return kind
    return next((found for arm in get_args(kind) if (found := _model_in(arm))), None)


def _sentence(key: str, owner: type[BaseModel], field: FieldInfo | None, one: Mapping[str, Any]) -> str:
    if one["type"] == "extra_forbidden":
        return f"{key}: there is no such key.{near(key.rsplit('.', 1)[-1], owner.model_fields)}"
    message = str(one["msg"]).removeprefix("Value error, ").rstrip(".")
    if field is None:  # a rule of the whole table
        return f"{key}: {message}." if key else f"{message}."
    wanted = f"expected {expected_words(field)}{_default(field)}{_about(field)}"
    if one["type"] == "missing":
        return f"{key}: it must be given; {wanted}."
    given = one["input"]
    if one["type"] == "value_error":
        return f"{message}." if message.startswith(key) else f"{key}={shown_value(given)}: {message}."
    if isinstance(given, list | tuple) and not expected_words(field).startswith("a list"):
        several = "a list of values is for `lifelong sweep`, which takes each in turn"
        return f"{key}={shown_value(given)}: expected {expected_words(field)}{_default(field)}; {several}."
    if one["type"] == "string_type":
        wanted += "; in a file a text stands in quotes"
    return f"{key}={shown_value(given)}: {wanted}."


def _default(field: FieldInfo) -> str:
    default = default_of(field)
    return (
        "" if default in (None, "", (), []) or isinstance(default, Mapping) else f" (default {shown_value(default)})"
    )


def _about(field: FieldInfo) -> str:
    return f": {field.description}" if field.description else ""
