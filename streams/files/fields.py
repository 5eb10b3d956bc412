"""The fields of one record of a file: each is taken by name with what it must be. Knows no stream.

What is wrong is noted with its place and a neutral value is given back, so that every mistake of a record is found.
"""

from __future__ import annotations

import difflib
from collections import Counter
from collections.abc import Collection
from typing import Any

from streams.files.records import JsonObject, shown
from streams.near import near
from streams.text import half_character, picture_mark, printable


class RecordFields:
    """The fields of an object at a place of a file; `problems` gets a line for each mistake.

    Where no `known` names are given, fields that nobody takes are passed over, as in files of other people.
    """

    def __init__(
        self,
        value: Any,
        known: Collection[str] | None,
        place: str,
        problems: list[str],
        prefix: str = "",
        doubt: str = "",
    ) -> None:
        self._place, self._prefix, self.problems = place, prefix, problems
        self._given: dict[str, Any] = value if isinstance(value, dict) else {}
        self.broken = not isinstance(value, dict)
        if self.broken:
            problems.append(f"{place}{doubt}: expected an object, got {shown(value)}.")
            return
        for name in self._given if known is not None else ():
            if name not in (known or ()):
                self.note(name, f"no such field.{near(printable(name), known or ())}")
        if isinstance(value, JsonObject) and value.twice:
            self.note(value.twice, "it is given twice. Keep one of them.")

    def note(self, name: str, problem: str) -> None:
        """Note what is wrong with a field, once however often it is taken."""
        line = f"{self._place}, field '{self._prefix}{printable(name)}': {problem}"
        if line not in self.problems:
            self.problems.append(line)

    def given(self, name: str) -> bool:
        """Return whether the record says anything here: null says nothing."""
        return self._given.get(name) is not None

    def text(self, name: str, default: str | None = None, *, asked: bool = False) -> str:
        """Return a text; without a default it is needed and may not be empty.

        What is `asked` of a model or expected from it must not look like the place of a picture.
        """
        if name not in self._given or (default is not None and not self.given(name)):
            if default is None and not self.broken:
                self.note(name, self._missing(name))
            return default or ""
        return self._checked(name, self._given[name], needed=default is None, asked=asked)

    def answers(self, name: str) -> tuple[str, ...]:
        """Return the answers of a field, the right one first: a text, or the most frequent of a list of people's.

        Each is there once. A list whose most frequent answer is empty has none that could be right: it is noted.
        """
        value = self._given.get(name)
        if not isinstance(value, list):
            return (self.text(name, asked=True),)
        told = [self._checked(f"{name}[{i}]", one, needed=False, asked=True) for i, one in enumerate(value)]
        votes = [answer for answer, _ in Counter(told).most_common()]  # those of one number in the order given
        if not votes:
            self.note(name, "it is an empty list; expected an answer, or several of which the most frequent counts.")
        elif not votes[0].strip():
            self.note(name, f"the most frequent of its {len(told)} answers is empty.")
        return tuple(answer for answer in votes if answer.strip()) or ("",)

    def field(self, name: str, known: Collection[str] | None = None) -> RecordFields | None:
        """Return the fields of an object inside, None where there is none."""
        if not self.given(name):
            return None
        inner = f"{self._prefix}{name}"
        return RecordFields(self._given[name], known, self._place, self.problems, f"{inner}.", f", field '{inner}'")

    def value(self, name: str) -> Any:
        """Return what a field holds as the file says it, None where it holds nothing."""
        return self._given.get(name)

    def names(self) -> tuple[str, ...]:
        """Return the names of all fields that are given, in order."""
        return tuple(self._given)

    def texts(self, name: str) -> tuple[str, ...]:
        """Return a list of texts that a model may answer, () where there is none."""
        value = self._given.get(name)
        if value is None:
            return ()
        if not isinstance(value, list):
            self.note(name, f"expected a list of texts, got {shown(value)}.")
            return ()
        return tuple(self._checked(f"{name}[{i}]", v, needed=True, asked=True) for i, v in enumerate(value))

    def choice(self, name: str, choices: Collection[str], default: str | None = None) -> str:
        """Return one of some words; without a default it is needed."""
        before = len(self.problems)
        value = self.text(name, default)
        if value in choices or len(self.problems) > before or self.broken:
            return value
        self.note(name, f"expected one of {', '.join(choices)}, got {shown(value)}.")
        return ""

    def whole(self, name: str, default: int, most: int) -> int:
        """Return a whole number from 0 to `most`."""
        value = self._given.get(name)
        if value is None:
            return default
        if isinstance(value, bool) or not isinstance(value, int) or not 0 <= value <= most:
            self.note(name, f"expected a whole number from 0 to {most}, got {shown(value)}.")
            return default
        return value

    def objects(self, name: str, known: Collection[str] | None = None) -> list[RecordFields]:
        """Return a list of objects, each with its own fields."""
        value = self._given.get(name)
        if value is None:
            return []
        if not isinstance(value, list):
            self.note(name, f"expected a list, got {shown(value)}.")
            return []
        made = []
        for i, one in enumerate(value):
            inner = f"{self._prefix}{name}[{i}]"
            made.append(RecordFields(one, known, self._place, self.problems, f"{inner}.", f", field '{inner}'"))
        return made

    def _missing(self, name: str) -> str:
        close = difflib.get_close_matches(name, list(self._given), 1, 0.7)
        return f"it is missing. There is {printable(close[0])!r}." if close else "it is missing."

    def _checked(self, name: str, value: Any, *, needed: bool, asked: bool) -> str:
        if not isinstance(value, str):
            self.note(name, f"expected a text, got {shown(value)}.")
            return ""
        half = half_character(value)
        if half:
            self.note(name, f"{half} is half a character: a text that was cut in two, or bytes that are no UTF-8.")
        elif needed and not value.strip():
            self.note(name, "it is empty.")
        elif asked and picture_mark(value):
            mark = picture_mark(value)
            self.note(
                name, f"{mark!r} marks the place of a picture for a model. Leave it out; pictures go in 'image'."
            )
        return value
