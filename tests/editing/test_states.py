"""A table of states lies on the device, in the host's memory and on disk, and gives back the same."""

from __future__ import annotations

import torch

from lifelong.editing.states import StateTable
from lifelong.editors.liveedit.examples import HiddenTable
from lifelong.models.tiny import tiny_vlm


def test_rows_are_the_same_wherever_they_lie() -> None:
    rows = [torch.randn(n, 8) for n in (3, 5, 2, 7, 1, 4)]
    sizes = [2 * row.numel() for row in rows]
    everywhere = StateTable(sum(sizes[:2]), sizes[2])
    near = StateTable(10**6, 0)
    for table in (everywhere, near):
        table.add(rows[:3])
        table.add(rows[3:])
    order = [5, 0, 3, 3, 2, 4, 1]
    for row, one, other in zip(order, everywhere.take(order), near.take(order), strict=True):
        assert one.dtype == torch.float32 and torch.equal(one, other)
        assert torch.equal(one, rows[row].to(torch.bfloat16).float())
    assert near.disk_bytes == 0 and everywhere.disk_bytes == sum(sizes[3:])


def test_a_fit_keeps_no_more_states_in_memory_than_its_share(tiny_queries) -> None:
    found = []
    for memory_bytes in (0, 4000):
        vlm = tiny_vlm(0, memory_bytes=memory_bytes)
        table = HiddenTable(vlm, 2)
        for query in tiny_queries:
            table.add(query, "red")
        table.compute()
        found.append(table)
    whole, small = found
    assert whole.states.disk_bytes == 0 and small.states.disk_bytes > 0 and small.states.near_bytes >= 0
    for one, other in zip(whole.take([6, 0, 3]).states, small.take([6, 0, 3]).states, strict=True):
        assert torch.allclose(one, other, atol=0.05)
