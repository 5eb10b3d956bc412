"""`python -m lifelong.models.atlas.train --out FOLDER`: train the embedded model, or go on with a broken-off run."""

from __future__ import annotations

import argparse
from dataclasses import replace
from pathlib import Path

from lifelong.models.atlas.train.main import TrainingPlan, main


def _arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description="Train the embedded atlas model.")
    parser.add_argument("--out", type=Path, required=True, help="folder for checkpoints, loss.csv and the model")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--tower-steps", type=int, default=TrainingPlan().tower.steps)
    parser.add_argument("--steps", type=int, default=TrainingPlan().language.steps, help="steps of stage 2")
    parser.add_argument(
        "--contexts", type=int, default=TrainingPlan().mix.contexts, help="rows with told facts, of a step"
    )
    parser.add_argument(
        "--others",
        type=float,
        default=TrainingPlan().mix.others,
        help="share of them about other entities than fit's",
    )
    parser.add_argument(
        "--echo", type=float, default=TrainingPlan().mix.echo, help="share of them that only train copying"
    )
    parser.add_argument("--rate", type=float, default=1.0, help="share of the full rates of stage 2")
    parser.add_argument("--width", type=int, default=TrainingPlan().width, help="width of the decoder")
    parser.add_argument("--start", type=Path, default=None, help="folder of a finished model to go on from")
    parser.add_argument(
        "--copy-steps", type=int, default=TrainingPlan().mix.copy_steps, help="first steps, mostly of copying"
    )
    parser.add_argument("--processes", type=int, default=1, help="processes that share stage 2")
    parser.add_argument("--threads", type=int, default=None)
    parser.add_argument("--device", default="cpu")
    parser.add_argument("--fresh", action="store_true", help="refuse a folder that already holds a run")
    return parser.parse_args()


if __name__ == "__main__":
    given = _arguments()
    plan = TrainingPlan()
    stage = replace(plan.language, steps=given.steps)
    stage = replace(stage, muon_rate=stage.muon_rate * given.rate, adam_rate=stage.adam_rate * given.rate)
    mix = replace(plan.mix, contexts=given.contexts, echo=given.echo, others=given.others)
    mix = replace(mix, copy_steps=given.copy_steps)
    tower = replace(plan.tower, steps=given.tower_steps)
    plan = replace(plan, tower=tower, language=stage, mix=mix, width=given.width)
    print(
        main(
            given.out,
            seed=given.seed,
            plan=plan,
            resume=not given.fresh,
            threads=given.threads,
            device=given.device,
            processes=given.processes,
            start=given.start,
        )
    )
