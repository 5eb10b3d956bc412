"""A module that computes otherwise for a while: its output remembered for inputs that come again, as in a descent.

Knows one module and what it gave; nothing of layers, hooks or editors.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, MutableMapping
from contextlib import contextmanager
from typing import Any

import torch
from torch import nn


@contextmanager
def remembered(module: nn.Module, memo: MutableMapping[Any, Any]) -> Iterator[None]:
    """Run a module where `memo` has nothing yet, and give what it gave then; the caller knows that nothing changed.

    What runs in bfloat16 is remembered apart.
    """
    original = module.forward

    def forward(*args: Any, **kwargs: Any) -> Any:
        key = torch.is_autocast_enabled("cpu"), torch.is_autocast_enabled("cuda")
        if key not in memo:
            memo[key] = original(*args, **kwargs)
        return memo[key]

    with instead(module, forward):
        yield


@contextmanager
def instead(module: nn.Module, forward: Callable[..., Any]) -> Iterator[None]:
    """Let a module compute with another `forward`; its hooks stay, and what was there before is back on exit."""
    before = module.__dict__.get("forward")
    module.__dict__["forward"] = forward
    try:
        yield
    finally:
        module.__dict__.pop("forward")
        if before is not None:
            module.__dict__["forward"] = before
