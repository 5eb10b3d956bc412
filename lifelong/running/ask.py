"""Asking an edited model from a run's checkpoint: the answer, the frozen model's answer, and the route taken.

Knows run folders and the contracts of editor and model; nothing of panels, clocks or scores.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

from lifelong.editing.contract import Editor
from lifelong.log import RunLog
from lifelong.log.checkpoint import Checkpoint
from lifelong.log.shown import short_repr
from lifelong.running.config import from_table
from lifelong.running.history import place_of
from lifelong.running.prepare import prepare, resolve
from lifelong.running.progress import LOADING_AFTER_S, heartbeat
from lifelong.running.unchanged import check_unchanged
from lifelong.running.words import ConfigError
from lifelong.simulation.roles import edits_made
from streams.types import Edit, ImageRef, Query


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
    told: Serving | None = None  # the edit that was asked about, if one was named
    picture: ImageRef | None = None  # what was shown beside the question

    __repr__ = short_repr


def ask(
    run: str | Path,
    question: str = "",
    *,
    image: str | None = None,
    step: int | None = None,
    edit: str = "",
    say: Callable[[str], None] = lambda _: None,
) -> Answered:
    """Return the answer of a run's edited model after `step` edits (default: the last kept).

    `image` is a file or an `atlas:ENTITY/SET` name. `edit`, an edit's id or its number in the stream, asks its own
    question about its own picture, or `question` and `image` in place of them. Raises `LogError` for a folder that
    is no run, `ConfigError` where nothing is asked, for an unknown edit (with near ids) and when no state of that
    step is kept (the message lists those that are), and `ImageError`.
    """
    if not question and not edit:
        raise ConfigError('nothing is asked: give a question, such as "What is this?", or --edit ID (or its number).')
    log = RunLog.open(run)
    # What is wrong with the words is said before a model loads.
    picture = None if image is None else image_ref(image)
    checkpoint_at(log, step)
    with EditedModel(log, say) as model:
        return model.ask(question, picture=picture, step=step, edit=edit)


class EditedModel:
    """The edited model of a run, loaded once and asked often, after any number of edits whose state is kept.

    It is a context, which closes the editor at its end.
    """

    def __init__(self, log: RunLog, say: Callable[[str], None] = lambda _: None) -> None:
        self.log, self._say = log, say
        self._loaded: tuple[int, Editor] | None = None
        with heartbeat(say, "loading the stream and the model", after_s=LOADING_AFTER_S):
            self._ready = prepare(resolve(from_table(log.config(), {})))
        check_unchanged(log, self._ready.digests)

    def __enter__(self) -> EditedModel:
        return self

    def __exit__(self, *_: object) -> None:
        self._let_go()

    def steps(self) -> list[int]:
        """Return after how many edits a state is kept."""
        return kept_steps(self.log)

    def ask(
        self, question: str = "", *, picture: ImageRef | None = None, step: int | None = None, edit: str = ""
    ) -> Answered:
        """Return an answer as `ask` does; raises `ConfigError` for an unknown edit or step, and `ImageError`."""
        ready = self._ready
        about = found_edit(ready.stream.edits, edit) if edit else None
        own = about.query if about is not None else Query("")
        query = Query(question or own.prompt, own.image if picture is None else picture)
        (why,) = ready.vlm.unaskable([(query, "?")])
        if why:
            raise ConfigError(f"The question cannot be asked: {why}.")
        most = ready.limit.tokens
        with ready.computing(), heartbeat(self._say, "loading the edits and answering", after_s=LOADING_AFTER_S):
            at, editor = self._editor(step)
            route = editor.route(editor.encode([query]))[0]
            with editor.applied([query], [route]) as answerer:
                answer = answerer.generate(max_tokens=most)[0]
            unedited = ready.vlm.generate([query], max_tokens=most)[0]
        padded = (*route.weights, *[float("nan")] * (len(route.ids) - len(route.weights)))
        scores = (*route.scores, *[float("nan")] * (len(route.ids) - len(route.scores)))
        served = []
        for edit_id, score, weight in zip(route.ids, scores, padded, strict=False):
            one = ready.stream.edit(edit_id)
            served.append(Serving(edit_id, float(score), float(weight), one.query.prompt, one.target))
        told = about and Serving(about.id, float("nan"), float("nan"), about.query.prompt, about.target)
        return Answered(at, answer, unedited, tuple(served), told, query.image)

    def _editor(self, step: int | None) -> tuple[int, Editor]:
        """Return how many edits a step is, and the editor after them, which is kept for the next question."""
        saved = checkpoint_at(self.log, step)
        at = edits_made(saved)
        if self._loaded is None or self._loaded[0] != at:
            self._let_go()
            editor = self._ready.editor()
            self._loaded = (at, editor)
            editor.load(saved.part("editor"))
        return self._loaded

    def _let_go(self) -> None:
        if self._loaded is not None:
            editor, self._loaded = self._loaded[1], None
            editor.close()


def found_edit(edits: Sequence[Edit], wanted: str) -> Edit:
    """Return the edit with an id, or with a number in the stream from 1; raises `ConfigError` with near ids."""
    return edits[place_of([edit.id for edit in edits], wanted)]


def kept_steps(log: RunLog) -> list[int]:
    """Return after how many edits a run keeps a state of its editor."""
    kept = [c for c in (log.checkpoint(panel) for panel in log.checkpoints()) if c is not None]
    return [len(c.meta["simulation"]["history"]) for c in kept]


def checkpoint_at(log: RunLog, step: int | None) -> Checkpoint:
    """Return the kept state after `step` edits (default: the last); raises `ConfigError` naming the kept steps."""
    kept = [c for c in (log.checkpoint(panel) for panel in log.checkpoints()) if c is not None]
    steps = [edits_made(c) for c in kept]
    if not kept:
        raise ConfigError(f"{log.folder}: no panel is committed yet, so there is no edited model to ask.")
    if step is None:
        return kept[-1]
    if step not in steps:
        raise ConfigError(f"step={step}: {log.folder} keeps the states after {' and '.join(map(str, steps))} edits.")
    return kept[steps.index(step)]


def image_ref(image: str) -> ImageRef:
    """Return the reference of a picture file or of an `atlas:` name, which is opened once; raises `ImageError`."""
    from streams.pictures.images import file_ref, open_image
    from streams.types import digest_of

    scheme, colon, _ = image.partition(":")
    if colon and len(scheme) > 1 and scheme != "file" and not Path(image).exists():
        ref = ImageRef(image, digest_of(image))
        open_image(ref)
        return ref
    path = Path(image.removeprefix("file:"))
    return file_ref(path.parent.absolute(), path.name, check=True)
