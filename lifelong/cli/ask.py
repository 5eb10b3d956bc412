"""`lifelong ask`: one question to the edited model of a run, or as many as one likes. Reads words, prints answers."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from lifelong.cli.words import say, show
from lifelong.running.words import ConfigError
from streams.text import printable

if TYPE_CHECKING:
    from lifelong.running.ask import Answered
    from streams.types import ImageRef

_HELP = """An edit's number or id asks its own question about its own picture; anything else is a question.
  picture FILE   show this with the questions that follow (a file, or atlas:ENTITY/SET); without FILE none
  step N         ask the model after N edits
An empty line ends."""


def ask_command(
    run: Annotated[Path, typer.Argument(help="A run folder.")],
    question: Annotated[str, typer.Argument(help="What to ask; without it and --edit, a form that asks you.")] = "",
    step: Annotated[int | None, typer.Option("--step", help="After how many edits; the last two are kept.")] = None,
    image: Annotated[str | None, typer.Option("--image", help="A picture file, or atlas:ENTITY/SET.")] = None,
    edit: Annotated[
        str, typer.Option("--edit", help="Ask about this edit: its id, or its number in the stream.")
    ] = "",
) -> None:
    """Ask the edited model of a run, and show which edits served the question."""
    from lifelong.running.ask import EditedModel, ask, image_ref

    if question or edit:
        show("\n".join(answer_lines(ask(run, question, image=image, step=step, edit=edit, say=say))))
        return
    from lifelong.log import RunLog
    from streams.types import ImageError

    picture = None if image is None else image_ref(image)
    with EditedModel(RunLog.open(run), say) as model:
        kept = ", ".join(map(str, model.steps()))
        show(f"{_HELP}\nStates are kept after {kept} edits.")
        for word in _lines():
            try:
                verb, _, rest = word.partition(" ")
                if verb == "step":
                    step = _step(rest, model.steps())
                elif verb == "picture":
                    picture = image_ref(rest.strip()) if rest.strip() else None
                elif " " in word:
                    show("\n".join(answer_lines(model.ask(word, picture=picture, step=step), picture=True)))
                else:
                    show("\n".join(answer_lines(model.ask(step=step, edit=word), picture=True)))
            except (ConfigError, ImageError) as error:
                show(str(error))


def _lines() -> Iterator[str]:
    """Give what is typed, up to an empty line or the end."""
    while True:
        try:
            word = input("ask> ").strip()
        except EOFError:
            return
        if not word:
            return
        yield word


def _step(word: str, kept: list[int]) -> int:
    if not word.strip().isdecimal() or int(word) not in kept:
        raise ConfigError(f"step {word.strip()}: states are kept after {', '.join(map(str, kept))} edits.")
    return int(word)


def answer_lines(found: Answered, *, picture: bool = False) -> list[str]:
    """Return an answer as lines: the edit that was named, both answers and the route; with its picture if wanted."""
    lines = [_shown(found.picture)] if picture else []
    if found.told is not None:
        lines.append(f"told: {found.told.prompt!r} -> {found.told.target!r}  ({found.told.edit_id})")
    lines += [f"after {found.step} edits: {printable(found.answer)}", f"unedited: {printable(found.unedited)}"]
    if not found.route:
        lines.append("route: none (out of scope of every edit, or the editor does not route)")
    for served in found.route:
        lines.append(f"route: {served.edit_id}  score {served.score:.4f}  {served.prompt!r} -> {served.target!r}")
    return lines


def _shown(ref: ImageRef | None) -> str:
    """Return what a terminal shows of a picture: its name, and its size in pixels."""
    from streams.pictures.images import open_image

    if ref is None:
        return "picture: none"
    width, height = open_image(ref).size
    return f"picture: {ref.uri} ({width} x {height} pixels)"
