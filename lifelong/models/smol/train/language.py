"""Stage 2 of the pretrained backbone: projector and low-rank updates learn to answer, on features of the tower.

The language model's own weights and the tower stay as they are. Everything else is as for the embedded model.
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
    """Rates and lengths of stage 2; `adam_rate` is that of the updates, the projector's is `projector_rate`."""

    steps: int = 3000  # 370 name .68 of unseen flags and .17 of emoji (reports/LOG.md)
    adam_rate: float = 1e-3
    projector_rate: float = 1e-3
    noise: float = 0.05
    rank: int = 12
    lines: int = 4  # 16 at once need 11 GB


class AdapterTrainer(LanguageTrainer):
    """Holds the model with its updates, the optimiser and the step; `updates` are by the names of their layers."""

    plan: AdapterPlan

    def __init__(
        self, model: Any, features: Features, mixture: Mixture, plan: AdapterPlan, out: Path, device: torch.device
    ) -> None:
        model.requires_grad_(False)
        self.updates = add_updates(model.model.language_model, plan.rank, mixture.seed)
        for one in self.updates.values():
            one.base.to(torch.bfloat16)  # as autocast would make it anew for each part of a step
        model.model.multi_modal_projector.requires_grad_(True)
        super().__init__(model, features, mixture, plan, out, device)

    def trained_parts(self) -> dict[str, nn.Module]:
        """Return the updates, without the layers that they stand beside, and the projector."""
        factors = {f"{name.replace('.', '/')}/{side}": getattr(one, side) for name, one in self.updates.items()
                   for side in ("a", "b")}  # fmt: skip
        return {"updates": nn.ParameterDict(factors), "projector": self.projector}

    def new_optimizers(self) -> dict[str, tuple[torch.optim.Optimizer, float]]:
        """Return AdamW of each part."""
        rates = {"updates": self.plan.adam_rate, "projector": self.plan.projector_rate}
        return {f"adam_{name}": (_adam(part, rates[name]), rates[name]) for name, part in self.parts.items()}


def _adam(part: nn.Module, rate: float) -> torch.optim.Optimizer:
    return torch.optim.AdamW(part.parameters(), rate, betas=(0.9, 0.95), weight_decay=0.0, fused=True)
