"""`lifelong train-atlas`, `train-smol`: the trainings of the models that this project makes, and what both take."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from lifelong.cli.words import say

Steps = Annotated[int | None, typer.Option("--steps", min=1, help="Steps of stage 2.")]
Rate = Annotated[float, typer.Option("--rate", min=0, help="Share of the full rates of stage 2.")]
RowsFactor = Annotated[int, typer.Option("--batch", min=1, help="How many times the usual rows make a step.")]
LimitSeconds = Annotated[
    float | None, typer.Option("--limit-s", min=1, help="Seconds after which stage 2 ends, annealed.")
]
Drawers = Annotated[
    int, typer.Option("--drawers", min=0, help="Processes that draw the rows ahead; for a fast device.")
]
Compiled = Annotated[
    bool, typer.Option("--compiled/--plain", help="Compile the decoder first; plain begins a minute sooner.")
]


def train_smol(
    out: Annotated[Path, typer.Option("--out", help="Folder for checkpoints, loss.csv, adapters and the model.")],
    seed: Annotated[int, typer.Option("--seed")] = 0,
    steps: Steps = None,
    tower_steps: Annotated[
        int | None, typer.Option("--tower-steps", min=0, help="Steps of stage 1; 0 keeps the published tower.")
    ] = None,
    rate: Rate = 1.0,
    batch: RowsFactor = 1,
    limit_s: LimitSeconds = None,
    drawers: Drawers = 0,
    compiled: Compiled = False,
    device: Annotated[str, typer.Option("--device")] = "cpu",
) -> None:
    """Train the adapters of model=smol (resumable; needs the extra smol), print the folder of the whole model."""
    from lifelong.models.smol.train.main import main as train
    from lifelong.models.smol.train.main import smol_plan

    plan = smol_plan(
        steps=steps,
        tower_steps=tower_steps,
        rate=rate,
        batch=batch,
        limit_wall_s=limit_s,
        drawers=drawers,
        compiled=compiled,
    )
    print(train(out, seed=seed, plan=plan, device=device))


def train_atlas(
    out: Annotated[Path, typer.Option("--out", help="Folder for checkpoints, loss.csv and the model.")],
    seed: Annotated[int, typer.Option("--seed")] = 0,
    start: Annotated[Path | None, typer.Option("--start", help="Folder of a finished model to go on from.")] = None,
    anew: Annotated[bool, typer.Option("--anew", help="Of --start take tokenizer and tower alone.")] = False,
    width: Annotated[int, typer.Option("--width", min=64, help="Width of the decoder, of four heads.")] = 256,
    steps: Steps = None,
    tower_steps: Annotated[int | None, typer.Option("--tower-steps", min=1, help="Steps of stage 1.")] = None,
    copy_steps: Annotated[
        int | None, typer.Option("--copy-steps", min=0, help="First steps, mostly copying.")
    ] = None,
    rate: Rate = 1.0,
    batch: RowsFactor = 1,
    limit_s: LimitSeconds = None,
    drawers: Drawers = 0,
    compiled: Compiled = True,
    processes: Annotated[int, typer.Option("--processes", help="Processes that share stage 2.")] = 1,
    threads: Annotated[int | None, typer.Option("--threads", help="Threads of each process.")] = None,
    device: Annotated[str, typer.Option("--device")] = "cpu",
    fresh: Annotated[bool, typer.Option("--fresh", help="Refuse a folder that holds a training run.")] = False,
) -> None:
    """Train the embedded model (resumable), draw its losses, print the folder of the finished model."""
    from lifelong.models.atlas.train.main import main as train
    from lifelong.models.atlas.train.main import plan_of

    plan = plan_of(
        width=width,
        steps=steps,
        tower_steps=tower_steps,
        copy_steps=copy_steps,
        rate=rate,
        batch=batch,
        limit_wall_s=limit_s,
        drawers=drawers,
        compiled=compiled,
    )
    model = train(
        out, seed=seed, plan=plan, resume=not fresh, threads=threads, device=device, processes=processes, start=start,
        anew=anew,
    )  # fmt: skip
    from reports.figures.losses import draw_losses

    say(f"losses: {draw_losses(out / 'loss.csv', out / 'loss.png')}")
    print(model)
