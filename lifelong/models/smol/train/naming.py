"""Stage 1b of the pretrained backbone: reader and projector learn to give a picture the words of its name, in order.

Token k of a picture is brought to the word vector of token k of the name, and line breaks follow the name. So a
picture reads to the language model like a line of text with the name, and one skill, copying it, is all that is left
to learn; without it thousands of names would have to be learnt through thirty layers. Knows features, word vectors
and entities; no language model.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from lifelong.models.atlas.train import checkpoint
from lifelong.models.atlas.train.pictures import Pictures
from lifelong.models.atlas.train.progress import Reporter


@dataclass(frozen=True)
class NamingPlan:
    """Steps, pictures of a step, highest rate, noise on features, and what the parts of the loss weigh."""

    steps: int = 1500
    batch: int = 128
    rate: float = 2e-3
    noise: float = 0.2
    scale: float = 20.0  # of cosines
    words: float = 2.0  # which word it is
    names: float = 0.5  # which name all its words are
    near: float = 1.0  # how near a token is to its word


@dataclass(frozen=True)
class Names:
    """The words of all names: `rows` (entities, tokens) into `vectors` (words, width), `own` (entities, tokens) bool.

    `own` marks the words of a name and the line break after it; more line breaks fill its row.
    """

    rows: Tensor
    vectors: Tensor
    own: Tensor

    def whole(self) -> Tensor:
        """Return each name as one vector (entities, tokens x width) of length 1: its words side by side."""
        unit = F.normalize(self.vectors, dim=1)[self.rows] * self.own.unsqueeze(2)
        return F.normalize(unit.flatten(1), dim=1)


def names_of(vectors: Tensor, names: Sequence[Sequence[int]], after: int, tokens: int) -> Names:
    """Return the names (token numbers, of which `vectors` (vocabulary, width) are rows) as `tokens` words each.

    `after` is the token that fills a row behind its name. Longer names are cut.
    """
    cut = [list(name[:tokens]) for name in names]
    numbers = torch.tensor([[*name, *[after] * (tokens - len(name))] for name in cut])
    used, rows = numbers.unique(return_inverse=True)
    lengths = torch.tensor([len(name) for name in cut])
    return Names(rows, vectors[used].float(), torch.arange(tokens) <= lengths.unsqueeze(1))


def train_naming(
    reader: nn.Module, names: Names, pooled: Tensor, pictures: Pictures, plan: NamingPlan, out: Path, seed: int
) -> None:
    """Train `reader` (features to tokens as wide as words) in place, which `out/naming.safetensors` keeps.

    `pooled` (views, N, channels) are the features of pictures; of these, random views of drawings that training may
    see are shown. A kept reader is taken as it is.
    """
    path = out / "naming.safetensors"
    if path.exists():
        checkpoint.restore_module("reader", reader, checkpoint.load_checkpoint(path)[0])
        return
    optimizer = torch.optim.AdamW(reader.parameters(), plan.rate, betas=(0.9, 0.95), weight_decay=0.01)
    seen = pictures.seen.nonzero().squeeze(1)
    unit, whole = F.normalize(names.vectors, dim=1), names.whole()
    size = names.vectors.pow(2).sum(1).mean()
    with Reporter("naming", plan.steps, out / "loss.csv", every=100) as report:
        for step in range(plan.steps):
            g = torch.Generator().manual_seed(seed * 1_000_003 + step)
            for group in optimizer.param_groups:
                group["lr"] = plan.rate * min(1.0, (step + 1) / 50) * max(0.02, 1 - step / plan.steps)
            picked = seen[torch.randint(len(seen), (plan.batch,), generator=g)]
            view = torch.randint(len(pooled), (plan.batch,), generator=g)
            shown = pooled[view, picked].float()  # (batch, channels)
            entity = pictures.entity[picked]
            rows, own = names.rows[entity], names.own[entity]
            with torch.autocast("cpu", torch.bfloat16):  # several times as fast
                tokens = reader(shown + plan.noise * torch.randn(shown.shape, generator=g))  # (batch, tokens, width)
                way = F.normalize(tokens.float(), dim=2)
                cosines = way[own] @ unit.T
                alike = way.flatten(1) @ whole.T / tokens.shape[1] ** 0.5
            word = F.cross_entropy(cosines.float() * plan.scale, rows[own])
            name = F.cross_entropy(alike.float() * 2 * plan.scale, entity)
            apart = (tokens.float() - names.vectors[rows]).pow(2).sum(2).mean() / size
            optimizer.zero_grad()
            (plan.words * word + plan.names * name + plan.near * apart).backward()
            optimizer.step()
            if report.due(step + 1):
                report.show(step + 1, {"word": word.item(), "name": name.item(), "apart": apart.item()})
        report.show(plan.steps, share_named(reader, names, pooled, pictures))
    checkpoint.save_checkpoint(path, checkpoint.module_tensors("reader", reader), {"steps": plan.steps})


@torch.no_grad()
def share_named(reader: nn.Module, names: Names, pooled: Tensor, pictures: Pictures) -> dict[str, float]:
    """Return the share of drawings, seen and unseen, whose nearest name is their own, and of unseen ones whose every
    nearest word is."""
    unit, whole, hits, spelt = F.normalize(names.vectors, dim=1), names.whole(), [], []
    for rows in torch.arange(len(pictures.entity)).split(512):
        tokens, entity = F.normalize(reader(pooled[0, rows].float()), dim=2), pictures.entity[rows]
        hits.append((tokens.flatten(1) @ whole.T).argmax(1) == entity)
        right = ((tokens @ unit.T).argmax(2) == names.rows[entity]) | ~names.own[entity]
        spelt.append(right.all(1))
    hit, word, seen = torch.cat(hits).float(), torch.cat(spelt).float(), pictures.seen
    parts = {"seen": hit[seen], "unseen": hit[~seen], "unseen_words": word[~seen]}
    return {name: part.mean().item() for name, part in parts.items()}
