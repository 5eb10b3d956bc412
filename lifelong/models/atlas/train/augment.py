"""Random redrawing of a batch of pictures: shape, paper, colour, texture, damage; knows no label.

Artists differ in proportions, palette, outline and shading, so those are what is varied. All random numbers
come from the generator that is passed in.
"""

from __future__ import annotations

import torch
from torch.nn import functional as F


def _uniform(shape: tuple[int, ...], low: float, high: float, g: torch.Generator) -> torch.Tensor:
    return torch.rand(shape, generator=g) * (high - low) + low


def _chance(n: int, p: float, g: torch.Generator) -> torch.Tensor:
    return (torch.rand(n, generator=g) < p).view(n, 1, 1, 1).float()


def augment(
    pixels: torch.Tensor, paper: torch.Tensor, flips: torch.Tensor, g: torch.Generator, strength: float = 1.0
) -> torch.Tensor:
    """Redraw uint8 pictures (N, 3, H, W) with masks (N, 1, H, W); float32 in [-1, 1].

    `flips` (N,) allows mirroring; `strength` scales the shape changes, 0 to about 1. A fifth stays as it is.
    """
    clean = torch.cat([pixels.float(), paper.float()], 1) / 255
    ink = _warp(clean, flips, g, strength)
    x, mask = ink[:, :3], ink[:, 3:]
    x = _colour(x, g)
    x = _texture(x, g)
    x = _background(x, mask, g)
    x = _erase(x, g)
    x = torch.where(_chance(len(x), 0.2, g) > 0, clean[:, :3], x)
    return x.clamp(0, 1) * 2 - 1


def plain_pixels(pixels: torch.Tensor) -> torch.Tensor:
    """The pictures as the processor gives them: float32 in [-1, 1]."""
    return pixels.float() / 127.5 - 1


def _warp(ink: torch.Tensor, flips: torch.Tensor, g: torch.Generator, most: float) -> torch.Tensor:
    """Affine map (turn, size, proportions, shear, shift) plus a smooth random bend; outside is paper."""
    n = len(ink)
    strength = most * _uniform((n, 1, 1, 1), 0.2, 1.0, g)
    bend = torch.randn((n, 2, 5, 5), generator=g) * 0.05 * strength * _chance(n, 0.6, g)
    strength = strength.view(n)
    turn = _uniform((n,), -0.3, 0.3, g) * strength
    size = torch.exp(_uniform((n,), -0.3, 0.3, g) * strength)
    aspect = torch.exp(_uniform((n,), -0.2, 0.2, g) * strength)
    shear = _uniform((n,), -0.2, 0.2, g) * strength
    mirror = 1 - 2 * ((torch.rand(n, generator=g) < 0.3) & flips).float()
    cos, sin = turn.cos(), turn.sin()
    a = torch.stack([cos * size * aspect * mirror, (shear - sin) * size], 1)
    b = torch.stack([sin * size * mirror, cos * size / aspect], 1)
    shift = _uniform((n, 2, 1), -0.2, 0.2, g) * strength.view(n, 1, 1)
    grid = F.affine_grid(torch.cat([torch.stack([a, b], 1), shift], 2), list(ink.shape), align_corners=False)
    grid = grid + F.interpolate(bend, size=ink.shape[2:], mode="bicubic", align_corners=True).permute(0, 2, 3, 1)
    # Shifted by one so that the zero padding outside the frame is white paper.
    return F.grid_sample(ink - 1, grid, mode="bilinear", padding_mode="zeros", align_corners=False) + 1


def _colour(x: torch.Tensor, g: torch.Generator) -> torch.Tensor:
    n = len(x)
    matrix = torch.eye(3) + torch.randn((n, 3, 3), generator=g) * 0.15
    # A row whose sum is near 0 would blow up when normalised and ruin batch statistics: clamp it.
    matrix = matrix / matrix.sum(2, keepdim=True).clamp(min=0.5)
    mixed = torch.einsum("nij,njhw->nihw", matrix, x)
    grey = x.mean(1, keepdim=True).expand_as(x)
    fade = _uniform((n, 1, 1, 1), 0.0, 0.5, g)
    mixed = torch.where(_chance(n, 0.3, g) > 0, mixed * (1 - fade) + grey * fade, mixed)
    mixed = torch.where(_chance(n, 0.07, g) > 0, grey, mixed)
    gain, lift = _uniform((n, 1, 1, 1), 0.7, 1.25, g), _uniform((n, 1, 1, 1), -0.15, 0.15, g)
    mixed = ((mixed - 0.5) * gain + 0.5 + lift).clamp(0, 1)
    gamma = torch.exp(_uniform((n, 1, 1, 1), -0.4, 0.4, g))
    return mixed.clamp(min=1e-4) ** gamma


def _texture(x: torch.Tensor, g: torch.Generator) -> torch.Tensor:
    """Blur or sharpen, a random 3 x 3 filter, a soft light gradient (shading), noise: each for some pictures."""
    n = len(x)
    x = x.clone()
    some = _some(n, 0.4, g)
    soft = F.avg_pool2d(F.pad(x[some], (1, 1, 1, 1), mode="replicate"), 3, 1)
    x[some] += (soft - x[some]) * _uniform((len(some), 1, 1, 1), -1.0, 1.0, g)
    some = _some(n, 0.15, g)
    kernel = torch.randn((1, 1, 3, 3), generator=g) * 0.25
    grey = F.pad(x[some].mean(1, keepdim=True), (1, 1, 1, 1), mode="replicate")
    x[some] += F.conv2d(grey, kernel - kernel.mean())
    some = _some(n, 0.3, g)
    light = torch.randn((len(some), 1, 3, 3), generator=g) * 0.12
    x[some] += F.interpolate(light, size=x.shape[2:], mode="bilinear")
    some = _some(n, 0.25, g)
    x[some] += torch.randn((len(some), *x.shape[1:]), generator=g) * 0.05
    return x


def _some(n: int, p: float, g: torch.Generator) -> torch.Tensor:
    return (torch.rand(n, generator=g) < p).nonzero().squeeze(1)


def _background(x: torch.Tensor, paper: torch.Tensor, g: torch.Generator) -> torch.Tensor:
    """The paper stays white (0.7 of pictures) or takes a random pale or strong colour."""
    n = len(x)
    colour = torch.where(_chance(n, 0.3, g) > 0, torch.rand((n, 3, 1, 1), generator=g), torch.ones(n, 3, 1, 1))
    return x * (1 - paper) + colour * paper


def _erase(x: torch.Tensor, g: torch.Generator) -> torch.Tensor:
    n, _, height, width = x.shape
    centre = _uniform((n, 2, 1, 1), 0, 1, g)
    half = _uniform((n, 2, 1, 1), 0.05, 0.2, g)
    rows = (torch.linspace(0, 1, height).view(1, height, 1) - centre[:, 0]).abs() < half[:, 0]
    cols = (torch.linspace(0, 1, width).view(1, 1, width) - centre[:, 1]).abs() < half[:, 1]
    hole = (rows & cols).unsqueeze(1).float() * _chance(n, 0.3, g)
    return x * (1 - hole) + torch.rand((n, 3, 1, 1), generator=g) * hole
