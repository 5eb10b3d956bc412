"""Stage 2 of the pretrained backbone: low-rank updates learn to answer, on features of the tower.

The language model's own weights, the tower and what gives pictures their words stay as they are. Everything else is
as for the embedded model.
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from torch import nn

from lifelong.models.atlas.train.features import Features
from lifelong.models.atlas.train.language_stage import LanguagePlan, LanguageTrainer
from lifelong.models.atlas.train.mixture import Mixture
from lifelong.models.smol.adapters import add_updates


@dataclass(frozen=True)
class AdapterPlan(LanguagePlan):
    """Rates and lengths of stage 2; `adam_rate` is that of the updates.

    With noise of .5 words of seen drawings come out wrong about as often as those of unseen ones do without.
    """

    steps: int = 650
    adam_rate: float = 1e-3
    noise: float = 0.5
    rank: int = 10
    lines: int = 4  # 16 at once need 11 GB


class AdapterTrainer(LanguageTrainer):
    """Holds the model with its updates, the optimiser and the step; `updates` are by the names of their layers.

    `features` are of one token each: the mean of a picture's maps.
    """

    plan: AdapterPlan

    def __init__(
        self, model: Any, features: Features, mixture: Mixture, plan: AdapterPlan, out: Path, device: torch.device
    ) -> None:
        model.requires_grad_(False)
        self.updates = add_updates(model.model.language_model, plan.rank, mixture.seed)
        for one in self.updates.values():
            one.base.to(torch.bfloat16)  # as autocast would make it anew for each part of a step
        super().__init__(model, features, mixture, plan, out, device)

    def trained_parts(self) -> dict[str, nn.Module]:
        """Return the updates, without the layers that they stand beside."""
        factors = {f"{name.replace('.', '/')}/{side}": getattr(one, side) for name, one in self.updates.items()
                   for side in ("a", "b")}  # fmt: skip
        return {"updates": nn.ParameterDict(factors)}

    def new_optimizers(self) -> dict[str, tuple[torch.optim.Optimizer, float]]:
        """Return AdamW of the updates."""
        rate = self.plan.adam_rate
        factors = self.parts["updates"].parameters()
        return {"adam": (torch.optim.AdamW(factors, rate, betas=(0.9, 0.95), weight_decay=0.0, fused=True), rate)}

    @torch.no_grad()
    def seen(self, pictures: torch.Tensor) -> torch.Tensor:
        """Return the tokens of pictures (P, tokens, width) by their features (P, 1, channels)."""
        return self.projector(self.model.model.vision_tower.reader(pictures.squeeze(1)))
