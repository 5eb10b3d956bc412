"""Search by torch, on any device it has: every key compared (in single or half precision), or an inverted file.

Knows arrays and specs; nothing of entries, ids or banks. Positions are places in the order of adding.
"""

from __future__ import annotations

from collections.abc import Mapping
from weakref import WeakKeyDictionary

import numpy as np
import torch
from torch import Tensor

from lifelong.bank.search.spec import IndexSpec

MEANS_ROUNDS = 10  # of k-means, as FAISS does for an inverted file
TRAINED_PER_LIST = 64
LEAST_PER_LIST = 39
SCANNED = 4096  # keys of k-means assigned at a time: bounds temporary memory


def goodness(queries: Tensor, keys: Tensor, metric: str) -> Tensor:
    """Return (n, m) float32 scores, higher is better: inner products or negated squared distances."""
    product = (queries.to(keys.dtype) @ keys.T).float()
    if metric == "ip":
        return product
    norms = keys.float().square().sum(-1)
    return 2 * product - norms - queries.float().square().sum(-1, keepdim=True)


def knn(
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
    """`flat16` or `ivf`, its keys on the spec's device."""

    def __init__(self, spec: IndexSpec, width: int, metric: str) -> None:
        self.spec, self.width, self.metric = spec, width, metric
        self.device = torch.device(spec.device)
        dtype = torch.float16 if spec.family == "flat16" else torch.float32
        self.keys = torch.empty(0, width, dtype=dtype, device=self.device)
        self.n = 0
        self.centres = torch.empty(0, width, device=self.device)
        self.list_of = torch.empty(0, dtype=torch.int64, device=self.device)
        self._order: tuple[Tensor, Tensor] | None = None  # positions by list, and where each list begins

    def build(self, keys: np.ndarray) -> None:
        """Forget everything and index keys (n, width)."""
        self.n, self.list_of, self._order = 0, self.list_of[:0], None
        if self.spec.family == "ivf":
            self.centres = self._means(torch.from_numpy(keys).to(self.device))
        self.add(keys)

    def add(self, keys: np.ndarray) -> None:
        """Index further keys; `ivf` keeps its lists."""
        new = torch.from_numpy(keys).to(self.device)
        if self.n + len(new) > len(self.keys):
            grown = self.keys.new_empty(self.n + len(new) + len(self.keys) // 2, self.width)
            grown[: self.n] = self.keys[: self.n]
            self.keys = grown
        self.keys[self.n : self.n + len(new)] = new.to(self.keys.dtype)
        self.n += len(new)
        if self.spec.family == "ivf":
            self.list_of = torch.cat([self.list_of, self._nearest_list(new)])
            self._order = None

    def propose(self, queries: np.ndarray, k: int, alive: np.ndarray | None) -> np.ndarray:
        """Return the positions (n, k) of candidates, best first by the index's own scores; -1 where it has none."""
        living = None if alive is None else torch.from_numpy(alive).to(self.device)
        asked = torch.from_numpy(queries).to(self.device)
        if self.spec.family == "ivf":
            return np.stack([self._probe(q, k, living) for q in asked]) if len(asked) else np.empty((0, k), np.int64)
        scores = goodness(asked, self.keys[: self.n], self.metric)
        if living is not None:
            scores.masked_fill_(~living, -torch.inf)
        return _padded(scores, None, k)

    def _probe(self, query: Tensor, k: int, living: Tensor | None) -> np.ndarray:
        order, begins = self._lists()
        probes = min(self.spec.probes, len(self.centres))
        near = goodness(query[None], self.centres, self.metric)[0].topk(probes).indices
        bounds = zip(begins[near].tolist(), begins[near + 1].tolist(), strict=True)
        positions = torch.cat([order[low:high] for low, high in bounds])
        if living is not None:
            positions = positions[living[positions]]
        return _padded(goodness(query[None], self.keys[positions], self.metric), positions, k)[0]

    def _lists(self) -> tuple[Tensor, Tensor]:
        if self._order is None:
            sizes = torch.bincount(self.list_of, minlength=len(self.centres))
            begins = torch.cat([sizes.new_zeros(1), sizes.cumsum(0)])
            self._order = self.list_of.argsort(stable=True), begins
        return self._order

    def _nearest_list(self, keys: Tensor) -> Tensor:
        parts = [goodness(part, self.centres, self.metric).argmax(1) for part in keys.split(SCANNED)]
        return torch.cat(parts) if parts else torch.empty(0, dtype=torch.int64, device=self.device)

    def _means(self, keys: Tensor) -> Tensor:
        """Return the lists' centres by Lloyd's k-means (unit vectors for inner products) from a spread sample."""
        lists = max(1, min(int(4 * len(keys) ** 0.5), len(keys) // LEAST_PER_LIST))
        step = max(1, len(keys) // (TRAINED_PER_LIST * lists))
        sample = keys[::step].float()
        centres = sample[:: max(1, len(sample) // lists)][:lists].clone()
        for _ in range(MEANS_ROUNDS):
            nearest = torch.cat([goodness(p, centres, self.metric).argmax(1) for p in sample.split(SCANNED)])
            sums = torch.zeros_like(centres).index_add_(0, nearest, sample)
            counts = torch.bincount(nearest, minlength=len(centres))[:, None]
            centres = torch.where(counts > 0, sums / counts.clamp(min=1), centres)
            if self.metric == "ip":
                centres = torch.nn.functional.normalize(centres, dim=1)
        return centres

    def tensors(self) -> dict[str, Tensor]:
        """Return what `restore` needs besides the keys: the lists' centres."""
        return {"centres": self.centres.cpu()} if self.spec.family == "ivf" else {}

    def restore(self, tensors: Mapping[str, Tensor], keys: np.ndarray) -> None:
        """Be what `tensors` was taken of, holding keys (n, width)."""
        self.n, self.list_of, self._order = 0, self.list_of[:0], None
        if self.spec.family == "ivf":
            self.centres = tensors["centres"].to(self.device)
        self.add(keys)

    def nbytes(self) -> int:
        """Return the bytes that the index keeps beside the bank's own keys."""
        return self.keys.numel() * self.keys.element_size() + 8 * self.list_of.numel()


def _padded(scores: Tensor, positions: Tensor | None, k: int) -> np.ndarray:
    """Return the positions (n, k) of the best finite scores (n, m), -1 beyond their number."""
    best, found = scores.topk(min(k, scores.shape[1]), dim=1)
    found = found if positions is None else positions[found]
    found = found.masked_fill(best.isinf(), -1)
    return torch.nn.functional.pad(found, (0, k - found.shape[1]), value=-1).cpu().numpy()
