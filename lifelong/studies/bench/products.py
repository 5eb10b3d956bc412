"""How fast a model's linear layers multiply, by MKL and by oneDNN, side by side on this machine.

Knows linear layers and a stopwatch; nothing of what the layers compute.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass

import torch
from torch import nn
from torch.nn import functional

from lifelong.models.products import product

_ROWS = (16, 64, 256, 1024, 4096)


@dataclass(frozen=True)
class Product:
    """One product: (rows, wide_in) by (wide_out, wide_in), the best of some rounds of either way."""

    rows: int
    wide_in: int
    wide_out: int
    mkl_wall_s: float
    onednn_wall_s: float

    @property
    def gain(self) -> float:
        """How many times as long MKL takes."""
        return self.mkl_wall_s / self.onednn_wall_s

    def gflops(self, wall_s: float) -> float:
        """Return billions of floating-point operations a second."""
        return 2 * self.rows * self.wide_in * self.wide_out / wall_s / 1e9


def product_times(layers: Iterable[nn.Linear], rows: Sequence[int] = _ROWS, rounds: int = 30) -> list[Product]:
    """Return the times of every shape of weight among some layers, for each number of rows."""
    found = []
    with torch.no_grad():
        for wide_out, wide_in in sorted({(int(m.weight.shape[0]), int(m.weight.shape[1])) for m in layers}):
            weight = torch.randn(wide_out, wide_in)
            for n in rows:
                states = torch.randn(n, wide_in)
                ways = (lambda s=states, w=weight: functional.linear(s, w), lambda s=states, w=weight: product(s, w))
                found.append(Product(n, wide_in, wide_out, *_best(ways, rounds)))
    return found


def _best(ways: Sequence[Callable[[], object]], rounds: int) -> list[float]:
    """Return the shortest wall seconds of each way, taken in turns, so that another process disturbs both."""
    best = [float("inf")] * len(ways)
    for _ in range(rounds):
        for place, way in enumerate(ways):
            begun = time.perf_counter()
            way()
            best[place] = min(best[place], time.perf_counter() - begun)
    return best


def products_document(found: Sequence[Product], used: bool) -> str:
    """Return a table of what was measured, and which way a run goes on this machine."""
    lines = ["      in     out    rows     MKL  oneDNN   (GFLOPS)   oneDNN is so many times as fast"]
    lines += [
        f"{t.wide_in:8d}{t.wide_out:8d}{t.rows:8d}{t.gflops(t.mkl_wall_s):8.0f}{t.gflops(t.onednn_wall_s):8.0f}"
        f"{t.gain:18.2f}"
        for t in found
    ]
    way = "oneDNN: MKL does not use this processor's AVX-512" if used else "MKL"
    return "\n".join([*lines, f"{torch.get_num_threads()} threads; runs on this machine multiply by {way}.", ""])
