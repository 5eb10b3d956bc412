"""What an editor learnt, in two dimensions: points that an editor gives, and the call that asks for them.

Knows runs and the contract; nothing of what the points mean, and draws nothing itself (`reports` does).
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from lifelong.editing.spaces import HasSpaces, Space


def spaces_of(source: str | None = None, **changes: Any) -> Sequence[Space]:
    """Return the spaces of a run's editor for the edits of its stream, which no fit has seen.

    `source` and `changes` are those of `run`; a fit that is kept nowhere is made. Raises `ValueError` for an editor
    that has no spaces to show.
    """
    from lifelong.editing.find import editor_class
    from lifelong.running.prepare import prepare, resolve
    from streams.types import Pool, PoolItem

    ready = prepare(resolve(source, changes))
    name = ready.config.editor.name
    if not issubclass(editor_class(name), HasSpaces):
        raise ValueError(f"editor={name} has no spaces to show: its class must be a HasSpaces and define `spaces`.")
    with ready.computing():
        editor = ready.editor()
        assert isinstance(editor, HasSpaces)
        try:
            items = tuple(PoolItem(e, tuple(ready.stream.probes(e.id))) for e in ready.stream.edits)
            return editor.spaces(Pool(items, ready.stream.digest, ready.config.seed))
        finally:
            editor.close()
