"""Stage 1: a convolutional tower learns which entity a drawing shows, whoever drew it.

Cosine classification over all entities, a subgroup classifier, and a contrastive loss between two
renderings of one entity. It knows pictures and entity numbers, no questions.
"""

from __future__ import annotations

import copy
import math
import time
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from torch import nn
from torch.nn import functional as F
from transformers import PreTrainedModel

from lifelong.models.atlas.train import checkpoint
from lifelong.models.atlas.train.augment import augment, plain_pixels
from lifelong.models.atlas.train.pictures import Pictures
from lifelong.models.atlas.train.progress import Reporter


@dataclass(frozen=True)
class TowerPlan:
    """Sizes and rates of stage 1: a cosine of `steps`, then a lower and gentler one of `again` steps."""

    steps: int = 2300
    again: int = 1400
    again_rate: float = 1.2e-3
    again_strength: float = 0.75
    entities_per_step: int = 64
    rate: float = 2e-3
    decay: float = 0.05
    warmup: int = 100
    smoothing: float = 0.1
    contrast: float = 0.3
    kinds: float = 0.2
    scale: float = 20.0
    drop: float = 0.1
    average: float = 0.997
    checkpoint_s: float = 60.0

    @property
    def total(self) -> int:
        """Steps of both parts."""
        return self.steps + self.again

    def rate_at(self, step: int) -> float:
        """Learning rate of a step (from 0)."""
        if step < self.steps:
            rate = self.rate * min(1.0, (step + 1) / self.warmup) * _cosine(step / self.steps)
        else:
            rate = self.again_rate * _cosine((step - self.steps) / self.again)
        return max(rate, self.rate * 0.005)


def _cosine(share: float) -> float:
    return 0.5 + 0.5 * math.cos(math.pi * share)


class _Heads(nn.Module):
    """Entity prototypes (cosine) and a linear subgroup classifier on the mean token."""

    def __init__(self, width: int, entities: int, kinds: int) -> None:
        super().__init__()
        self.entity = nn.Parameter(torch.randn(entities, width) * 0.05)
        self.kind = nn.Linear(width, kinds)

    def cosine(self, pooled: torch.Tensor) -> torch.Tensor:
        return F.normalize(pooled.float(), dim=1) @ F.normalize(self.entity, dim=1).T


def train_tower(
    tower: PreTrainedModel,
    pictures: Pictures,
    plan: TowerPlan,
    out: Path,
    seed: int,
    device: str = "cpu",
    prototypes: torch.Tensor | None = None,
) -> PreTrainedModel:
    """Train a tower and return the averaged one, its statistics measured; writes `out/tower.safetensors`.

    `tower.trunk` takes pixels (N, 3, 64, 64) in [-1, 1] to maps (N, hidden_size, h, w). Its parameters that need no
    gradient stay as they are. `prototypes` (entities, hidden_size) are what its classes begin with (random by
    default). What `out` holds is gone on from.
    """
    heads = _Heads(tower.config.hidden_size, len(pictures.flips), int(pictures.kind.max()) + 1)
    if prototypes is not None:
        heads.entity.data.copy_(prototypes)
    both: Any = nn.ModuleList([tower, heads])
    both = both.to(device).to(memory_format=torch.channels_last)
    averaged = copy.deepcopy(both)
    trained = [p for p in both.parameters() if p.requires_grad]
    matrices = [p for p in trained if p.ndim > 1]
    others = [p for p in trained if p.ndim <= 1]
    optimizer = torch.optim.AdamW(
        [{"params": matrices, "weight_decay": plan.decay}, {"params": others, "weight_decay": 0.0}],
        lr=plan.rate,
        fused=True,
    )
    path, first = out / "tower.checkpoint", 0
    if path.exists():
        tensors, notes = checkpoint.load_checkpoint(path)
        checkpoint.restore_module("live", both, tensors)
        checkpoint.restore_module("averaged", averaged, tensors)
        checkpoint.restore_optimizer("adam", optimizer, tensors)
        first = int(notes["step"])
    rows = pictures.of_entity(seen_only=True)
    saved_s = time.monotonic()
    with Reporter("tower", plan.total, out / "loss.csv", first) as report:
        for step in range(first, plan.total):
            generator = torch.Generator().manual_seed(seed * 1_000_003 + step)
            values = _step(both, optimizer, pictures, rows, plan, step, generator)
            with torch.no_grad():
                keep = min(plan.average, (step + 1) / (step + 20))
                for slow, fast in zip(averaged.parameters(), both.parameters(), strict=True):
                    slow.lerp_(fast, 1 - keep)
            if report.due(step + 1):
                report.show(step + 1, values)
            if time.monotonic() - saved_s > plan.checkpoint_s or (step + 1) % 500 == 0:
                _save(path, both, averaged, optimizer, step + 1)
                saved_s = time.monotonic()
            if (step + 1) % 1000 == 0 or step + 1 == plan.total:
                measure_norms(_tower(averaged), pictures, plan, seed)
                report.show(step + 1, accuracy(averaged, pictures))
    final = _tower(averaged)
    checkpoint.save_checkpoint(
        out / "tower.safetensors", checkpoint.module_tensors("tower", final), {"steps": plan.total}
    )
    return final


def _tower(both: nn.ModuleList) -> Any:
    return both[0]


def _heads(both: nn.ModuleList) -> _Heads:
    heads = both[1]
    assert isinstance(heads, _Heads)
    return heads


def _save(path: Path, both: nn.Module, averaged: nn.Module, optimizer: torch.optim.Optimizer, step: int) -> None:
    tensors = checkpoint.module_tensors("live", both) | checkpoint.module_tensors("averaged", averaged)
    checkpoint.save_checkpoint(path, tensors | checkpoint.optimizer_tensors("adam", optimizer), {"step": step})


