"""Learning what trained editors need before their first edit, so that no run has to wait for it.

Knows configurations and fits; nothing of how an editor learns. What was learnt lies in the cache, where runs find it.
"""

from __future__ import annotations

import shutil
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from lifelong.editing.find import editor_class, editor_names
from lifelong.log.checkpoint import load_state
from lifelong.running.prepare import Loaded, prepare, resolve
from lifelong.running.progress import heartbeat


@dataclass(frozen=True)
class Learnt:
    """One editor's fit: where it came from (shipped, cached, learnt), its file, and the seconds that learning took.

    An editor that learns nothing beforehand has the origin `nothing to learn` and no file.
    """

    editor: str
    origin: str
    path: Path | None = None
    wall_s: float = 0.0

    def line(self) -> str:
        """Return it in one line."""
        return f"{self.editor:<12} {self.origin:<16} {self.wall_s:8.1f} s  {self.path or ''}".rstrip()


def fit(
    editors: Sequence[str] = (),
    *,
    into: str | Path | None = None,
    say: Callable[[str], None] = lambda _: None,
    **changes: Any,
) -> list[Learnt]:
    """Learn the fits of editors (of all shipped ones that learn, by default) and return where they lie.

    `changes` are keys of a run, such as `model` and `stream`. A fit that is there is not learnt again. With `into`,
    each is copied to `into/EDITOR/weights/`, as fits lie that ship. Raises `ConfigError`, `UnknownEditorError` and
    what learning raises.
    """
    names = list(editors) or [name for name in editor_names() if editor_class(name).trains]
    found, loaded = [], Loaded()
    for name in names:
        ready = prepare(resolve(None, {"editor": name, "edits": 1, **changes}), say, loaded)
        if ready.fit is None:
            found.append(Learnt(name, "nothing to learn"))
            continue
        cache = ready.config.cache_folder() / "fit"
        with ready.computing(), heartbeat(say, f"fitting {name}"):
            state, origin = ready.fit.state(ready.vlm, cache, say)
        places = ready.fit.places(cache)
        path = places["shipped" if origin == "shipped" else "cached"]
        if into is not None and path.is_file():
            home = Path(into) / name / "weights" / path.name
            home.parent.mkdir(parents=True, exist_ok=True)
            if home.resolve() != path.resolve():
                shutil.copyfile(path, home)
            load_state(home)  # a copy that is torn is named now
            path = home
        found.append(Learnt(name, origin, path, float(state.meta.get("fit_wall_s", 0.0))))
    return found
