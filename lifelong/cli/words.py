"""What several commands share: words of the command line, and lines on standard error."""

from __future__ import annotations

import os
import sys
from collections.abc import Iterable
from typing import Annotated, Any

import typer

from lifelong.running.words import parse_words
from streams.text import printable

Words = Annotated[list[str] | None, typer.Argument(help="[RECIPE or FILE.toml] then key=value words")]
SkipBad = Annotated[
    bool, typer.Option("--skip-bad", help="Leave out bad records of a file, and say which (stream.skip_bad=true).")
]
Fresh = Annotated[bool, typer.Option("--fresh", help="Replace what is there.")]


def split_words(words: Iterable[str] | None, *, skip_bad: bool = False) -> tuple[str | None, dict[str, Any]]:
    """Return a recipe or file (the first word that is no setting, if any) and the key=value pairs."""
    given = list(words or ())
    source = given.pop(0) if given and not is_setting(given[0]) else None
    return source, parse_words(given) | ({"stream.skip_bad": True} if skip_bad else {})


def is_setting(word: str) -> bool:
    """Return whether a word is key=value, and no path through a folder of runs, whose names have `=` in them.

    >>> is_setting("editor=grace"), is_setting("runs/editor=grace/stream=toy/model=tiny/seed=0/a-1f/config.toml")
    (True, False)
    """
    key, equals, _ = word.partition("=")
    file = word.endswith(".toml")
    a_path = file or os.path.exists(word) if "/" in key else file and os.path.isfile(word)
    return bool(equals) and not a_path


def say(text: str) -> None:
    """Print a line on standard error at once: what is said while a command works, control characters escaped."""
    print(printable(text), file=sys.stderr, flush=True)


def show(text: str) -> None:
    """Print a result on standard output, control characters escaped; several lines stay several."""
    print("\n".join(map(printable, text.split("\n"))), flush=True)