def _step(
    both: nn.ModuleList,
    optimizer: torch.optim.Optimizer,
    pictures: Pictures,
    rows: list[list[int]],
    plan: TowerPlan,
    step: int,
    g: torch.Generator,
) -> dict[str, float]:
    tower, heads = _tower(both), _heads(both)
    tower.train()
    for group in optimizer.param_groups:
        group["lr"] = plan.rate_at(step)
    chosen = torch.randperm(len(rows), generator=g)[: plan.entities_per_step].tolist()
    first, second = [], []
    for entity in chosen:
        order = torch.randperm(len(rows[entity]), generator=g).tolist()
        first.append(rows[entity][order[0]])
        second.append(rows[entity][order[min(1, len(order) - 1)]])
    picked = torch.tensor(first + second)
    device, labels = heads.entity.device, pictures.entity[picked]
    strength = 1.0 if step < plan.steps else plan.again_strength
    x = augment(pictures.pixels[picked], pictures.paper[picked], pictures.flips[labels], g, strength).to(device)
    labels, kinds = labels.to(device), pictures.kind[labels].to(device)
    with torch.autocast(device.type, torch.bfloat16):
        pooled = tower.trunk(x.contiguous(memory_format=torch.channels_last)).mean((2, 3))
    pooled = pooled.float()
    if plan.drop:
        keep = (torch.rand(pooled.shape, generator=g) > plan.drop).float().to(device) / (1 - plan.drop)
        dropped = pooled * keep
    else:
        dropped = pooled
    cosine = heads.cosine(dropped)
    loss_entity = F.cross_entropy(cosine * plan.scale, labels, label_smoothing=plan.smoothing)
    loss_kind = F.cross_entropy(heads.kind(dropped), kinds)
    half = len(first)
    unit = F.normalize(pooled, dim=1)
    pairs = unit[:half] @ unit[half:].T / 0.1
    same = torch.arange(half, device=device)
    loss_pair = (F.cross_entropy(pairs, same) + F.cross_entropy(pairs.T, same)) / 2
    loss = loss_entity + plan.kinds * loss_kind + plan.contrast * loss_pair
    if not torch.isfinite(loss):
        raise FloatingPointError(f"tower loss is {loss.item()} at step {step}; lower the rate or resume earlier")
    optimizer.zero_grad()
    loss.backward()
    torch.nn.utils.clip_grad_norm_(both.parameters(), 5.0)
    optimizer.step()
    hit = (cosine.argmax(1) == labels).float().mean().item()
    return {"entity": loss_entity.item(), "pair": loss_pair.item(), "kind": loss_kind.item(), "hit": hit}


@torch.no_grad()
def measure_norms(tower: Any, pictures: Pictures, plan: TowerPlan, seed: int, passes: int = 60) -> None:
    """Measure all batch-norm statistics of averaged weights anew, half on clean and half on redrawn pictures."""
    for module in tower.modules():
        if isinstance(module, nn.BatchNorm2d):
            module.reset_running_stats()
            module.momentum = None
    seen = pictures.seen.nonzero().squeeze(1)
    g = torch.Generator().manual_seed(seed)
    tower.train()
    for _ in range(passes):
        picked = seen[torch.randint(len(seen), (128,), generator=g)]
        clean, redrawn = picked[:64], picked[64:]
        flips = pictures.flips[pictures.entity[redrawn]]
        x = torch.cat(
            [
                plain_pixels(pictures.pixels[clean]),
                augment(pictures.pixels[redrawn], pictures.paper[redrawn], flips, g),
            ]
        )
        tower(x.to(tower.device).contiguous(memory_format=torch.channels_last))
    tower.eval()


@torch.no_grad()
def accuracy(both: nn.ModuleList, pictures: Pictures, batch: int = 256) -> dict[str, float]:
    """Share of clean renderings whose nearest prototype is their entity: seen and unseen."""
    tower, heads = _tower(both).eval(), _heads(both)
    hits = []
    for start in range(0, len(pictures.pixels), batch):
        x = plain_pixels(pictures.pixels[start : start + batch]).to(tower.device)
        with torch.autocast(tower.device.type, torch.bfloat16):
            pooled = tower.trunk(x.contiguous(memory_format=torch.channels_last)).mean((2, 3))
        hits.append(heads.cosine(pooled).argmax(1).cpu() == pictures.entity[start : start + batch])
    hit = torch.cat(hits).float()
    flag = ~pictures.seen
    return {"seen": hit[pictures.seen].mean().item(), "unseen": hit[flag].mean().item()}


@torch.no_grad()
def mean_features(tower: Any, pictures: Pictures, batch: int = 128) -> torch.Tensor:
    """Return each entity's mean feature less the mean of all, of drawings that training may see, at length 1.

    A pretrained tower's classes begin there (imprinting, arXiv 1712.07136), without the part that all share.
    """
    tower.eval()
    means = torch.zeros(len(pictures.flips), tower.config.hidden_size)
    for rows in pictures.seen.nonzero().squeeze(1).split(batch):
        x = plain_pixels(pictures.pixels[rows]).to(tower.device).contiguous(memory_format=torch.channels_last)
        with torch.autocast(tower.device.type, torch.bfloat16):
            pooled = tower.trunk(x).mean((2, 3))
        means.index_add_(0, pictures.entity[rows], F.normalize(pooled.float().cpu(), dim=1))
    means /= torch.bincount(pictures.entity[pictures.seen], minlength=len(means)).unsqueeze(1)
    return F.normalize(means - means.mean(0), dim=1)
