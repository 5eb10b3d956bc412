"""The axes of probes whose variants are named by a rule, and what a probe is compared with. Knows no stream.

streams/atlas/README.md says what each variant asks and when an answer is right.
"""

from __future__ import annotations

from streams.types import Reference

TEXT_SIDES = ("edit", "similar", "unrelated")
IMAGE_SIDES = ("edit", "similar", "unrelated", "none")
GRID_CELLS = tuple(f"text-{text}/image-{image}" for text in TEXT_SIDES for image in IMAGE_SIDES)
"""Variants of the axis grid: what the words and what the picture of a question have to do with the edit's."""
EDITS_CELL = "text-edit/image-edit"
"""The cell that asks the edit's own question."""
RETIRED_VARIANTS = ("superseded", "withdrawn")
"""What the log calls a probe whose edit was replaced or taken back, so that no variant may be called so."""
_UNCHANGED = ("locality", "negation", "grid")


def usual_reference(axis: str, variant: str) -> Reference:
    """Return what a probe is compared with where its record does not say: the frozen model outside of the scope.

    >>> usual_reference("grid", "text-edit/image-none"), usual_reference("grid", EDITS_CELL)
    ('baseline', 'target')
    """
    return "baseline" if axis in _UNCHANGED and variant != EDITS_CELL else "target"
