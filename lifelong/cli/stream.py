"""The commands `stream check` (is all the data of a stream there, and what is it?) and `stream make` (a long one)."""

from __future__ import annotations

import dataclasses
import json
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Annotated, Any

import typer

from lifelong.cli.words import say, show
from lifelong.running.progress import PLAIN_EVERY_S
from lifelong.running.words import ConfigError, parse_words

stream_app = typer.Typer(help="What is edited: the data of a stream.", no_args_is_help=True)


@stream_app.callback()
def stream_command() -> None:
    """What is edited: the data of a stream."""


@stream_app.command("check")
def stream_check_command(
    name: Annotated[str, typer.Argument(help="A stream's name: `lifelong list streams`.")],
    words: Annotated[list[str] | None, typer.Argument(help="The stream's options: path=mine.jsonl ...")] = None,
    root: Annotated[str, typer.Option("--root", help="The folder of its files (root=FOLDER).")] = "",
    skip_bad: Annotated[
        bool, typer.Option("--skip-bad", help="Bad records are counted, and are no failure.")
    ] = False,
    edits: Annotated[int, typer.Option("--edits", min=0, help="Of a stream that is made: so many; 0: 1,000.")] = 0,
    as_json: Annotated[bool, typer.Option("--json", help="An object with all of it.")] = False,
) -> None:
    """Read all of a stream's data and count it; names every bad record. Exit code 1 when there are any."""
    from lifelong.studies.stream_check import examine_stream

    options = {key.removeprefix("stream."): value for key, value in parse_words(words or ()).items()}
    options.pop("skip_bad", None)
    for key in {"edits", "seed"} & set(options):
        raise ConfigError(f"{key}={options[key]}: all of the data is checked; of a stream that is made say --edits.")
    with picture_bar() as watch:
        found = examine_stream(name, edits=edits, watch=watch, **options, **({"root": root} if root else {}))
    if as_json:
        print(json.dumps({**dataclasses.asdict(found), "counts": dict(found.counts)}, indent=1))
    else:
        for line in (*found.reading.problems, *found.lines()):
            show(line)
    if not found.counts:
        say("no record is left to edit.")
    elif not found.ok and not skip_bad:
        say(f"{found.reading.bad} records cannot be used; mend them, or leave them out with --skip-bad.")
    if not found.counts or not (found.ok or skip_bad):
        raise typer.Exit(1)


@stream_app.command("make")
def stream_make_command(
    records: Annotated[int, typer.Argument(help="How many, each about a subject of its own: 100000.", min=1)],
    out: Annotated[Path, typer.Option("-o", "--out", help="The folder to write the file into.")],
    seed: Annotated[int, typer.Option("--seed", min=0)] = 0,
) -> None:
    """Make up a file in zsRE's schema, of any length: `stream=zsre stream.root=FOLDER` edits it."""
    from lifelong.log.files import write_atomic
    from streams.published.made import MOST_MADE, made_records

    if records > MOST_MADE:
        raise ConfigError(f"{records:,} records: at most {MOST_MADE:,} subjects can be made.")
    out.mkdir(parents=True, exist_ok=True)
    path = out / "zsre_mend_eval.json"
    text = json.dumps(list(made_records(records, seed)), indent=0)
    write_atomic(path, lambda file: file.write(text.encode()))
    show(str(path))


@contextmanager
def picture_bar() -> Iterator[Callable[[int, int], None]]:
    """Show how many pictures are read: by a bar on a terminal, else by a line now and then, on standard error."""
    if not sys.stderr.isatty():
        yield _told_now_and_then()
        return
    from rich.console import Console
    from rich.progress import Progress

    with Progress(console=Console(stderr=True), transient=True) as progress:
        task: Any = progress.add_task("pictures", total=None)
        yield lambda done, total: progress.update(task, completed=done, total=total)


def _told_now_and_then() -> Callable[[int, int], None]:
    last = time.monotonic()

    def watch(done: int, total: int) -> None:
        nonlocal last
        if time.monotonic() - last >= PLAIN_EVERY_S:
            last = time.monotonic()
            say(f"{done} of {total} pictures read")

    return watch
