"""A module's output, remembered for inputs that come again and again, as in the steps of one edit's descent.

Knows one module and what it gave; nothing of layers, hooks or editors.
"""

from __future__ import annotations

from collections.abc import Iterator, MutableMapping
from contextlib import contextmanager
from typing import Any

import torch
from torch import nn


@contextmanager
def remembered(module: nn.Module, memo: MutableMapping[Any, Any]) -> Iterator[None]:
    """Run a module where `memo` has nothing yet, and give what it gave then; the caller knows that nothing changed.

    What runs in bfloat16 is remembered apart.
    """
    original, before = module.forward, module.__dict__.get("forward")

    def forward(*args: Any, **kwargs: Any) -> Any:
        key = torch.is_autocast_enabled("cpu"), torch.is_autocast_enabled("cuda")
        if key not in memo:
            memo[key] = original(*args, **kwargs)
        return memo[key]

    module.__dict__["forward"] = forward
    try:
        yield
    finally:
        module.__dict__.pop("forward")
        if before is not None:
            module.__dict__["forward"] = before
