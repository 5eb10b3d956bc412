"""What an editor learnt, in two dimensions: points that an editor gives, and the call that asks for them.

Knows runs and the contract; nothing of what the points mean, and draws nothing itself (`reports` does).
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

from lifelong.editing.spaces import HasSpaces, Space
from lifelong.running.progress import LOADING_AFTER_S, heartbeat


def spaces_of(
    source: str | None = None, *, say: Callable[[str], None] = lambda _: None, **changes: Any
) -> Sequence[Space]:
    """Return the spaces of a run's editor for the edits of its stream, which no fit has seen.

    `source` and `changes` are those of `run`; a fit that is kept nowhere is made. Raises `ValueError` for an editor
    that has no spaces to show.
    """
    from lifelong.running.prepare import prepare, resolve
    from streams.types import Pool, PoolItem

    resolved = resolve(source, changes)
    if not issubclass(resolved.kind, HasSpaces):
        name = resolved.config.editor.name
        raise ValueError(f"editor={name} has no spaces to show: its class must be a HasSpaces and define `spaces`.")
    with heartbeat(say, "loading the stream and the model", after_s=LOADING_AFTER_S):
        ready = prepare(resolved)
    with ready.computing():
        with heartbeat(say, "learning" if ready.fit is not None else "making the editor"):
            editor = ready.editor()
        assert isinstance(editor, HasSpaces)
        try:
            items = tuple(PoolItem(e, tuple(ready.stream.probes(e.id))) for e in ready.stream.edits)
            with heartbeat(say, f"placing {len(items)} edits"):
                return editor.spaces(Pool(items, ready.stream.digest, ready.config.seed))
        finally:
            editor.close()
