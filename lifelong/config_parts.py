"""The checked pieces of a run's configuration: a named part with options, when panels are held, what fits learn from.

Knows their keys and types; nothing of files, of words on a command line, or of what the parts are.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from pydantic import BaseModel, ConfigDict, Field, field_validator, model_validator

from streams.types import Axis


class Frozen(BaseModel):
    """A model that refuses unknown keys and never changes."""

    model_config = ConfigDict(frozen=True, extra="forbid")


class Part(Frozen):
    """A named part of a run and its options: `editor="grace"` is short for `{name = "grace"}`.

    >>> Part.model_validate("grace").name
    'grace'
    >>> Part.model_validate({"name": "grace", "radius": 0.8}).options
    {'radius': 0.8}
    """

    name: str
    options: dict[str, Any] = Field(default_factory=dict)

    @model_validator(mode="before")
    @classmethod
    def _gather(cls, value: Any) -> Any:
        if isinstance(value, str):
            return {"name": value}
        if isinstance(value, Mapping) and not isinstance(value.get("options"), Mapping):
            return {"name": value.get("name"), "options": {k: v for k, v in value.items() if k != "name"}}
        return value

    def flat(self) -> dict[str, Any]:
        """Return name and options as one table, as it stands in TOML."""
        return {"name": self.name, **self.options}


STEPS = (1, 2, 5, 10, 20, 50, 100, 200, 500, 1000, 2000, 5000, 10000, 20000, 50000, 100000)


class Panels(Frozen):
    """When probes are asked: `at` listed steps or `every` so many edits; the last edit always ends with a panel.

    Without either, panels are at 1, 2, 5, 10, 20, 50, ... edits. With `instant` every edit is probed as soon as it is
    visible, on `instant_axes` (none: on all). Before the last panel editors that may change any answer are asked
    about `sample` past edits by age, all others about `most` (0: about all).
    """

    at: tuple[int, ...] = ()
    every: int = Field(default=0, ge=0)
    instant: bool = True
    instant_axes: tuple[Axis, ...] = ()
    gaps: tuple[int, ...] = ()
    sample: int = Field(default=200, ge=1)
    most: int = Field(default=0, ge=0)
    brute: bool = False
    latency_routes: int = Field(default=200, ge=0)
    latency_answers: int = Field(default=50, ge=0)

    @model_validator(mode="before")
    @classmethod
    def _gather(cls, value: Any) -> Any:
        if isinstance(value, bool):
            raise ValueError("panels is a list of steps such as 1,2,5,10, or panels.every=50")
        if isinstance(value, int):
            return {"at": (value,)}
        if isinstance(value, list | tuple):
            return {"at": tuple(value)}
        if isinstance(value, Mapping) and type(value.get("at")) is int:
            value = {**value, "at": (value["at"],)}
        if isinstance(value, Mapping) and isinstance(value.get("instant_axes"), str):
            value = {**value, "instant_axes": (value["instant_axes"],)}
        nothing = isinstance(value, Mapping) and not value.get("at") and not value.get("every")
        return {**value, "at": STEPS} if nothing else value

    @field_validator("at", "gaps")
    @classmethod
    def _positive(cls, value: tuple[int, ...]) -> tuple[int, ...]:
        if any(step < 1 for step in value):
            raise ValueError(f"steps count edits from 1; got {min(value)}")
        return tuple(sorted(set(value)))

    def steps(self, edits: int) -> tuple[int, ...]:
        """Return the steps of the full panels of a run of `edits` edits.

        >>> Panels(at=(1, 10, 100)).steps(50), Panels(every=20).steps(50)
        ((1, 10, 50), (20, 40, 50))
        """
        listed = {s for s in self.at if s < edits}
        regular = set(range(self.every, edits, self.every)) if self.every else set()
        return tuple(sorted(listed | regular | {edits}))


class Fit(Frozen):
    """What a trained editor learns from: how many edits of the stream's disjoint pool, and their seed."""

    edits: int = Field(default=1000, ge=1)
    seed: int = 0
