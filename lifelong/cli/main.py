"""The command line: every command is a documented Python call with its words read and its result printed.

Results go to standard output, everything said meanwhile to standard error. A mistake of the user's is one line on
standard error and exit code 2 (LIFELONG_TRACEBACK=1 shows where it was raised); a sweep with failed cells exits 1.
"""

from __future__ import annotations

import io
import json
import os
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Annotated

import typer

from lifelong.cli.ask import ask_command
from lifelong.cli.bench import bench_app
from lifelong.cli.errors import line_of_error
from lifelong.cli.export import export_command
from lifelong.cli.list_command import list_command
from lifelong.cli.models import model_app
from lifelong.cli.protocol import protocol_command
from lifelong.cli.replay import replay_command, trace_command
from lifelong.cli.report import evidence_command, ladder_command, report_command
from lifelong.cli.route import route_command
from lifelong.cli.story import story_command
from lifelong.cli.stream import stream_app
from lifelong.cli.stress import stress_app
from lifelong.cli.sweep import status_command, sweep_command
from lifelong.cli.train import train_atlas, train_smol
from lifelong.cli.tune import tune_command
from lifelong.cli.words import Fresh, SkipBad, Words, is_setting, say, show, split_words
from lifelong.running.signals import Stopped, stoppable
from lifelong.running.words import parse_words

RUN_NEEDS = """Usage: lifelong run [RECIPE or FILE.toml] [KEY=VALUE ...]

A run needs an editor, at least:
  lifelong run editor=grace edits=200                      an editor over 200 edits of the atlas
  lifelong run editor=grace stream=jsonl stream.path=my.jsonl   the same over records of your own
  lifelong run first-look                                  a recipe

`lifelong list keys` names every key; `list editors`, `list streams` and `list recipes` what there is."""


app = typer.Typer(
    name="lifelong",
    help="A lifelong streaming-edit simulator for multimodal LLMs.",
    no_args_is_help=True,
    add_completion=False,
    pretty_exceptions_enable=False,
)
app.add_typer(model_app, name="model")
app.add_typer(bench_app, name="bench")
app.command("report")(report_command)
app.command("ask")(ask_command)
app.command("evidence")(evidence_command)
app.command("export")(export_command)
app.command("ladder")(ladder_command)
app.command("protocol")(protocol_command)
app.command("list")(list_command)
app.command("replay")(replay_command)
app.command("trace")(trace_command)
app.command("tune")(tune_command)
app.command("story")(story_command)
app.command("sweep")(sweep_command)
app.command("status")(status_command)
app.command("route")(route_command)
app.command("train-smol")(train_smol)
app.command("train-atlas")(train_atlas)
app.add_typer(stress_app, name="stress")
app.add_typer(stream_app, name="stream")


def main(work: Callable[[], object] = app) -> None:
    """Run the command line; the only place where errors and signals become lines and exit codes."""
    for stream in (sys.stdout, sys.stderr):  # a terminal that cannot show a letter shows its escape
        if isinstance(stream, io.TextIOWrapper):
            stream.reconfigure(errors="backslashreplace")
    try:
        with stoppable():
            _invoke(work)
    except Stopped as stop:
        if not stop.told:
            print("lifelong: stopped.", file=sys.stderr)
        sys.exit(stop.code)
    except BrokenPipeError:  # whoever read the output has enough
        _give_up_output()
        sys.exit(1)
    except (SystemExit, GeneratorExit):
        raise
    except BaseException as error:  # libraries in Rust raise panics that are no `Exception`
        if os.environ.get("LIFELONG_TRACEBACK"):
            raise
        print(f"lifelong: {line_of_error(error)}", file=sys.stderr)
        sys.exit(2)


def _invoke(work: Callable[[], object]) -> None:
    try:
        work()
    finally:
        if sys.stdout is not None:
            sys.stdout.flush()


def _give_up_output() -> None:
    """Send what is still to be printed nowhere: Python would complain of the broken pipe when it ends."""
    sys.stdout = open(os.devnull, "w")  # noqa: SIM115


def _version(asked: bool) -> None:
    if asked:
        from lifelong.log.machine import package_version

        print(package_version())
        raise typer.Exit()


