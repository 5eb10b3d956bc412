"""Every exception as one line for the user: a mistake in its words, an editor's error with its place, a bug as one.

Knows exceptions and tracebacks; decides nothing about exit codes or where lines go.
"""

from __future__ import annotations

import linecache
from collections.abc import Sequence
from pathlib import Path
from types import TracebackType

from pydantic import ValidationError

from lifelong.editing.find import USERS
from streams.problems import shown_value
from streams.text import printable
from streams.types import Edit

_OURS = ("lifelong", "streams", "reports")
_LONGEST = 1500  # characters of an error: a library's list of everything it knows helps nobody
_WORDED = (
    ValueError,
    RuntimeError,
    KeyError,
    ArithmeticError,
)  # those that this package raises have good words
_LONGEST_WORD = 300
_EXTRAS = "Install it, or this package with its extras: pip install 'lifelong-edit[cpu]'."


def line_of_error(error: BaseException) -> str:
    """Return what to tell the user of an exception, on one line and without control characters."""
    while _is_copy(error):
        error = error.__cause__ or error
    frames = list(_frames(error.__traceback__))
    text = _of_editor(error, frames) or _of_resources(error) or _of_mistake(error, frames) or _of_bug(error, frames)
    text = printable(" ".join(word if len(word) < _LONGEST_WORD else word[:80] + "..." for word in text.split()))
    return text if len(text) < _LONGEST else text[:_LONGEST] + " ..."


def _is_copy(error: BaseException) -> bool:
    """Whether an exception only stands for its cause: simpy raises a copy of what was raised in a process."""
    cause = error.__cause__
    return cause is not None and type(cause) is type(error) and cause.args == error.args


def _frames(trace: TracebackType | None) -> Sequence[TracebackType]:
    found = []
    while trace is not None:
        found.append(trace)
        trace = trace.tb_next
    return found


def _of_editor(error: BaseException, frames: Sequence[TracebackType]) -> str:
    """Of an error below a user's editor: its file, the line there, which method was called, with which edits."""
    own = [frame for frame in frames if _module(frame).startswith(USERS)]
    if not own:
        return ""
    code = own[0].tb_frame.f_code
    edits = _edits(own[0])
    among = f" of {', '.join(edits[:3])}{' ...' if len(edits) > 3 else ''}" if edits else ""
    place = f"editor={code.co_filename}, line {own[-1].tb_lineno}, in {code.co_name}{among}"
    return f"{place}: {type(error).__name__}: {_text(error)} LIFELONG_TRACEBACK=1 shows the way there."


def _edits(frame: TracebackType) -> list[str]:
    for value in frame.tb_frame.f_locals.values():
        if isinstance(value, list | tuple) and value and all(isinstance(item, Edit) for item in value):
            return [edit.id for edit in value]
    return []


def _of_resources(error: BaseException) -> str:
    """Of an error that no word of the user's caused: memory, nesting, what is not installed."""
    text = str(error)
    if isinstance(error, MemoryError) or type(error).__name__ == "OutOfMemoryError" or "not enough memory" in text:
        return f"not enough memory. {text} Ask for less at once, or use a machine with more."
    if isinstance(error, RecursionError):
        return f"something is nested too deeply. {text}."
    if isinstance(error, ModuleNotFoundError):
        return f"{text}. {_EXTRAS}" if not text.endswith(".") else text
    return ""


def _of_mistake(error: BaseException, frames: Sequence[TracebackType]) -> str:
    """Of an error that this package words itself, and of one of the system (which names its file)."""
    if isinstance(error, ValidationError):
        return " Also: ".join(
            f"{'.'.join(map(str, one['loc'])) or error.title}={shown_value(one['input'])}: {one['msg']}."
            for one in error.errors(include_url=False)[:3]
        )
    ours = type(error).__module__.partition(".")[0] in _OURS
    if ours or isinstance(error, OSError) or (isinstance(error, _WORDED) and _raised_here(frames)):
        return _text(error)
    return ""


def _of_bug(error: BaseException, frames: Sequence[TracebackType]) -> str:
    """Of anything else: what and where, so that it can be reported."""
    own = [frame for frame in frames if _module(frame).partition(".")[0] in _OURS] or frames
    place = ""
    if own:
        file = Path(own[-1].tb_frame.f_code.co_filename)
        place = f" in {'/'.join((*_module(own[-1]).split('.')[:-1], file.name))}, line {own[-1].tb_lineno}"
    what = f"unexpected {type(error).__name__}{place}: {_text(error)}"
    return f"{what} LIFELONG_TRACEBACK=1 shows where; please report it."


def _raised_here(frames: Sequence[TracebackType]) -> bool:
    """Whether the last line is a `raise` of this package: what a library raises is not worded for users."""
    if not frames or _module(frames[-1]).partition(".")[0] not in _OURS:
        return False
    last = frames[-1]
    return linecache.getline(last.tb_frame.f_code.co_filename, last.tb_lineno).lstrip().startswith("raise")


def _module(frame: TracebackType) -> str:
    return str(frame.tb_frame.f_globals.get("__name__", ""))


def _text(error: BaseException) -> str:
    known = isinstance(error, KeyError) and len(error.args) == 1 and isinstance(error.args[0], str)
    text = (error.args[0] if known else str(error)).strip() or type(error).__name__
    return text if text.endswith((".", "!", "?")) else text + "."
