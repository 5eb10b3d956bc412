"""Whether what a run was made of is still what it was: model, stream, fit, the editor's file, by their digests.

Knows run folders and configurations; nothing of what the parts do.
"""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

from lifelong.log import LogError, RunLog
from lifelong.log.files import content_digest
from lifelong.running.config import from_table
from lifelong.running.parts import make_stream

_SAID = {"editor": "the editor's file", "arithmetic": "the arithmetic"}


def changed_since(log: RunLog, now: Mapping[str, str]) -> dict[str, tuple[str, str]]:
    """Return the digests that are others now than those a run was made with: before and now, by what is meant."""
    before = log.manifest.get("digests", {})
    names = [name for name in now if before.get(name, now[name]) != now[name]]
    return {_SAID.get(name, f"the {name}"): (str(before[name]), now[name]) for name in names}


def check_unchanged(log: RunLog, now: Mapping[str, str]) -> None:
    """Raise `LogError` when a run was made with another model, stream, fit or editor's file than there is now.

    Called before a run's state is used. Another arithmetic changes last digits only, and is no reason.
    """
    changed = changed_since(log, {name: digest for name, digest in now.items() if name != "arithmetic"})
    if changed:
        before, after = next(iter(changed.values()))
        raise LogError(
            f"{log.folder}: {' and '.join(changed)} changed since this run (digest {before} then, {after} now). It "
            "would not answer as the run did: put back what it was, or run again."
        )


def check_stream(log: RunLog) -> None:
    """Raise `LogError` when a run's stream is another now; called before its traffic is replayed, once."""
    if "stream" in log.manifest.get("digests", {}):
        check_unchanged(log, {"stream": make_stream(from_table(log.config(), {})).digest})


def editor_changed(log: RunLog) -> bool:
    """Return whether a run's editor is a file that has another content now; False where it is gone."""
    editor = log.config().get("editor")
    path = Path(str(editor.get("name", "")) if isinstance(editor, dict) else str(editor))
    if path.suffix != ".py" or not path.is_file():
        return False
    return bool(changed_since(log, {"editor": content_digest(path)}))
