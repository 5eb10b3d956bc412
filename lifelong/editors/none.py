"""The editor that does nothing: the unedited model as every curve's reference.

Knows nothing of the edits it is given; agreement with the frozen baseline is exactly 1 at every step.
"""

from __future__ import annotations

from collections.abc import Sequence

from lifelong.editing.contract import Editor
from streams.types import Edit


class Unedited(Editor):
    """Leave the model as it is (reference: the frozen base, not a published method)."""

    removes = True
    changes_nothing = True
    lasting = True

    def edit(self, edits: Sequence[Edit]) -> None:
        """Take note of nothing."""

    def remove(self, ids: Sequence[str]) -> None:
        """Have nothing to forget."""
