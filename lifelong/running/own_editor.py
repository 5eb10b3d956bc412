"""What an editor of the user's returns, checked where it returns it: a wrong type is named before it is used.

Knows the contract's types; nothing of what an editor does. Editors that ship are held to the contract by tests.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import AbstractContextManager, contextmanager
from functools import wraps
from numbers import Integral
from typing import Any

from lifelong.editing.contract import Editor, Keys, Route, State
from lifelong.editing.find import EDITORS
from streams.types import Edit


class ReturnedError(ValueError):
    """An editor's method returned what the contract does not allow."""


def checked_editor(editor: Editor, name: str) -> Editor:
    """Return the editor, whose methods say `editor=NAME: METHOD returned ...` where they return the wrong type.

    Called on every editor of a run; one that ships is returned as it is.
    """
    if type(editor).__module__.startswith(f"{EDITORS}."):
        return editor
    for method, (expected, allows) in _RETURNS.items():
        setattr(editor, method, _checking(getattr(editor, method), f"editor={name}: {method}", expected, allows))
    plain = editor.applied

    @wraps(plain)
    def applied(queries: Any, routes: Any) -> AbstractContextManager[Any]:
        return _entered(plain(queries, routes), f"editor={name}: applied")

    editor.applied = applied
    return editor


def _checking(method: Callable[..., Any], who: str, expected: str, allows: Callable[..., bool]) -> Callable[..., Any]:
    @wraps(method)
    def call(*args: Any) -> Any:
        found = method(*args)
        if not allows(found, *args):
            wanted = expected.format(n=len(args[0]) if args else 0)
            raise ReturnedError(f"{who} returned {_short(found)}; expected {wanted}. Try `lifelong check`.")
        return found

    return call


@contextmanager
def _entered(context: Any, who: str) -> Iterator[Any]:
    if not hasattr(context, "__enter__"):
        raise ReturnedError(
            f"{who} returned {_short(context)}; expected a context manager (`@contextmanager` and one `yield`)."
        )
    with context as answerer:
        if not (hasattr(answerer, "score") and hasattr(answerer, "generate")):
            raise ReturnedError(
                f"{who} yields {_short(answerer)}; expected `self.vlm.answerer(queries)` or its like."
            )
        yield answerer


def _short(value: Any) -> str:
    size = f" of {len(value)}" if isinstance(value, Sequence | Keys) and not isinstance(value, str) else ""
    return "None" if value is None else f"a {type(value).__name__}{size}"


def _passed_over(found: Any, edits: Sequence[Edit]) -> bool:
    if found is None:
        return True
    ids = {edit.id for edit in edits}
    return isinstance(found, Mapping) and set(found) <= ids and all(isinstance(why, str) for why in found.values())


def _keys(found: Any, queries: Sequence[Any]) -> bool:
    return isinstance(found, Keys) and all(len(rows) == len(queries) for rows in found.arrays.values())


def _routes(found: Any, keys: Keys) -> bool:
    whole = isinstance(found, list | tuple) and len(found) == len(keys)
    return whole and all(isinstance(route, Route) for route in found)


def _number(found: Any) -> bool:
    return isinstance(found, Integral) and not isinstance(found, bool)


def _state(found: Any) -> bool:
    return isinstance(found, State)


_RETURNS: dict[str, tuple[str, Callable[..., bool]]] = {
    "edit": ("None, or why it passes over an edit by id: a dictionary of texts", _passed_over),
    "encode": ("Keys whose arrays have one row a query ({n} are needed)", _keys),
    "route": ("a list of one Route for each row of the keys ({n} are needed)", _routes),
    "state": ("a State", _state),
    "fitted": ("a State", _state),
    "nbytes": ("a whole number", _number),
    "bank_len": ("a whole number", _number),
}
