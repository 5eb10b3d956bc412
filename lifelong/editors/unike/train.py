"""What UniKE learns beforehand: a memory of answered questions, its two encoders, and the directions of truth.

Knows the VLM, a pool and UniKE's options; nothing of edits in a stream. A triplet is a question, a true answer and
the model's own wrong one (arXiv 2409.19872: more than 15,000 of them).
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import torch
from torch import Tensor, nn

from lifelong.editing.patches.taps import tapped
from lifelong.editors.unike import encoders
from lifelong.editors.unike.latent import LatentMemory, zeta
from streams.types import Pool, Query

if TYPE_CHECKING:
    from lifelong.models.vlm import VLM

ENDS_TOGETHER = 128


@dataclass(frozen=True)
class Triplet:
    """A question with the answer that shall be true and the model's own, false one."""

    query: Query
    true: str
    false: str


@dataclass(frozen=True)
class States:
    """Inputs of patched layers, `[layer]` (n, width): at the last prompt token, and at the answers' last tokens."""

    h_sem: list[Tensor]
    h_pos: list[Tensor]
    h_neg: list[Tensor]


def triplets(vlm: VLM, pool: Pool, count: int, *, seed: int) -> list[Triplet]:
    """Return at most `count` triplets: edits and rephrases of the pool where the model does not say the target."""
    asked = [(item.edit.query, item.edit.target) for item in pool.items]
    asked += [
        (p.query, p.target)
        for item in pool.items
        for p in item.probes
        if p.axis == "generality" and p.reference == "target"
    ]
    order = torch.randperm(len(asked), generator=torch.Generator().manual_seed(seed)).tolist()
    found: list[Triplet] = []
    for low in range(0, len(order), ENDS_TOGETHER):
        part = [asked[i] for i in order[low : low + ENDS_TOGETHER]]
        said = vlm.generate([q for q, _ in part])
        pairs = zip(part, said, strict=True)
        found += [Triplet(q, true, false) for (q, true), false in pairs if false and false != true]
        if len(found) >= count:
            break
    return found[:count]


def ends_of(vlm: VLM, layers: Sequence[int], asked: Sequence[Any], targets: Sequence[str] | None) -> list[Tensor]:
    """Return the inputs of layers at the last token, `[layer]` (n, width).

    That is the last prompt token or, with targets, the last token of the target before its end token.
    """
    inputs = [vlm.decoder_layer(max(layers))]
    outputs = [vlm.decoder_layer(i - 1) for i in layers if i != max(layers)]
    last, others = tapped(vlm, asked, targets, inputs=inputs, outputs=outputs)
    by_layer = dict(zip([i for i in layers if i != max(layers)], others, strict=True)) | {max(layers): last[0]}
    back = 1 if targets is None else 2
    return [torch.stack([row[-back].float() for row in by_layer[i]]).cpu() for i in layers]


def states_of(vlm: VLM, layers: Sequence[int], found: Sequence[Triplet]) -> States:
    """Return the hidden states of triplets."""
    parts: list[list[list[Tensor]]] = []
    for low in range(0, len(found), ENDS_TOGETHER):
        part = found[low : low + ENDS_TOGETHER]
        queries = [t.query for t in part]
        answers = (None, [t.true for t in part], [t.false for t in part])
        parts.append([ends_of(vlm, layers, queries, targets) for targets in answers])
    return States(*([torch.cat([p[k][i] for p in parts]) for i in range(len(layers))] for k in range(3)))


def fit_memories(
    vlm: VLM,
    layers: Sequence[int],
    memories: Sequence[LatentMemory],
    found: Sequence[Triplet],
    options: Any,
    *,
    seed: int,
    unfinished: Path | None = None,
) -> list[dict[str, Tensor]]:
    """Fill the memories, train their encoders in place, and return each layer's directions: truthful and semantic.

    Raises `ValueError` when there are fewer than two triplets.
    """
    if len(found) < 2:
        raise ValueError(f"unike: {len(found)} questions of the pool are answered wrongly; 2 are needed.")
    states = states_of(vlm, layers, found)
    directions = []
    for i, memory in enumerate(memories):
        h_sem, h_pos, h_neg = states.h_sem[i], states.h_pos[i], states.h_neg[i]
        encoders.train_encoders(
            memory.semantic, memory.truthful, h_sem, h_pos, h_neg,
            steps=options.fit_steps, batch=options.fit_batch, rate=options.fit_rate,
            temperature=options.temperature, rng=torch.Generator().manual_seed(seed + i),
            what=f"fit unike: layer {layers[i]}", unfinished=unfinished,
        )  # fmt: skip
        memory.learn(h_sem, h_pos)
        with torch.no_grad():
            directions.append({
                "truthful": zeta(memory.truthful, h_pos, h_neg), "semantic": zeta(memory.semantic, h_pos, h_neg)
            })  # fmt: skip
    return directions


def parts_of(prefix: str, module: nn.Module) -> dict[str, Tensor]:
    """Return a module's weights in half precision, by name."""
    return {f"{prefix}/{name}": t.half().contiguous() for name, t in module.state_dict().items()}
