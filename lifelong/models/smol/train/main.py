"""The whole training of the pretrained backbone: recall, tower, features, names, adapters, export; all resume."""

from __future__ import annotations

import json
import math
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import torch
from torch import nn

from lifelong.models.atlas.train import checkpoint
from lifelong.models.atlas.train.export import write_model
from lifelong.models.atlas.train.features import Features, cache_features
from lifelong.models.atlas.train.mixture import Mix
from lifelong.models.atlas.train.pictures import Pictures, load_pictures
from lifelong.models.atlas.train.tower_stage import TowerPlan, mean_features, train_tower
from lifelong.models.smol.adapters import put_in, save_adapters, tensors_of
from lifelong.models.smol.build import blank_smol
from lifelong.models.smol.model import SMOL_TOKENS
from lifelong.models.smol.train.language import AdapterPlan, AdapterTrainer
from lifelong.models.smol.train.mixture import SMOL_MIX, SmolMixture
from lifelong.models.smol.train.naming import NamingPlan, names_of, train_naming
from lifelong.models.smol.train.recall import recalled
from streams.atlas.world import World, load_world

# From ImageNet's weights a tower needs fewer and smaller steps than from random ones.
SMOL_TOWER = TowerPlan(steps=1500, again=500, rate=6e-4, again_rate=3e-4, average=0.99)
KEPT_BLOCKS = 3  # of the tower's sixteen: edges and textures, as ImageNet taught them


@dataclass(frozen=True)
class SmolPlan:
    """All choices of a training run; a tower of no steps keeps the published weights."""

    tower: TowerPlan = SMOL_TOWER
    naming: NamingPlan = field(default_factory=NamingPlan)
    language: AdapterPlan = field(default_factory=AdapterPlan)
    mix: Mix = SMOL_MIX
    redrawn: int = 2


def smol_plan(
    *,
    steps: int | None = None,
    tower_steps: int | None = None,
    batch: int = 1,
    rate: float = 1.0,
    limit_wall_s: float | None = None,
    drawers: int = 0,
    compiled: bool = False,
) -> SmolPlan:
    """Return the usual plan with other lengths, a share of the rates, and `batch` times the rows of a step.

    Of `tower_steps` a third are the gentler ones at the end.
    """
    plan = SmolPlan()
    stage, tower = plan.language, plan.tower
    if tower_steps is not None:
        tower = replace(tower, steps=tower_steps - tower_steps // 3, again=tower_steps // 3)
    stage = replace(
        stage,
        steps=stage.steps if steps is None else steps,
        adam_rate=stage.adam_rate * rate,
        limit_wall_s=math.inf if limit_wall_s is None else limit_wall_s,
        drawers=drawers,
        compile=compiled,
    )
    return replace(plan, tower=tower, language=stage, mix=plan.mix.times(batch))


def main(out: Path, *, seed: int = 0, plan: SmolPlan | None = None, device: str = "cpu") -> Path:
    """Train the adapters into `out/adapters.safetensors`, write the whole model to `out/model`, and return that.

    What `out` holds is gone on from. Raises `ModelError` where the pretrained parts are not installed.
    """
    plan = plan or SmolPlan()
    out.mkdir(parents=True, exist_ok=True)
    world, pictures = load_world(), load_pictures(load_world())
    model, processor = blank_smol()
    moved: Any = model
    known = recalled(moved.to(device), processor.tokenizer, world, out / "recalled.json")
    network = model.model.vision_tower.network
    _tower(network, pictures, plan, out, seed, device)
    features = _features(network, pictures, plan, out, seed)
    renderings = pictures.of_entity(seen_only=True)
    mixture = SmolMixture(world, processor.tokenizer, renderings, plan.mix, seed, known)
    _naming(model, processor.tokenizer, features, pictures, plan, world, out, seed)
    stage = plan.language if device == "cpu" else replace(plan.language, lines=0)  # a GPU has room for all at once
    trainer = AdapterTrainer(model, features, mixture, stage, out, torch.device(device))
    trainer.resume()
    trainer.run()
    tensors = tensors_of(model, trainer.updates)
    save_adapters(tensors, out / "adapters.safetensors")
    fresh, processor = blank_smol()
    put_in(fresh, tensors)
    write_model(fresh, processor, out / "model")
    (out / "plan.json").write_text(json.dumps({"steps": trainer.step, "recalled": len(known)}) + "\n")
    return out / "model"


def _naming(
    model: Any,
    tokenizer: Any,
    features: Features,
    pictures: Pictures,
    plan: SmolPlan,
    world: World,
    out: Path,
    seed: int,
) -> None:
    reader = nn.Sequential(model.model.vision_tower.reader, model.model.multi_modal_projector).float().cpu()
    torch.manual_seed(seed)
    for part in reader.modules():
        if isinstance(part, nn.Linear):
            part.reset_parameters()  # transformers draws weights far smaller
    names = [tokenizer(world.name(entity), add_special_tokens=False)["input_ids"] for entity in world.entities]
    after = tokenizer("\n", add_special_tokens=False)["input_ids"][0]
    words = names_of(model.get_input_embeddings().weight.detach().cpu(), names, after, SMOL_TOKENS)
    train_naming(reader, words, features.views.squeeze(2), pictures, plan.naming, out, seed)


def _tower(network: Any, pictures: Pictures, plan: SmolPlan, out: Path, seed: int, device: str) -> None:
    """Give the model its convolutions: the trained ones, or the published ones where none are to be trained."""
    path = out / "tower.safetensors"
    if plan.tower.total and not path.exists():
        torch.manual_seed(seed)
        _keep_published(network)
        begun = (out / "tower.checkpoint").exists()  # has its classes
        prototypes = None if begun else mean_features(network, pictures)
        train_tower(network, pictures, plan.tower, out, seed, device, prototypes)
    if path.exists():
        checkpoint.restore_module("tower", network, checkpoint.load_checkpoint(path)[0])
    network.eval()


def _keep_published(network: Any) -> None:
    """Leave the stem, the first blocks and all filters of single channels as published: a third of the seconds."""
    for kept in (network.stem, *network.blocks[:KEPT_BLOCKS], *(block.filter.conv for block in network.blocks)):
        kept.requires_grad_(False)


def _features(network: Any, pictures: Pictures, plan: SmolPlan, out: Path, seed: int) -> Features:
    """Return the mean of each picture's maps, as one token, from the file that keeps them or made."""
    path = out / "features.safetensors"
    if not path.exists():
        views = cache_features(network, pictures, seed, plan.redrawn).views
        pooled = torch.stack([view.float().mean(1, keepdim=True).half() for view in views])
        checkpoint.save_checkpoint(path, {"views": pooled}, {})
    return Features(checkpoint.load_checkpoint(path)[0]["views"])
