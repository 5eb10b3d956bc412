"""When two decoded answers count as one: they are equal, or part where the numbers of the type tell no difference."""

from __future__ import annotations

from types import SimpleNamespace
from typing import Any

import pytest
import torch

from lifelong.models.checks.checks import same_choice

CASE: Any = "Why?"  # of which the bench asks nothing


def bench_of(dtype: torch.dtype, logits: list[float], near: float) -> Any:
    """A reference that gives these logits after any beginning of an answer; token 3 ends one."""
    given = torch.tensor(logits, dtype=dtype)
    door = SimpleNamespace(model=SimpleNamespace(dtype=dtype), passes=SimpleNamespace(end_ids=(3,)))
    reference = SimpleNamespace(
        answered=lambda question, ids: ids, forward=lambda inputs: SimpleNamespace(logits=given[None, None])
    )
    return SimpleNamespace(door=door, reference=reference, near=near, question=lambda case: case)


@pytest.mark.parametrize(
    ("dtype", "second", "same"),
    [
        (torch.bfloat16, 33.0, True),  # the next number below 33.25
        (torch.bfloat16, 32.5, False),
        (torch.float32, 33.0, False),
        (torch.float32, 33.2499, True),
        (torch.float16, 33.21875, True),  # within the bound for 16 bits
    ],
)
def test_tokens_whose_logits_lie_next_to_each_other_are_one_choice(
    dtype: torch.dtype, second: float, same: bool
) -> None:
    near = {torch.bfloat16: 0.12, torch.float16: 0.05, torch.float32: 3e-4}[dtype]
    bench = bench_of(dtype, [33.25, second, 0.0, -5.0], near)
    assert same_choice(bench, CASE, [0, 2], [1, 2]) is same
    assert same_choice(bench, CASE, [0, 2], [0, 2])  # equal ones always


def test_an_answer_that_ends_is_held_against_the_end_token() -> None:
    bench = bench_of(torch.float32, [1.0, 0.5, 0.0, 1.0], 3e-4)
    assert same_choice(bench, CASE, [0], []) and not same_choice(bench, CASE, [1], [])
