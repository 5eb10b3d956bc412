"""Asking an edited model from a run's checkpoint: the answer, the frozen model's answer, and the route taken.

Knows run folders and the contracts of editor and model; nothing of panels, clocks or scores.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from lifelong.log import RunLog
from lifelong.log.checkpoint import Checkpoint
from lifelong.log.shown import short_repr
from lifelong.running.config import from_table
from lifelong.running.prepare import prepare, resolve
from lifelong.running.progress import LOADING_AFTER_S, heartbeat
from lifelong.running.words import ConfigError
from streams.types import ImageRef, Query


@dataclass(frozen=True)
class Serving:
    """One edit that served a question: how strongly, and what it says."""

    edit_id: str
    score: float
    weight: float
    prompt: str
    target: str

    __repr__ = short_repr


@dataclass(frozen=True)
class Answered:
    """What an edited model said, what the frozen one says, and which edits served (empty: out of scope)."""

    step: int
    answer: str
    unedited: str
    route: tuple[Serving, ...]

    __repr__ = short_repr


def ask(
    run: str | Path,
    question: str,
    *,
    image: str | None = None,
    step: int | None = None,
    say: Callable[[str], None] = lambda _: None,
) -> Answered:
    """Return the answer of a run's edited model after `step` edits (default: the last kept).

    `image` is a file or an `atlas:ENTITY/SET` name. Raises `LogError` for a folder that is no run, `ConfigError` when
    no state of that step is kept (the message lists those that are), and `ImageError`.
    """
    log = RunLog.open(run)
    saved = checkpoint_at(log, step)
    simulation = saved.meta["simulation"]
    query = Query(question, None if image is None else image_ref(image))
    with heartbeat(say, "loading the stream, the model and the edits", after_s=LOADING_AFTER_S):
        ready = prepare(resolve(from_table(log.config(), {})))
        editor = ready.editor()
    try:
        editor.load(saved.part("editor"))
        route = editor.route(editor.encode([query]))[0]
        with editor.applied([query], [route]) as answerer:
            answer = answerer.generate()[0]
    finally:
        editor.close()
    padded = (*route.weights, *[float("nan")] * (len(route.ids) - len(route.weights)))
    scores = (*route.scores, *[float("nan")] * (len(route.ids) - len(route.scores)))
    served = []
    for edit_id, score, weight in zip(route.ids, scores, padded, strict=False):
        edit = ready.stream.edit(edit_id)
        served.append(Serving(edit_id, float(score), float(weight), edit.query.prompt, edit.target))
    return Answered(len(simulation["history"]), answer, ready.vlm.generate([query])[0], tuple(served))


def checkpoint_at(log: RunLog, step: int | None) -> Checkpoint:
    """Return the kept state after `step` edits (default: the last); raises `ConfigError` naming the kept steps."""
    kept = [c for c in (log.checkpoint(panel) for panel in log.checkpoints()) if c is not None]
    steps = [len(c.meta["simulation"]["history"]) for c in kept]
    if not kept:
        raise ConfigError(f"{log.folder}: no panel is committed yet, so there is no edited model to ask.")
    if step is None:
        return kept[-1]
    if step not in steps:
        raise ConfigError(f"step={step}: {log.folder} keeps the states after {' and '.join(map(str, steps))} edits.")
    return kept[steps.index(step)]


def image_ref(image: str) -> ImageRef:
    """Return the reference of a picture file or of an `atlas:` name; raises `ImageError`."""
    from streams.images import file_ref
    from streams.types import digest_of

    scheme, colon, _ = image.partition(":")
    if colon and len(scheme) > 1 and not Path(image).exists():
        return ImageRef(image, digest_of(image))
    path = Path(image)
    return file_ref(path.parent.resolve(), path.name)
