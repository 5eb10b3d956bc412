"""Stage 2: projector and decoder learn to answer, on cached features of the frozen tower.

Muon for the decoder's matrices, AdamW for the rest, bfloat16 autocast, attention with a 4D mask, a compiled decoder.
Every random draw depends on seed and step only, so a resumed run equals an unbroken one, unless its length is
given in seconds.
"""

from __future__ import annotations

import math
import time
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch.nn import functional as F
from transformers import LlavaForConditionalGeneration

from lifelong.models.atlas.train import checkpoint
from lifelong.models.atlas.train.drawing import drawing
from lifelong.models.atlas.train.features import Features
from lifelong.models.atlas.train.mixture import Mixture
from lifelong.models.atlas.train.muon import Muon
from lifelong.models.atlas.train.packing import Packed
from lifelong.models.atlas.train.progress import Reporter
from lifelong.models.atlas.train.team import Team


@dataclass(frozen=True)
class LanguagePlan:
    """Rates and lengths of stage 2.

    It ends after `limit_wall_s` seconds if its steps are not done by then, with the rate brought down in time.
    `drawers` are the processes that draw rows ahead (0: a thread), which a fast device needs.
    """

    steps: int = 16000
    muon_rate: float = 5e-3
    adam_rate: float = 2e-3
    warmup: int = 60
    noise: float = 0.1
    clean_share: float = 0.4
    checkpoint_s: float = 90.0
    compile: bool = True
    limit_wall_s: float = math.inf
    drawers: int = 0
    lines: int = 0  # rows of tokens that are differentiated at a time, 0: all; fewer need less memory


