"""What follows a change in the last layer's MLP: its residual, the final norm and the head, at the wanted positions.

A descent whose only change is one `pointwise` hook there repeats just this. It is learnt from one whole pass, if it
gives that pass's logits. Knows modules and positions; nothing of prompts, editors or losses.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, field
from typing import Any

import torch
from torch import Tensor, nn

from lifelong.models.passes.interventions import Interventions
from lifelong.models.passes.layout import Layout
from lifelong.models.passes.narrow import Narrow, instead
from lifelong.models.passes.structure import Structure


@dataclass
class Seen:
    """What modules took and gave in one pass, in the order of calls; `given` is what `module` gives its hooks."""

    module: nn.Module
    calls: list[tuple[nn.Module, Any, Any]] = field(default_factory=list)
    given: Any = None

    def of(self, module: nn.Module) -> tuple[Any, Any]:
        """Return the input and output of a module's last call, (None, None) where there was none."""
        return next(((taken, gave) for m, taken, gave in reversed(self.calls) if m is module), (None, None))


@contextmanager
def watched(structure: Structure, module: nn.Module) -> Iterator[Seen]:
    """Note what `module` and the parts of the last layer take and give in the body."""
    seen = Seen(module)

    def note(called: nn.Module, args: tuple[Any, ...], output: Any) -> None:
        seen.calls.append((called, args[0] if len(args) == 1 else None, output))

    def before(_: nn.Module, __: tuple[Any, ...], output: Any) -> None:
        seen.given = output

    with ExitStack() as stack:
        stack.callback(module.register_forward_hook(before, prepend=True).remove)
        for each in {module, *structure.layers[-1].children()}:
            stack.callback(each.register_forward_hook(note).remove)
        yield seen


@dataclass(frozen=True, eq=False)
class Tail:
    """All that decides the logits but the hooks of `module`: what it takes and gives, (rows, run, features).

    `residual` (positions, width) is added to what it gives; `layout` is of the runs.
    """

    module: nn.Module
    taken: Tensor
    given: Tensor
    residual: Tensor
    narrow: Narrow
    layout: Layout
    norm: nn.Module
    head: nn.Module

    def logits(self, changes: Interventions) -> Tensor:
        """Return the logits (1, positions, vocab) under the hooks that are active now."""
        before, changes.layout = changes.layout, self.layout
        try:
            with instead(self.module, lambda *_: self.given):
                return self.after(self.module(self.taken))
        finally:
            changes.layout = before

    def after(self, out: Tensor) -> Tensor:
        """Return the logits when the hooks leave `out` (rows, run, width)."""
        return self.head(self.norm(self.residual + self.narrow.flat(out))[None])


def tail_of(structure: Structure, seen: Seen, layout: Layout, where: Tensor, logits: Tensor) -> Tail | None:
    """Return the tail that a pass with `logits` (1, positions, vocab) showed, None where it is not of this form.

    The form: the last layer gives r + MLP(f(r)), the MLP what the module gives, and the head sees one norm of it.
    """
    mlp, norm, head = getattr(structure.layers[-1], "mlp", None), structure.norm, structure.head
    taken, out = seen.of(seen.module)
    into, _ = seen.of(mlp) if mlp is not None else (None, None)
    residual = next((i for m, i, o in seen.calls if o is into and m is not mlp), None)
    parts = [taken, seen.given, out, into, residual]
    if norm is None or head is None or residual is None:
        return None
    if not all(isinstance(p, Tensor) and p.dim() == 3 for p in parts):
        return None
    narrow = Narrow.of(where)
    if seen.module is mlp:
        taken, given, out = (narrow.run(p) for p in (taken, seen.given, out))
    else:
        given = seen.given
    if out.shape != (*narrow.valid.shape, residual.shape[-1]) or taken.requires_grad or given.requires_grad:
        return None
    tail = Tail(seen.module, taken, given, residual[where].detach(), narrow, narrow.layout(layout), norm, head)
    with torch.no_grad():
        again = tail.after(out)
    slack = torch.finfo(logits.dtype).eps ** 0.5 * float(logits.detach().abs().max())
    same = again.shape == logits.shape and float((again - logits.detach()).abs().max()) <= slack
    return tail if same else None
