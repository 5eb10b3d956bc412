"""The fields of one record of a file: each is taken by name with what it must be. Knows no stream.

What is wrong is noted with its place and a neutral value is given back, so that every mistake of a record is found.
"""

from __future__ import annotations

from collections.abc import Collection
from typing import Any

from streams.near import near
from streams.records import JsonObject, shown
from streams.text import half_character, picture_mark, printable


class RecordFields:
    """The fields of an object at a place of a file; `problems` gets a line for each mistake."""

    def __init__(
        self, value: Any, known: Collection[str], place: str, problems: list[str], prefix: str = "", doubt: str = ""
    ) -> None:
        self._place, self._prefix, self.problems = place, prefix, problems
        self._given: dict[str, Any] = value if isinstance(value, dict) else {}
        self.broken = not isinstance(value, dict)
        if self.broken:
            problems.append(f"{place}{doubt}: expected an object, got {shown(value)}.")
            return
        for name in self._given:
            if name not in known:
                self.note(name, f"no such field.{near(printable(name), known)}")
        if isinstance(value, JsonObject) and value.twice:
            self.note(value.twice, "it is given twice. Keep one of them.")

    def note(self, name: str, problem: str) -> None:
        """Note what is wrong with a field."""
        self.problems.append(f"{self._place}, field '{self._prefix}{printable(name)}': {problem}")

    def given(self, name: str) -> bool:
        """Return whether the record says anything here: null says nothing."""
        return self._given.get(name) is not None

    def text(self, name: str, default: str | None = None, *, asked: bool = False) -> str:
        """Return a text; without a default it is needed and may not be empty.

        What is `asked` of a model or expected from it must not look like the place of a picture.
        """
        if name not in self._given or (default is not None and not self.given(name)):
            if default is None and not self.broken:
                self.note(name, "it is missing.")
            return default or ""
        return self._checked(name, self._given[name], needed=default is None, asked=asked)

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

    def objects(self, name: str, known: Collection[str]) -> list[RecordFields]:
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