class LanguageTrainer:
    """Holds model, optimisers and step number of stage 2; `out/language.checkpoint` is its memory on disk."""

    def __init__(
        self,
        model: LlavaForConditionalGeneration,
        features: Features,
        mixture: Mixture,
        plan: LanguagePlan,
        out: Path,
        device: torch.device,
        team: Team | None = None,
    ) -> None:
        self.team = team or Team()
        if self.team.size > 1 and math.isfinite(plan.limit_wall_s):
            raise ValueError(f"limit_wall_s={plan.limit_wall_s}: members' clocks differ; give steps instead.")
        self.model: Any = model
        self.model.to(device)
        self.mixture, self.plan, self.out, self.device = mixture, plan, out, device
        self.features = features.views.to(device)
        self.decoder: Any = model.model.language_model
        self.projector: Any = model.model.multi_modal_projector
        # On small matrices of a CPU the plain products are faster than the fused ones.
        self.decoder.set_attn_implementation("sdpa" if device.type == "cuda" else "eager")
        self.parts = self.trained_parts()
        self.optimizers = self.new_optimizers()
        groups = (group for one, _ in self.optimizers.values() for group in one.param_groups)
        self._trained = [p for group in groups for p in group["params"]]
        self.step, self._before_wall_s, self._began_wall_s = 0, 0.0, time.monotonic()
        self.practice = mixture.questions.practice
        self._forward = torch.compile(self.decoder.forward) if plan.compile else self.decoder.forward
        self._path = out / "language.checkpoint"

    def trained_parts(self) -> dict[str, torch.nn.Module]:
        """Return what is trained, by the names of a checkpoint."""
        return {"decoder": self.decoder, "projector": self.projector}

    def new_optimizers(self) -> dict[str, tuple[torch.optim.Optimizer, float]]:
        """Return the optimisers of everything that is trained, each with its highest rate."""
        matrices = [p for n, p in self.decoder.named_parameters() if p.ndim == 2 and n.startswith("layers.")]
        known = {id(p) for p in matrices}
        rest = [p for part in self.parts.values() for p in part.parameters() if id(p) not in known]
        plan = self.plan
        adam = torch.optim.AdamW(rest, plan.adam_rate, betas=(0.9, 0.95), weight_decay=0.0, fused=True)
        return {
            "muon": (Muon(matrices, plan.muon_rate, team=self.team), plan.muon_rate),
            "adam": (adam, plan.adam_rate),
        }

    def resume(self) -> bool:
        """Go on from the checkpoint if there is one; whether there was."""
        if not self._path.exists():
            return False
        tensors, notes = checkpoint.load_checkpoint(self._path)
        for name, part in self.parts.items():
            checkpoint.restore_module(name, part, tensors)
        for name, (optimizer, _) in self.optimizers.items():
            checkpoint.restore_optimizer(name, optimizer, tensors)
        self.step, self._before_wall_s = int(notes["step"]), float(notes.get("wall_s", 0.0))
        self.practice.load(tensors, self.step)
        return True

    def _mark(self, facts: np.ndarray, missed: torch.Tensor) -> None:
        """Tell the practice what all members hit (1) and missed (2)."""
        outcome = torch.zeros(self.practice.count, dtype=torch.uint8)
        known = torch.from_numpy(facts >= 0)
        outcome[torch.from_numpy(facts)[known]] = 1 + missed[known].to(torch.uint8)
        outcome = self.team.largest(outcome).numpy()
        asked = outcome.nonzero()[0]
        self.practice.mark(asked, outcome[asked] == 2)

    def save(self) -> None:
        """Write the checkpoint (the leading member does)."""
        if not self.team.leads:
            return
        tensors: dict[str, torch.Tensor] = {}
        for name, part in self.parts.items():
            tensors |= checkpoint.module_tensors(name, part)
        for name, (optimizer, _) in self.optimizers.items():
            tensors |= checkpoint.optimizer_tensors(name, optimizer)
        notes = {"step": self.step, "wall_s": self._wall_s()}
        checkpoint.save_checkpoint(self._path, tensors | self.practice.tensors(), notes)

    def run(self, until: int | None = None) -> None:
        """Train to step `until` (the end by default); the next rows are drawn meanwhile."""
        last = self.plan.steps if until is None else min(until, self.plan.steps)
        plan, saved_s = self.plan, time.monotonic()
        self._began_wall_s = saved_s
        self.model.train()
        with (
            Reporter("language", plan.steps, self.out / "loss.csv", self.step, shown=self.team.leads) as report,
            drawing(self.mixture, self.team.rank, self.team.size, plan.drawers) as ahead,
        ):
            while self.step < last and self._wall_s() < plan.limit_wall_s:
                self.practice.renew(self.step)
                batch, facts = ahead.take(self.step, last, self.practice.noted)
                loss, hits = self._train(batch)
                self._mark(facts, torch.bincount(batch.owner, (~hits).float(), minlength=len(facts)) > 0)
                self.step += 1
                if report.due(self.step) and self.team.leads:
                    report.show(self.step, self._values(loss, hits))
                if time.monotonic() - saved_s > plan.checkpoint_s:
                    self.save()
                    saved_s = time.monotonic()
        self.save()

    def _values(self, loss: float, hits: torch.Tensor) -> dict[str, float]:
        hit = float(hits.float().mean())
        return {"loss": loss, "hit": hit, "miss": self.practice.mean_miss(), "rate": self._rate()}

    def _wall_s(self) -> float:
        return self._before_wall_s + time.monotonic() - self._began_wall_s

    def _rate(self) -> float:
        plan = self.plan
        done = max(self.step / plan.steps, min(1.0, self._wall_s() / plan.limit_wall_s))
        cosine = 0.5 + 0.5 * math.cos(math.pi * done)
        return min(1.0, (self.step + 1) / plan.warmup) * (0.01 + 0.99 * cosine)

    def _train(self, batch: Packed) -> tuple[float, torch.Tensor]:
        for optimizer, top in self.optimizers.values():
            for group in optimizer.param_groups:
                group["lr"] = top * self._rate()
        g = torch.Generator().manual_seed((self.mixture.seed * 7_919 + self.step) * 64 + self.team.rank)
        pictures = self._pictures(batch.pictures, g)
        count = self.team.total(float(len(batch.answers)))
        for optimizer, _ in self.optimizers.values():
            optimizer.zero_grad()
        loss, hits = 0.0, torch.zeros(len(batch.answers), dtype=torch.bool)
        for part, mine, seen in batch.parts(self.plan.lines or len(batch.ids)):
            value, hits[mine] = self._gradient(part, pictures[seen], count)
            loss += value
        whole = self.team.total(loss)
        if not math.isfinite(whole):
            raise FloatingPointError(f"language loss is {whole} at step {self.step}; resume with a lower rate")
        self.team.add_gradients(self._trained)
        for optimizer, _ in self.optimizers.values():
            optimizer.step()
        return whole, hits

    def _gradient(self, batch: Packed, pictures: torch.Tensor, count: float) -> tuple[float, torch.Tensor]:
        """Add a batch's share of the gradient of a mean over `count` answers; its loss, and which answers are hit."""
        with torch.autocast(self.device.type, torch.bfloat16):
            logits = self._logits(batch, pictures)
        answers = batch.answers.to(self.device)
        loss = F.cross_entropy(logits.float(), answers, reduction="sum") / count
        loss.backward()
        with torch.no_grad():  # arg max is several times slower than max here
            hits = logits.gather(1, answers.unsqueeze(1)).squeeze(1) >= logits.amax(1)
        return loss.item(), hits.cpu()

    def _pictures(self, rows: torch.Tensor, g: torch.Generator) -> torch.Tensor:
        """A random view of each picture, with a little noise: (P, features, channels)."""
        views = torch.randint(1, max(len(self.features), 2), (len(rows),), generator=g)
        views[torch.rand(len(rows), generator=g) < self.plan.clean_share] = 0
        chosen = self.features[views.clamp(max=len(self.features) - 1).to(self.device), rows.to(self.device)].float()
        noise = torch.randn(chosen.shape, generator=g).to(self.device)
        return chosen + self.plan.noise * noise

    def seen(self, pictures: torch.Tensor) -> torch.Tensor:
        """Return what the decoder reads of pictures: features (P, features, channels) to (P, tokens, width)."""
        return self.projector(pictures)

    def _logits(self, batch: Packed, pictures: torch.Tensor) -> torch.Tensor:
        words = self.decoder.get_input_embeddings().weight
        inputs = F.embedding(batch.ids.to(self.device), words)
        seen = self.seen(pictures)
        inputs = inputs.masked_scatter(batch.images.to(self.device).unsqueeze(-1), seen.to(inputs.dtype))
        hidden = self._forward(
            inputs_embeds=inputs,
            attention_mask=batch.mask(self.device, torch.bfloat16),
            position_ids=batch.positions.to(self.device),
            use_cache=False,
        ).last_hidden_state
        return F.linear(hidden.flatten(0, 1)[batch.asked.to(self.device)], words)
