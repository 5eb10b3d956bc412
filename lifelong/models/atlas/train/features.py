"""Tower outputs of every rendering, computed once: a clean view and several redrawn ones, in half precision.

The frozen tower then never runs in stage 2. It knows nothing of questions.
"""

from __future__ import annotations

from dataclasses import dataclass

import torch
from transformers import PreTrainedModel

from lifelong.models.atlas.train.augment import augment, plain_pixels
from lifelong.models.atlas.train.pictures import Pictures


@dataclass(frozen=True)
class Features:
    """`views` (views, N, 16, width) float16; view 0 is clean and exists for all, the others only for `seen`."""

    views: torch.Tensor


@torch.no_grad()
def cache_features(
    tower: PreTrainedModel, pictures: Pictures, seed: int, redrawn: int = 6, batch: int = 256
) -> Features:
    """Run the tower over all renderings `1 + redrawn` times; held-out renderings are never redrawn."""
    tower.eval()
    width, tokens, n = tower.config.hidden_size, 16, len(pictures.pixels)
    views = torch.zeros((1 + redrawn, n, tokens, width), dtype=torch.float16)
    seen = pictures.seen.nonzero().squeeze(1)
    everything = torch.arange(n)
    g = torch.Generator().manual_seed(seed)
    for view in range(1 + redrawn):
        for picked in (everything if view == 0 else seen).split(batch):
            if view == 0:
                x = plain_pixels(pictures.pixels[picked])
            else:
                flips = pictures.flips[pictures.entity[picked]]
                x = augment(pictures.pixels[picked], pictures.paper[picked], flips, g, strength=0.7)
            x = x.to(tower.device).contiguous(memory_format=torch.channels_last)
            with torch.autocast(tower.device.type, torch.bfloat16, enabled=view > 0):
                out = tower(x).last_hidden_state
            views[view, picked] = out.half().cpu()
    return Features(views)
