"""The command `tune`: an editor's options, or those of all editors, chosen by trials."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from lifelong.cli.words import say, show
from lifelong.running.words import ConfigError, parse_words

EVERY_EDITOR = "all"


def tune_command(
    editor: Annotated[str, typer.Argument(help=f"A shipped editor, a Python file with one, or {EVERY_EDITOR}.")],
    words: Annotated[list[str] | None, typer.Argument(help="option=value,value words; its own space without")] = None,
    trials: Annotated[int, typer.Option("--trials", min=1, help="Distinct settings, at most.")] = 12,
    seconds: Annotated[float, typer.Option("--seconds", min=0, help="Seconds of trials, at most; 0: any.")] = 0.0,
    edits: Annotated[str, typer.Option("--edits", help="Lengths: of all trials, then of the best ones.")] = "100,500",
    seed: Annotated[int, typer.Option("--seed", min=0)] = 0,
    out: Annotated[str, typer.Option("--out", help="Where trials lie; finished ones are kept.")] = "runs/tune",
    jobs: Annotated[int, typer.Option("--jobs", min=1, help=f"Editors at a time ({EVERY_EDITOR}).")] = 1,
    on: Annotated[
        list[str] | None, typer.Option("--on", help="What trials are on: --on stream=evqa --on stream.root=DIR ...")
    ] = None,
    to: Annotated[Path | None, typer.Option("-o", help=f"Write the recipe here; of {EVERY_EDITOR} a folder.")] = None,
) -> None:
    """Choose options by trials on edits kept for it; prints a recipe with the log of all trials.

    `all` tunes every editor, each in a process, and prints a line for each; it goes on where it was interrupted.
    """
    from lifelong.studies.tune import Budget, recipe_of, tune
    from lifelong.studies.tune_all import tune_all
    from reports.written import write_whole

    lengths = _lengths(edits)
    if editor == EVERY_EDITOR:
        if words:
            raise ConfigError(
                f"tune {EVERY_EDITOR} {words[0]}: options are those of one editor. Name it instead of {EVERY_EDITOR}."
            )
        folder = to or Path(out) / "tuned"
        found = tune_all(
            to=folder,
            budget=Budget(trials, seconds, lengths),
            seed=seed,
            out=out,
            jobs=jobs,
            on=parse_words(on or ()),
            say=say,
        )
        for one in found:
            show(one.line())
            for warning in one.warnings:
                say(f"{one.editor}: {warning}")
        if any(one.error for one in found):
            raise typer.Exit(1)
        show(str(folder))
        return
    options = parse_words(words or ())
    told = tune(
        editor,
        options,
        trials=trials,
        seconds=seconds,
        edits=lengths,
        seed=seed,
        out=out,
        on=parse_words(on or ()),
        say=say,
    )
    text = recipe_of(told)
    for warning in told.warnings:
        say(f"warning: {warning}")
    if to is not None:
        write_whole(to, text.encode())
    print(text, end="")


def _lengths(text: str) -> tuple[int, ...]:
    """Return the lengths of a word such as 100,500; raises `ConfigError`."""
    try:
        return tuple(int(part) for part in text.split(","))
    except ValueError as error:
        raise ConfigError(f"--edits {text}: expected one length or more, such as 100 or 100,500.") from error
