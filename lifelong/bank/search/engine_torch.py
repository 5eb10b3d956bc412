"""Search by torch, on any device it has: every key is compared, in single or in half precision.

Knows arrays and specs; nothing of entries, ids or banks. Positions are places in the order of adding.
"""

from __future__ import annotations

from collections.abc import Mapping
from weakref import WeakKeyDictionary

import numpy as np
import torch
from torch import Tensor

from lifelong.bank.search.spec import IndexSpec


def goodness(queries: Tensor, keys: Tensor, metric: str) -> Tensor:
    """Return (n, m) float32 scores, higher is better: inner products or negated squared distances."""
    product = (queries.to(keys.dtype) @ keys.T).float()
    if metric == "ip":
        return product
    norms = keys.float().square().sum(-1)
    return 2 * product - norms - queries.float().square().sum(-1, keepdim=True)


def torch_knn(
    queries: np.ndarray, keys: Tensor, k: int, metric: str, alive: np.ndarray | None
) -> tuple[np.ndarray, np.ndarray]:
    """Return the k best rows of `keys` (m, width) per query and their scores (squared distances for l2), (n, k).

    `alive` (m,) bool leaves rows out; k is at most the number of those left.
    """
    scores = goodness(torch.from_numpy(queries).to(keys.device), keys, metric)
    if alive is not None:
        scores.masked_fill_(torch.from_numpy(~alive).to(keys.device), -torch.inf)
    best, slots = scores.topk(k, dim=1)
    return (best if metric == "ip" else -best).cpu().numpy(), slots.cpu().numpy()


class Mirrors:
    """Copies on a device of blocks of keys that grow at their end; `in_place` (on the CPU) the blocks themselves."""

    def __init__(self, device: str, *, in_place: bool | None = None) -> None:
        self.device = torch.device(device)
        self.in_place = self.device.type == "cpu" if in_place is None else in_place
        self._kept: WeakKeyDictionary[object, tuple[int, int, Tensor]] = WeakKeyDictionary()

    def of(self, owner: object, keys: np.ndarray, used: int, version: int) -> Tensor:
        """Return the mirror of `owner`'s keys (size, width); rows below `used` are as they are now.

        Only rows added since the last call are copied, all where `version` says that some have changed in place.
        """
        if self.in_place:
            return torch.from_numpy(keys)
        done, known, mirror = self._kept.get(owner, (0, -1, torch.empty(0)))
        if known != version:
            done, mirror = 0, torch.empty(keys.shape, device=self.device)
        mirror[done:used] = torch.from_numpy(keys[done:used])
        self._kept[owner] = (used, version, mirror)
        return mirror


class TorchIndex:
    """`flat16`: its keys are kept in half precision on the spec's device."""

    def __init__(self, spec: IndexSpec, width: int, metric: str) -> None:
        self.spec, self.width, self.metric = spec, width, metric
        self.device = torch.device(spec.device)
        self.keys = torch.empty(0, width, dtype=torch.float16, device=self.device)

    def build(self, keys: np.ndarray) -> None:
        """Forget everything and index keys (n, width)."""
        self.keys = torch.from_numpy(keys).to(self.device, torch.float16)

    def propose(self, queries: np.ndarray, k: int, alive: np.ndarray | None) -> np.ndarray:
        """Return the positions (n, k) of candidates, best first by the index's own scores; -1 where it has none."""
        scores = goodness(torch.from_numpy(queries).to(self.device), self.keys, self.metric)  # (n, keys)
        if alive is not None:
            scores.masked_fill_(~torch.from_numpy(alive).to(self.device), -torch.inf)
        best, positions = scores.topk(min(k, len(self.keys)), dim=1)
        positions = positions.masked_fill(best.isinf(), -1)
        return torch.nn.functional.pad(positions, (0, k - positions.shape[1]), value=-1).cpu().numpy()

    def tensors(self) -> dict[str, Tensor]:
        """Return what `restore` needs besides the keys: nothing."""
        return {}

    def restore(self, tensors: Mapping[str, Tensor], keys: np.ndarray) -> None:
        """Be what a state was taken of; `keys` (n, width) are all that it held, dead ones too."""
        self.build(keys)

    def nbytes(self) -> int:
        """Return the bytes that the index keeps beside the bank's own keys."""
        return self.keys.numel() * self.keys.element_size()
