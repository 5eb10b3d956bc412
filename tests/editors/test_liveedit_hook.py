"""LiveEdit's hook reads what it needs of a pass once, and fills up its experts once for rows that come again."""

from __future__ import annotations

from types import SimpleNamespace

import torch
from torch import Tensor

from lifelong.editors.liveedit import _adder
from lifelong.editors.liveedit.modules import LiveEditModules

WIDTH, RANK = 8, 2


class Rows:
    """Row numbers on a device, where each reading waits for it; single ones cannot be read."""

    def __init__(self, *rows: int) -> None:
        self.rows, self.readings = rows, 0

    def tolist(self) -> list[int]:
        self.readings += 1
        return list(self.rows)


class Looked(dict):  # type: ignore[type-arg]
    """Experts by row, counting how often one is taken out."""

    taken = 0

    def __getitem__(self, row: int) -> tuple[Tensor, Tensor, Tensor]:
        self.taken += 1
        return super().__getitem__(row)


def test_rows_are_read_once_a_pass_and_experts_are_filled_up_once() -> None:
    draw = torch.Generator().manual_seed(0)
    modules = LiveEditModules(WIDTH, width=4, k=2, rank=RANK, heads=1, scale=1.0, image_tokens=2, generator="paper")

    def made(n: int) -> tuple[Tensor, Tensor, Tensor]:
        u, v = (torch.randn(n, RANK, WIDTH, generator=draw) for _ in range(2))
        return u, v, torch.rand(n, generator=draw)

    experts = Looked({0: made(1), 2: made(3)})
    add, states = _adder(modules, experts), torch.randn(3, 5, WIDTH, generator=draw)
    with torch.no_grad():
        for _ in range(3):
            rows = Rows(2, 1, 0)
            out = add(None, None, states, SimpleNamespace(rows=rows))
            assert rows.readings == 1 and experts.taken == 2
        for place, row in ((0, 2), (2, 0)):
            alone = [part[None] for part in dict.__getitem__(experts, row)]
            expected = states[place : place + 1] + modules.residual(states[place : place + 1], *alone)
            torch.testing.assert_close(out[place : place + 1], expected)
        assert torch.equal(out[1], states[1])
        fewer = add(None, None, states[:1], SimpleNamespace(rows=Rows(0)))  # rows that have ended leave a batch
        assert experts.taken == 3 and not torch.allclose(fewer, states[:1])
        assert add(None, None, states[:1], SimpleNamespace(rows=Rows(1))) is None
