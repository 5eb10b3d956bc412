"""Every rendering of the atlas as one uint8 tensor, with background masks; knows no question and no model."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import torch

from lifelong.models.atlas.model import IMAGE_SIZE
from streams.atlas.world import World
from streams.pictures.decoding import decode

# Emoji whose mirror image is another emoji or is wrong: never flipped.
_ORIENTED = ("left", "right", "facing", "clock", "moon", "quarter", "symbol", "button", "hand", "up", "down")


@dataclass(frozen=True)
class Pictures:
    """All renderings: pixels (N, 3, 64, 64) uint8, paper (N, 1, 64, 64) uint8 share of background.

    `entity` (N,) indexes `world.entities`; `seen` (N,) is False for held-out renderings; `flips` (entities,)
    says whether a mirrored drawing still shows the same thing; `kind` (entities,) numbers the subgroups.
    """

    pixels: torch.Tensor
    paper: torch.Tensor
    entity: torch.Tensor
    seen: torch.Tensor
    rendering: tuple[str, ...]
    flips: torch.Tensor
    kind: torch.Tensor

    def of_entity(self, seen_only: bool) -> list[list[int]]:
        """Row numbers by entity."""
        rows: list[list[int]] = [[] for _ in range(len(self.flips))]
        for row, (entity, seen) in enumerate(zip(self.entity.tolist(), self.seen.tolist(), strict=True)):
            if seen or not seen_only:
                rows[entity].append(row)
        return rows


def load_pictures(world: World) -> Pictures:
    """Decode every rendering of `world`; raises ValueError for an image that is not 64 x 64."""
    pixels, entity, seen, rendering = [], [], [], []
    for index, item in enumerate(world.entities):
        for name in item.renderings:
            array = np.asarray(decode(world.image(item.id, name), f"Image atlas:{item.id}/{name}"))
            if array.shape != (IMAGE_SIZE, IMAGE_SIZE, 3):
                raise ValueError(
                    f"{item.id}/{name}: image of shape {array.shape}, expected 64 x 64; rebuild the pack"
                )
            pixels.append(torch.from_numpy(array.copy()).permute(2, 0, 1))
            entity.append(index)
            seen.append(name not in item.held_out)
            rendering.append(name)
    stacked = torch.stack(pixels)
    kinds = sorted({item.subgroup for item in world.entities})
    return Pictures(
        pixels=stacked,
        paper=_paper(stacked),
        entity=torch.tensor(entity),
        seen=torch.tensor(seen),
        rendering=tuple(rendering),
        flips=torch.tensor([_may_flip(item.domain, world.name(item), item.subgroup) for item in world.entities]),
        kind=torch.tensor([kinds.index(item.subgroup) for item in world.entities]),
    )


def _may_flip(domain: str, name: str, subgroup: str) -> bool:
    text = f"{name} {subgroup}".lower()
    return domain == "emoji" and not any(word in text for word in (*_ORIENTED, "arrow", "alphanum", "sign", "flag"))


def _paper(pixels: torch.Tensor, rounds: int = 6) -> torch.Tensor:
    """White that is connected to the border, (N, 1, H, W) uint8 of 0 or 255, flooded by sweeps from four sides."""
    white = (pixels.amin(1) >= 245).numpy()
    flood = np.zeros_like(white)
    flood[:, [0, -1], :] = white[:, [0, -1], :]
    flood[:, :, [0, -1]] = white[:, :, [0, -1]]
    for _ in range(rounds):
        for axis in (1, 2):
            lines, free = np.moveaxis(flood, axis, 0), np.moveaxis(white, axis, 0)
            for here in range(1, IMAGE_SIZE):
                lines[here] |= lines[here - 1] & free[here]
            for here in range(IMAGE_SIZE - 2, -1, -1):
                lines[here] |= lines[here + 1] & free[here]
    return torch.from_numpy(flood[:, None]).to(torch.uint8) * 255
