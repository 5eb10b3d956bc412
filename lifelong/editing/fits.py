"""What a trained editor learnt, by content: shipped with the package, cached by an earlier run, or learnt now.

Knows that an editor can `fit`, and nothing of how. A fit is identified by the editor, the options that matter to it,
the model and the pool, so that a finished one is never made twice and a stale one never taken.
"""

from __future__ import annotations

import hashlib
import inspect
import json
import time
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from lifelong.editing.contract import Editor, EditorOptions
from lifelong.log.checkpoint import State, load_state, save_state
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

    def state(self, vlm: VLM, cache: Path) -> tuple[State, str]:
        """Return what was learnt and where it came from (shipped, cached, learnt), learning it where it is nowhere.

        A fresh editor, seeded by the pool's seed and closed afterwards, does the learning, so that a run's own editor
        starts from `load_fitted` whether the fit is new or not; what a killed process had learnt is gone on
        with. `fit_wall_s` among its plain values are the measured seconds of learning, those of a killed process too.
        Raises what the editor's `fit` raises, and `LogError` for a damaged file.
        """
        from lifelong.editing.training import Unfinished

        places = self.places(cache)
        for source, path in places.items():
            if path.is_file():
                return load_state(path), source
        editor = self.kind(vlm, self.options, seed=self.pool.seed)
        unfinished = Unfinished(cache / f"{self.digest}-unfinished")
        editor.unfinished = unfinished.folder
        begun, earlier_wall_s = time.monotonic(), unfinished.spent_wall_s()
        try:
            with vlm.serving_with():  # what learning read beside other questions has other last digits
                editor.fit(self.pool)
            state = editor.fitted()
        finally:
            editor.close()
        wall_s = round(earlier_wall_s + time.monotonic() - begun, 1)
        cache.mkdir(parents=True, exist_ok=True)
        save_state(places["cached"], State(state.tensors, {**state.meta, "fit_wall_s": wall_s}))
        unfinished.clear()
        return load_state(places["cached"]), "learnt"


def fit_digest(kind: type[Editor], name: str, options: EditorOptions, vlm: VLM, pool: Pool) -> str:
    """Return 16 hexadecimal digits that identify a fit; for an editor of a user's own file its source counts too."""
    own = name.endswith(".py")
    source = hashlib.sha256(Path(inspect.getfile(kind)).read_bytes()).hexdigest() if own else ""
    parts = [name, source, dict(kind.fit_options(options)), vlm.digest, pool.digest, len(pool.items), pool.seed]
    return hashlib.sha256(json.dumps(parts, sort_keys=True, default=str).encode()).hexdigest()[:16]
