"""Settings of an editor that come to the same: what another option switches off stays at its default.

Used by editors for their `settles`. Knows options; nothing of what they mean, and no model.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import TypeVar

from lifelong.editing.contract import EditorOptions

_Options = TypeVar("_Options", bound=EditorOptions)


def unused(options: _Options, names: Iterable[str]) -> _Options:
    """Return options with those of some names at their defaults; called for what the others leave without effect."""
    fields = type(options).model_fields
    return options.model_copy(update={n: fields[n].get_default(call_default_factory=True) for n in names})


def key_options_unused(keys: str, capacity: int | None) -> set[str]:
    """Return which options of a memory found by words, pictures or both are without effect under two others.

    >>> sorted(key_options_unused("text", None))
    ['eviction', 'image_encoder', 'image_weight']
    """
    off = {"text": {"image_weight", "image_encoder"}, "image": {"image_weight", "encoder"}}.get(keys, set())
    return off | ({"eviction"} if capacity is None else set())
