"""In quarantine: a short way for one kind of descent. All of it lies here; only `Passes.resumed` calls it.

What it does. A descent whose only change is one `pointwise` hook in the last layer's MLP repeats, at every step, the
same states up to that hook. The first step runs the whole pass and watches it. Later steps compute only what follows
the hook: the sum with the residual, the final norm and the head, at the positions whose logits are wanted.

What it assumes of a model. The last layer gives r + MLP(f(r)) and does nothing after that sum, the MLP gives what the
hooked module gives, and the head sees one norm of the sum. No model says so: it is concluded from what the modules
took and gave in the pass that was watched.

What happens where that does not hold. `tail_of` computes the logits of the watched pass again, in the short way, and
compares. Where a part is missing, has another shape, or the logits differ by more than rounding, it returns None, and
every step of this descent is a whole resumed pass: slower, and otherwise equal. The short way is not taken while
anything else is changed, or under autocast (`ending_of`). It serves gradients only: no answer or score comes of it.

Knows modules and positions; nothing of prompts, editors or losses.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, field
from typing import Any

import torch
from torch import Tensor, nn

from lifelong.models.passes.interventions import Interventions
from lifelong.models.passes.layout import Layout
from lifelong.models.passes.narrow import Narrow, instead
from lifelong.models.passes.structure import Structure


def ending_of(
    structure: Structure, changes: Interventions, layer: int, where: Tensor | None, memo: Mapping[Any, Any] | None
) -> nn.Module | None:
    """Return the module whose hooks are all that changes in a descent from `layer` on; None: take the whole pass.

    Called at every resumed pass. `memo` is what the descent remembers of its batch: under "tail" nothing before the
    first step, then a `Tail`, or None where the model was found to be of another form.
    """
    only, last = changes.only, len(structure.layers) - 1
    if memo is None or where is None or "layout" not in memo or only is None or layer != last:
        return None
    known = memo.get("tail", only)
    here = known is not None and (known is only or getattr(known, "module", None) is only)
    autocast = torch.is_autocast_enabled("cpu") or torch.is_autocast_enabled("cuda")
    return only if here and structure.depth(only) == last and not autocast else None


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
    """Return the tail that a watched pass with `logits` (1, positions, vocab) showed; None: it is of another form.

    Called once for a batch, after its first whole pass; `where` (batch, tokens) bool are the wanted positions.
    """
    # 1. Find the parts by who took and gave what: the residual is what some module took that gave the MLP its input.
    mlp, norm, head = getattr(structure.layers[-1], "mlp", None), structure.norm, structure.head
    taken, out = seen.of(seen.module)
    into, _ = seen.of(mlp) if mlp is not None else (None, None)
    residual = next((i for m, i, o in seen.calls if o is into and m is not mlp), None)
    parts = [taken, seen.given, out, into, residual]
    if norm is None or head is None or residual is None:
        return None
    if not all(isinstance(p, Tensor) and p.dim() == 3 for p in parts):
        return None

    # 2. Bring what the module took and gave to the wanted positions; inside the MLP it is there already (`narrowed`).
    narrow = Narrow.of(where)  # runs of positions: (batch, run)
    if seen.module is mlp:
        taken, given, out = (narrow.run(p) for p in (taken, seen.given, out))
    else:
        given = seen.given
    if out.shape != (*narrow.valid.shape, residual.shape[-1]) or taken.requires_grad or given.requires_grad:
        return None
    tail = Tail(seen.module, taken, given, residual[where].detach(), narrow, narrow.layout(layout), norm, head)

    # 3. Trust it only if it gives the logits that the whole pass gave, but for rounding.
    with torch.no_grad():
        again = tail.after(out)  # (1, positions, vocab)
    slack = torch.finfo(logits.dtype).eps ** 0.5 * float(logits.detach().abs().max())
    same = again.shape == logits.shape and float((again - logits.detach()).abs().max()) <= slack
    return tail if same else None
