"""Stage 1b of the pretrained backbone: the projector learns to give a picture the words of its name.

Each token of a picture is brought near the mean of the word vectors of what the picture shows. So the language model
has something to read from the first step on, and learns names that share words together; without it thousands of
names would have to be learnt through thirty layers. Knows features, word vectors and entities; no language model.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from lifelong.models.atlas.train import checkpoint
from lifelong.models.atlas.train.features import Features
from lifelong.models.atlas.train.pictures import Pictures
from lifelong.models.atlas.train.progress import Reporter


@dataclass(frozen=True)
class NamingPlan:
    """Steps, pictures of a step, highest rate, noise on features, and the scale of cosines in the loss."""

    steps: int = 1200
    batch: int = 128
    rate: float = 1e-3
    noise: float = 0.05
    scale: float = 20.0
    near: float = 1.0  # weight of how near a token is to its own name, beside which name is nearest


def name_vectors(words: Tensor, names: Sequence[Sequence[int]]) -> Tensor:
    """Return each name's mean word vector, as long as words are on average, by token numbers: (names, width)."""
    means = torch.stack([words[torch.tensor(list(name))].float().mean(0) for name in names])
    return F.normalize(means, dim=1) * words.float().norm(dim=1).mean()


def train_naming(
    projector: nn.Module,
    vectors: Tensor,
    features: Features,
    pictures: Pictures,
    plan: NamingPlan,
    out: Path,
    seed: int,
) -> None:
    """Train `projector` in place, which `out/naming.safetensors` keeps; `vectors` (entities, width) are the targets.

    Random views of drawings that training may see are shown. A kept projector is taken as it is.
    """
    path = out / "naming.safetensors"
    if path.exists():
        checkpoint.restore_module("projector", projector, checkpoint.load_checkpoint(path)[0])
        return
    optimizer = torch.optim.AdamW(projector.parameters(), plan.rate, betas=(0.9, 0.95), weight_decay=0.01)
    seen = pictures.seen.nonzero().squeeze(1)
    with Reporter("naming", plan.steps, out / "loss.csv", every=100) as report:
        for step in range(plan.steps):
            g = torch.Generator().manual_seed(seed * 1_000_003 + step)
            for group in optimizer.param_groups:
                group["lr"] = plan.rate * min(1.0, (step + 1) / 50) * max(0.02, 1 - step / plan.steps)
            picked = seen[torch.randint(len(seen), (plan.batch,), generator=g)]
            view = torch.randint(len(features.views), (plan.batch,), generator=g)
            shown = features.views[view, picked].float()  # (batch, tokens, channels)
            tokens = projector(shown + plan.noise * torch.randn(shown.shape, generator=g)).float()
            labels = pictures.entity[picked]
            cosines = F.normalize(tokens, dim=2) @ F.normalize(vectors, dim=1).T  # (batch, tokens, entities)
            which = F.cross_entropy(cosines.mean(1) * plan.scale, labels)
            apart = (tokens - vectors[labels].unsqueeze(1)).pow(2).sum(2).mean() / vectors[0].pow(2).sum()
            optimizer.zero_grad()
            (which + plan.near * apart).backward()
            optimizer.step()
            if report.due(step + 1):
                report.show(step + 1, {"which": which.item(), "apart": apart.item()})
        report.show(plan.steps, share_named(projector, vectors, features, pictures))
    checkpoint.save_checkpoint(path, checkpoint.module_tensors("projector", projector), {"steps": plan.steps})


@torch.no_grad()
def share_named(projector: Any, vectors: Tensor, features: Features, pictures: Pictures) -> dict[str, float]:
    """Return the share of drawings, seen and unseen, whose nearest name is their own."""
    unit, hits = F.normalize(vectors, dim=1), []
    for rows in torch.arange(len(pictures.entity)).split(512):
        tokens = F.normalize(projector(features.views[0, rows].float()), dim=2).mean(1)
        hits.append((tokens @ unit.T).argmax(1) == pictures.entity[rows])
    hit = torch.cat(hits).float()
    return {"seen": hit[pictures.seen].mean().item(), "unseen": hit[~pictures.seen].mean().item()}
