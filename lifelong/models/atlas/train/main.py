"""The whole training, start to finish: tower, features, language model, export; each stage resumes by itself."""

from __future__ import annotations

import math
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import torch
from transformers import LlavaForConditionalGeneration, PreTrainedModel, PreTrainedTokenizerFast

from lifelong.models.atlas.model import (
    AtlasVisionConfig,
    AtlasVisionModel,
    build_config,
    build_model,
    build_processor,
    build_tokenizer,
)
from lifelong.models.atlas.train import checkpoint
from lifelong.models.atlas.train.export import write_model
from lifelong.models.atlas.train.features import Features, cache_features
from lifelong.models.atlas.train.language_stage import LanguagePlan, LanguageTrainer
from lifelong.models.atlas.train.mixture import Mix, Mixture
from lifelong.models.atlas.train.pictures import Pictures, load_pictures
from lifelong.models.atlas.train.team import Team, run_team
from lifelong.models.atlas.train.tower_stage import TowerPlan, train_tower
from lifelong.models.atlas.train.vocabulary import vocabulary_lines
from streams.atlas.world import World, load_world


@dataclass(frozen=True)
class TrainingPlan:
    """All choices of a training run."""

    tower: TowerPlan = field(default_factory=TowerPlan)
    language: LanguagePlan = field(default_factory=LanguagePlan)
    mix: Mix = field(default_factory=Mix)
    redrawn: int = 6
    vocabulary: int = 8192
    width: int = 256


def plan_of(
    *,
    width: int = 256,
    steps: int | None = None,
    tower_steps: int | None = None,
    copy_steps: int | None = None,
    rate: float = 1.0,
    batch: int = 1,
    limit_wall_s: float | None = None,
    drawers: int = 0,
    compiled: bool = True,
) -> TrainingPlan:
    """Return the usual plan with other lengths, another width of the decoder or a share of the full rates.

    `batch` times as many rows make a step, which a fast device needs; `limit_wall_s`, `drawers` and
    `compiled` are those of `LanguagePlan`. Raises `ValueError` for a width that four heads do not share evenly.
    """
    if width % 8:
        raise ValueError(f"width={width}: expected a multiple of 8, for four heads.")
    plan = TrainingPlan()
    tower, stage = plan.tower, plan.language
    stage = replace(stage, muon_rate=stage.muon_rate * rate, adam_rate=stage.adam_rate * rate)
    limit_wall_s = math.inf if limit_wall_s is None else limit_wall_s
    stage = replace(stage, drawers=drawers, limit_wall_s=limit_wall_s, compile=compiled)
    plan = replace(plan, mix=plan.mix.times(batch))
    return replace(
        plan,
        tower=tower if tower_steps is None else replace(tower, steps=tower_steps),
        language=stage if steps is None else replace(stage, steps=steps),
        mix=plan.mix if copy_steps is None else replace(plan.mix, copy_steps=copy_steps),
        width=width,
    )


def main(
    out: Path,
    *,
    seed: int = 0,
    plan: TrainingPlan | None = None,
    resume: bool = True,
    threads: int | None = None,
    device: str = "cpu",
    processes: int = 1,
    start: Path | None = None,
    anew: bool = False,
) -> Path:
    """Train the embedded model into `out`; the finished model is the folder `out/model`, which is returned.

    `processes` share the rows of stage 2's every step, each on `threads` threads. `start` is the folder of a finished
    model: its tokenizer and tower are used, and its decoder and projector are trained further where they are of the
    plan's width. Otherwise, and with `anew` always, they begin at random: so models of several widths are alike.
    `out` also holds the checkpoints, the feature cache and `loss.csv`. Raises FileExistsError if `out` has a
    checkpoint and `resume` is False.
    """
    plan = plan or TrainingPlan()
    if threads is not None:
        torch.set_num_threads(threads)
    out.mkdir(parents=True, exist_ok=True)
    if not resume and any(out.glob("*.checkpoint")):
        raise FileExistsError(f"{out} holds a training run; pass resume or another folder")
    world = load_world()
    if start is not None:
        _begin_at(start, out, None if anew else plan.width)
    _tokenizer(world, plan, out)
    pictures = load_pictures(world)
    _features(_tower(pictures, plan, out, seed), pictures, plan, out, seed, device)
    run_team(processes, _train, plan, out, seed, threads, device)
    return out / "model"