@app.callback()
def lifelong_command(
    version: Annotated[
        bool, typer.Option("--version", callback=_version, is_eager=True, help="Print the version and end.")
    ] = False,
) -> None:
    """A lifelong streaming-edit simulator for multimodal LLMs."""


@app.command("run")
def run_command(
    words: Words = None,
    resume: Annotated[bool, typer.Option("--resume", help="Go on with a partial run.")] = False,
    fresh: Fresh = False,
    dry_run: Annotated[bool, typer.Option("--dry-run", help="Check all, print the plan, run nothing.")] = False,
    trial: Annotated[bool, typer.Option("--trial", help="With --dry-run: load the model, time one edit.")] = False,
    skip_bad: SkipBad = False,
) -> None:
    """Run one editor over one stream; prints the run folder on its last line."""
    from lifelong.running import run as compose
    from lifelong.running.plan import plan_run

    if not words:
        print(RUN_NEEDS, file=sys.stderr)
        raise typer.Exit(2)
    source, changes = split_words(words, skip_bad=skip_bad)
    if dry_run or trial:
        planned = plan_run(source, trial=trial, say=say, **changes)
        for line in planned.lines():
            show(line)
        show(str(planned.folder))
        return
    show(str(compose.run(source, resume=resume, fresh=fresh, **changes)))


@app.command("check")
def check_command(
    editor: Annotated[str, typer.Argument(help="A Python file with one editor, or a shipped name.")],
    words: Annotated[list[str] | None, typer.Argument(help="option=value words")] = None,
) -> None:
    """Check an editor against the contract that every editor keeps; exit code 1 when it does not."""
    from lifelong.editing.checks.check import check_editor
    from lifelong.editing.find import editor_class
    from lifelong.running.parts import options_of

    given = parse_words(words or ())
    options = options_of(editor_class(editor), given).model_dump(include=set(given))
    found = check_editor(editor, **options)
    print(found.text())
    if not found.ok:
        raise typer.Exit(1)


@app.command("fit")
def fit_command(
    words: Annotated[
        list[str] | None, typer.Argument(help="Names of editors (all without), and key=value words.")
    ] = None,
    into: Annotated[
        Path | None, typer.Option("--into", help="Copy each fit to FOLDER/EDITOR/weights/ as well.")
    ] = None,
) -> None:
    """Learn beforehand what trained editors need, so that no run waits for it; one line for each fit."""
    from lifelong.studies.fit import fit

    given = list(words or ())
    names = [word for word in given if not is_setting(word)]
    for found in fit(names, into=into, say=say, **parse_words([w for w in given if is_setting(w)])):
        show(found.line())


@app.command("single")
def single_command(
    words: Words = None,
    as_json: Annotated[bool, typer.Option("--json", help="A list of objects.")] = False,
    untrained: Annotated[bool, typer.Option("--untrained", help="Leave trained editors untrained.")] = False,
    skip_bad: SkipBad = False,
) -> None:
    """Make every edit alone, the model restored between, and print the five published metrics.

    One line for each run of a sweep's recipe or file, or for the one run that is named otherwise.
    """
    from lifelong.studies.single import single
    from lifelong.studies.sweep import cells, is_sweep

    source, changes = split_words(words, skip_bad=skip_bad)
    configs = [cell.config for cell in cells(source, changes)] if source and is_sweep(source) else [None]
    found = []
    for config in configs:
        found.append(single(config or source, fitted=not untrained, say=say, **({} if config else changes)))
        if not as_json:
            print(found[-1].line(), flush=True)
    if as_json:
        print(json.dumps([one.plain() for one in found], indent=1))


@app.command("spaces")
def spaces_command(
    out: Annotated[Path, typer.Option("-o", "--out", help="The picture: FILE.png or FILE.svg.")],
    words: Words = None,
) -> None:
    """Draw the spaces that a run's editor learnt (UniKE has two), for the edits of its stream; prints the picture."""
    from lifelong.studies.spaces import spaces_of
    from reports.figures.spaces import draw_spaces

    source, changes = split_words(words)
    print(draw_spaces(spaces_of(source, say=say, **changes), out))
