"""`lifelong sweep` and `lifelong status`: many runs, where they run, and how far they are."""

from __future__ import annotations

import os
import time
from pathlib import Path
from typing import Annotated

import typer

from lifelong.cli.words import Fresh, SkipBad, Words, say, show, split_words
from lifelong.running.words import ConfigError, parse_words
from lifelong.studies.engines.engine import CellEngine, Need
from lifelong.studies.report import report

ON_CLUSTER = "On a cluster"


def sweep_command(
    words: Words = None,
    jobs: Annotated[int, typer.Option("--jobs", min=1, help="Runs at a time, in processes here.")] = 1,
    resume: Annotated[bool, typer.Option("--resume", help="Go on with partial runs.")] = False,
    fresh: Fresh = False,
    retry: Annotated[bool, typer.Option("--retry", help="Go on with the runs that failed, and no others.")] = False,
    dry_run: Annotated[
        bool, typer.Option("--dry-run", help="Check every run, print folders, time, memory and disk.")
    ] = False,
    trial: Annotated[bool, typer.Option("--trial", help="With --dry-run: time one edit of each kind.")] = False,
    report_to: Annotated[Path | None, typer.Option("--report", help="Write a report of all cells here.")] = None,
    skip_bad: SkipBad = False,
    ray: Annotated[
        str,
        typer.Option(
            "--ray",
            metavar="ADDRESS",
            rich_help_panel=ON_CLUSTER,
            help="A Ray cluster: its address, `auto`, or `local` to start one here.",
        ),
    ] = "",
    slurm: Annotated[
        list[str] | None,
        typer.Option(
            "--slurm",
            metavar="KEY=VALUE",
            rich_help_panel=ON_CLUSTER,
            help="A Slurm cluster, by submitit: its settings, such as timeout_min=240, partition=gpu.",
        ),
    ] = None,
    cpus: Annotated[
        float, typer.Option("--cpus", min=0, rich_help_panel=ON_CLUSTER, help="Cores that each run asks for.")
    ] = 0,
    gpus: Annotated[
        float, typer.Option("--gpus", min=0, rich_help_panel=ON_CLUSTER, help="GPUs that each run asks for.")
    ] = 0,
    memory: Annotated[
        float, typer.Option("--memory", min=0, rich_help_panel=ON_CLUSTER, help="GB that each run asks for.")
    ] = 0,
) -> None:
    """Run the product of lists, one process per run; finished ones are skipped. Exit code 1 when any failed."""
    from lifelong.studies.planned import plan
    from lifelong.studies.sweep import sweep

    source, changes = split_words(words, skip_bad=skip_bad)
    if dry_run or trial:
        for line in plan(source, changes, jobs=jobs, needs=True, trial=trial, say=say).lines():
            show(line)
        return
    started = time.perf_counter()
    engine = cell_engine(ray, slurm or [], Need(cpus, gpus, round(memory * 1e9)), str(changes.get("out", "runs")))
    outcomes = sweep(
        source, jobs=jobs, engine=engine, resume=resume, fresh=fresh, retry=retry, table=True, say=say, **changes
    )
    for done in outcomes:
        show(done.line())
    folders = [done.folder for done in outcomes if done.folder is not None]
    if report_to is not None and folders:
        before = time.perf_counter()
        page = report(folders, report_to)
        print(f"{time.perf_counter() - before:8.1f} s  report")
        print(f"{time.perf_counter() - started:8.1f} s  in all\n{page}")
    if any(done.state in ("failed", "interrupted") for done in outcomes):
        raise typer.Exit(1)


def cell_engine(ray: str, slurm: list[str], need: Need, out: str) -> CellEngine | None:
    """Return where cells run by the words of a command, None for processes here; raises `ConfigError`.

    What jobs of Slurm say is kept in the folder `slurm` of `out`.
    """
    if ray and slurm:
        raise ConfigError("--ray and --slurm are two clusters: give one of them.")
    if ray:
        from lifelong.studies.engines.on_ray import on_ray

        return on_ray(ray, need)
    if slurm:
        from lifelong.studies.engines.on_slurm import on_slurm

        settings = parse_words([word for words in slurm for word in words.split(",") if word])
        return on_slurm(settings, need, Path(os.path.abspath(out)) / "slurm")
    if need != Need():
        raise ConfigError("--cpus, --gpus and --memory are asked of a cluster: give --ray or --slurm with them.")
    return None


def status_command(
    folders: Annotated[list[Path], typer.Argument(help="Folders of runs, or runs.")],
) -> None:
    """Say how far the runs below some folders are, from the folders alone; exit code 1 when any failed."""
    from lifelong.studies.status import counted, status

    rows = status(folders)
    for row in rows:
        show(row.line())
    show(counted(rows))
    if any(row.state in ("failed", "lost") for row in rows):
        raise typer.Exit(1)
