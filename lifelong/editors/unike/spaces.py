"""UniKE's two spaces in two dimensions, as data for a picture (arXiv 2409.19872 shows them by t-SNE).

Knows a fitted memory and a pool of questions. Computes only: `tsne` is exact t-SNE (van der Maaten and Hinton, 2008),
`principal` the first two principal components; drawing is somebody else's.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Literal

import numpy as np
import torch

from lifelong.editing.spaces import Space
from lifelong.editors.unike import train
from lifelong.editors.unike.latent import LatentMemory
from streams.types import Pool

if TYPE_CHECKING:
    from lifelong.models.vlm import VLM

Method = Literal["t-sne", "pca"]
Kind = Literal["semantic", "truthful"]


def spaces(
    vlm: VLM,
    layer: int,
    memory: LatentMemory,
    pool: Pool,
    *,
    items: int = 150,
    method: Method = "t-sne",
    seed: int = 0,
) -> list[Space]:
    """Return the semantic and the truthfulness space of one patched layer, which `memory` knows.

    Kinds are `question`, `true` and `false`; states of one triplet have one number. Alike are points of the same
    truth in the truthfulness space, of the same question in the semantic one. The pool should not be the one the
    editor was fitted on. Raises `ValueError` with fewer than two triplets.
    """
    found = train.triplets(vlm, pool, items, seed=seed)
    if len(found) < 2:
        raise ValueError(f"spaces: {len(found)} questions of the pool are answered wrongly; 2 are needed.")
    states = train.states_of(vlm, [layer - 1, layer] if layer > 1 else [layer], found)
    h_sem, h_pos, h_neg = states.h_sem[-1], states.h_pos[-1], states.h_neg[-1]
    n = len(found)
    with torch.no_grad():
        semantic = torch.cat([h_sem, memory.semantic(h_pos), memory.semantic(h_neg)])
        truthful = torch.cat([memory.truthful(h_pos), memory.truthful(h_neg)])
    raw, numbers = torch.cat([h_sem, h_pos, h_neg]), np.tile(np.arange(n), 3)
    kinds = ("question",) * n + ("true",) * n + ("false",) * n
    labels = np.array(kinds)
    parts: tuple[tuple[Kind, torch.Tensor, torch.Tensor, tuple[str, ...], np.ndarray, np.ndarray], ...] = (
        ("semantic", raw, semantic, kinds, numbers, numbers),
        ("truthful", raw[n:], truthful, kinds[n:], numbers[n:], labels[n:]),
    )
    out = []
    for kind, first, second, names, order, alike in parts:
        before, after = _directions(first), _directions(second)
        flat = (flattened(before, method, seed=seed), flattened(after, method, seed=seed))
        near = (nearest_alike(before, alike), nearest_alike(after, alike))
        about = f"layer {layer}, {method}; alike: the same {'question' if kind == 'semantic' else 'truth'}"
        out.append(Space(kind, about, *flat, names, order, near))
    return out


def _directions(states: torch.Tensor) -> np.ndarray:
    """Both spaces are compared by cosine: only directions count."""
    return torch.nn.functional.normalize(states.float(), dim=-1).numpy().astype(np.float64)


def nearest_alike(points: np.ndarray, labels: np.ndarray) -> float:
    """Return the share of points (n, width) whose nearest other point has the same label.

    >>> nearest_alike(np.array([[0.0], [0.1], [5.0], [5.1]]), np.array(["a", "a", "b", "c"]))
    0.5
    """
    distances = distances_within(points)
    np.fill_diagonal(distances, np.inf)
    return float((labels[distances.argmin(1)] == labels).mean())


def flattened(points: np.ndarray, method: Method, *, seed: int = 0) -> np.ndarray:
    """Return points (n, width) in two dimensions, (n, 2)."""
    return tsne(points, seed=seed) if method == "t-sne" else principal(points)


def principal(points: np.ndarray) -> np.ndarray:
    """Return the first two principal components of points (n, width), (n, 2); signs make the largest entry positive.

    >>> principal(np.array([[0.0, 0.0], [2.0, 0.0], [4.0, 0.0]]))[:, 0].round(3).tolist()
    [-2.0, 0.0, 2.0]
    """
    centred = points - points.mean(0)
    _, _, axes = np.linalg.svd(centred, full_matrices=False)
    axes = axes[:2] * np.sign(axes[np.arange(2), np.abs(axes[:2]).argmax(1)])[:, None]
    return centred @ axes.T


def distances_within(points: np.ndarray) -> np.ndarray:
    """Return all squared Euclidean distances of points (n, width), (n, n)."""
    norms = (points**2).sum(1)
    return np.maximum(norms[:, None] + norms[None] - 2 * points @ points.T, 0)


def neighbourhoods(distances: np.ndarray, perplexity: float) -> np.ndarray:
    """Return the symmetric joint probabilities (n, n) of squared distances whose rows have a given perplexity."""
    n, goal = len(distances), np.log(perplexity)
    off = distances + np.diag(np.full(n, np.inf))
    off = off - off.min(1, keepdims=True)
    low, high, precision = np.zeros(n), np.full(n, np.inf), np.ones(n)
    for _ in range(60):
        weights = np.exp(-off * precision[:, None])
        shares = weights / weights.sum(1, keepdims=True)
        entropy = -(shares * np.log(np.maximum(shares, 1e-300))).sum(1)
        wide = entropy > goal
        low, high = np.where(wide, precision, low), np.where(wide, high, precision)
        precision = np.where(np.isinf(high), precision * 2, (low + high) / 2)
    return np.maximum((shares + shares.T) / (2 * n), 1e-12)


def tsne(points: np.ndarray, *, perplexity: float = 30.0, steps: int = 500, seed: int = 0) -> np.ndarray:
    """Return an exact t-SNE of points (n, width), (n, 2), from the scaled principal components and a little noise.

    Gradient descent with momentum and gains; attraction is four times as strong in the first quarter of the steps.
    """
    n = len(points)
    joint = neighbourhoods(distances_within(points), min(perplexity, max((n - 1) / 3, 1.01)))
    rng = np.random.default_rng(seed)
    where = principal(points) if points.shape[1] > 1 and n > 2 else np.zeros((n, 2))
    where = where / max(where[:, 0].std(), 1e-12) * 1e-4 + rng.normal(0, 1e-6, (n, 2))
    rate = max(n / 12, 50.0)
    velocity, gains = np.zeros((n, 2)), np.ones((n, 2))
    for step in range(steps):
        early = step < steps // 4
        kernel = 1 / (1 + distances_within(where))
        np.fill_diagonal(kernel, 0)
        shares = np.maximum(kernel / kernel.sum(), 1e-12)
        pull = (joint * (4.0 if early else 1.0) - shares) * kernel
        slope = 4 * (pull.sum(1)[:, None] * where - pull @ where)
        gains = np.where(np.sign(slope) != np.sign(velocity), gains + 0.2, np.maximum(gains * 0.8, 0.01))
        velocity = (0.5 if early else 0.8) * velocity - rate * gains * slope
        where = where + velocity
        where = where - where.mean(0)
    return where
