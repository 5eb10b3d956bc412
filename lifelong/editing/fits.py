"""What a trained editor learnt, by content: shipped with the package, cached by an earlier run, or learnt now.

Knows that an editor can `fit`, and nothing of how. A fit is identified by the editor, the options that matter to it,
the model and the pool, so that a finished one is never made twice and a stale one never taken. Processes that want
the same one learn it once: the first, while the others wait.
"""

from __future__ import annotations

import hashlib
import inspect
import json
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from lifelong.editing.contract import Editor, EditorOptions
from lifelong.log.checkpoint import State, load_state, save_state
from lifelong.log.files import LogError, clear_leftovers, content_digest, held
from streams.settings import path_options
from streams.types import Pool

if TYPE_CHECKING:
    from lifelong.models.vlm import VLM

SHIPPED = Path(__file__).parents[1] / "editors"


@dataclass(frozen=True)
class Fit:
    """One fit that may be had: the class that learns and the name it was found by, its options, its pool, and the
    fit's identity."""

    kind: type[Editor]
    name: str
    options: EditorOptions
    pool: Pool
    digest: str

    @classmethod
    def of(cls, kind: type[Editor], name: str, options: EditorOptions, vlm: VLM, pool: Pool) -> Fit:
        """Return the fit of an editor's class, found by `name`, with options on a model and a pool.

        Called before a run, to name its folder: nothing is learnt, and no editor is made.
        """
        return cls(kind, name, options, pool, fit_digest(kind, name, options, vlm, pool))

    def places(self, cache: Path) -> dict[str, Path]:
        """Return where the fit may lie: shipped with the package, or in the cache."""
        file = f"{self.digest}.safetensors"
        return {"shipped": SHIPPED / self.name / "weights" / file, "cached": cache / file}

    def state(self, vlm: VLM, cache: Path, say: Callable[[str], None] = lambda _: None) -> tuple[State, str]:
        """Return what was learnt and where it came from (shipped, cached, learnt), learning it where it is nowhere.

        A fresh editor, seeded by the pool's seed and closed afterwards, does the learning, so that a run's own editor
        starts from `load_fitted` whether the fit is new or not; what a killed process had learnt is gone on
        with. `fit_wall_s` among its plain values are the measured seconds of learning, those of a killed process too.
        `say` is told when a damaged file is learnt again, and when another process is learning this fit. Raises what
        the editor's `fit` raises, and `LogError` for a shipped file that is damaged.
        """
        places = self.places(cache)
        if places["shipped"].is_file():
            return _shipped_state(places["shipped"]), "shipped"
        found = _cached_state(places["cached"], lambda _: None)
        if found is not None:
            return found, "cached"
        lock = cache / f"{self.digest}.lock"
        with held(lock) as ours:
            if ours:
                return self._learnt(vlm, cache, say)
        say(f"fit {self.digest}: another process is learning it; waiting for that one")
        with held(lock, wait=True):
            return self._learnt(vlm, cache, say)

    def _learnt(self, vlm: VLM, cache: Path, say: Callable[[str], None]) -> tuple[State, str]:
        """Learn the fit, unless another process has done so; called by the holder of its lock only."""
        from lifelong.editing.training import Unfinished

        path = self.places(cache)["cached"]
        clear_leftovers(cache, path.name)
        found = _cached_state(path, say)
        if found is not None:
            return found, "cached"
        editor = self.kind(vlm, self.options, seed=self.pool.seed)
        unfinished = Unfinished(cache / f"{self.digest}-unfinished")
        unfinished.tidy(say)
        editor.unfinished = unfinished.folder
        begun, earlier_wall_s = time.monotonic(), unfinished.spent_wall_s()
        try:
            with vlm.serving_with():  # what learning read beside other questions has other last digits
                editor.fit(self.pool)
            state = editor.fitted()
        finally:
            editor.close()
        wall_s = round(earlier_wall_s + time.monotonic() - begun, 1)
        save_state(path, State(state.tensors, {**state.meta, "fit_wall_s": wall_s}))
        unfinished.clear()
        return load_state(path), "learnt"


def _shipped_state(path: Path) -> State:
    try:
        return load_state(path)
    except LogError as error:
        raise LogError(f"{error} It came with the package: install that again.") from error


def _cached_state(path: Path, say: Callable[[str], None]) -> State | None:
    """Return what the cache holds, None where it holds nothing or something damaged, which is said."""
    if not path.exists():
        return None
    try:
        return load_state(path)
    except LogError as error:
        say(f"{error} It is learnt again.")
        return None


def fit_digest(kind: type[Editor], name: str, options: EditorOptions, vlm: VLM, pool: Pool) -> str:
    """Return 16 hexadecimal digits that identify a fit.

    For an editor of a user's own file its source counts too, and of an option that names a file or a folder, such as
    an encoder's, what lies there.
    """
    own = name.endswith(".py")
    source = hashlib.sha256(Path(inspect.getfile(kind)).read_bytes()).hexdigest() if own else ""
    read = dict(kind.fit_options(options))
    parts = [name, source, read, vlm.digest, pool.digest, len(pool.items), pool.seed]
    parts += [content_digest(Path(path)) for path in path_options(kind.Options, read).values()]
    return hashlib.sha256(json.dumps(parts, sort_keys=True, default=str).encode()).hexdigest()[:16]