def _train(team: Team, plan: TrainingPlan, out: Path, seed: int, threads: int | None, device: str) -> None:
    """Stage 2 and the export, as one member of a team."""
    if threads is not None:
        torch.set_num_threads(threads)
    world = load_world()
    tokenizer = _tokenizer(world, plan, out)
    trainer = _prepare(world, tokenizer, plan, out, seed, torch.device(device), team)
    trainer.resume()
    trainer.run()
    if team.leads:
        _finish(trainer, tokenizer, out / "model")


def _prepare(
    world: World,
    tokenizer: PreTrainedTokenizerFast,
    plan: TrainingPlan,
    out: Path,
    seed: int,
    device: torch.device,
    team: Team | None = None,
) -> LanguageTrainer:
    """Tower and features (made or read), and a stage-2 trainer at step 0."""
    pictures = load_pictures(world)
    tower = _tower(pictures, plan, out, seed)
    features = _features(tower, pictures, plan, out, seed)
    torch.manual_seed(seed)
    model = build_model(build_config(tokenizer, plan.width))
    begun = out / "start.safetensors"
    if begun.exists():
        model.load_state_dict(checkpoint.load_checkpoint(begun)[0])
    model.model.vision_tower.load_state_dict(tower.state_dict())
    model.model.vision_tower.requires_grad_(False)
    mixture = Mixture(world, tokenizer, pictures.of_entity(seen_only=True), plan.mix, seed)
    return LanguageTrainer(model, features, mixture, plan.language, out, device, team)


def _begin_at(start: Path, out: Path, width: int | None) -> None:
    """Take tokenizer and tower of a finished model into `out`, and all weights where it is of the width wanted."""
    if (out / "tower.safetensors").exists():
        return
    model: Any = LlavaForConditionalGeneration.from_pretrained(start, dtype=torch.float32)
    PreTrainedTokenizerFast.from_pretrained(start).save_pretrained(out / "tokenizer")
    if model.config.text_config.hidden_size == width:
        checkpoint.save_checkpoint(out / "start.safetensors", model.state_dict(), {})
    tower = model.model.vision_tower
    checkpoint.save_checkpoint(out / "tower.safetensors", checkpoint.module_tensors("tower", tower), {})


def _finish(trainer: LanguageTrainer, tokenizer: PreTrainedTokenizerFast, folder: Path) -> Path:
    """Export what the trainer holds."""
    write_model(trainer.model, build_processor(tokenizer), folder)
    return folder


def _tokenizer(world: World, plan: TrainingPlan, out: Path) -> PreTrainedTokenizerFast:
    folder = out / "tokenizer"
    if not (folder / "tokenizer.json").exists():
        build_tokenizer(vocabulary_lines(world), plan.vocabulary).save_pretrained(folder)
    return PreTrainedTokenizerFast.from_pretrained(folder)


def _tower(pictures: Pictures, plan: TrainingPlan, out: Path, seed: int) -> PreTrainedModel:
    path = out / "tower.safetensors"
    if not path.exists():
        torch.manual_seed(seed)
        return train_tower(AtlasVisionModel(AtlasVisionConfig()), pictures, plan.tower, out, seed)
    tower = AtlasVisionModel(AtlasVisionConfig())
    checkpoint.restore_module("tower", tower, checkpoint.load_checkpoint(path)[0])
    return tower.eval()


def _features(
    tower: PreTrainedModel, pictures: Pictures, plan: TrainingPlan, out: Path, seed: int, device: str = "cpu"
) -> Features:
    path = out / "features.safetensors"
    if not path.exists():
        moved: Any = tower  # `to` of a transformers model is not typed
        features = cache_features(moved.to(device), pictures, seed, plan.redrawn)
        moved.to("cpu")
        checkpoint.save_checkpoint(path, {"views": features.views}, {})
        return features
    return Features(checkpoint.load_checkpoint(path)[0]["views"])
