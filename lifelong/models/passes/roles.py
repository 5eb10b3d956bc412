"""Parts of a decoder layer by their role: Llama's names for them, and what stands there in a layer of another make.

`mlp.down_proj` is what brings the MLP's features back to the width, whatever a family calls it (`fc2`, `mlp.ff_out`);
where gate and up projection, or query, key and value, are one matrix, the name of either finds that one. Knows
modules, their shapes and common words in their names; no family and no editor.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from typing import Any

from torch import nn

from streams.near import near


def find_submodule(root: nn.Module, dotted: str) -> nn.Module:
    """Return a part of a decoder layer by its dotted name or its role; raises `ValueError` naming the near ones."""
    names = dict(root.named_modules())
    if dotted and dotted in names:
        return names[dotted]
    found = _ROLES[dotted](root) if dotted in _ROLES else None
    if found is None:
        why = _WHY_NOT.get(dotted, "")
        raise ValueError(f"{type(root).__name__} has no part {dotted!r}.{why}{near(dotted, [n for n in names if n])}")
    return found


class FeedForward(nn.Module):
    """The feed-forward part of a layer that calls its matrices itself, one after the other.

    It takes what `up` takes, gives what `down` gives and holds the layer's own matrices. It stands for them where a
    part is hooked or read; nobody calls it.
    """

    def __init__(self, up: nn.Module, down: nn.Module) -> None:
        super().__init__()
        self.up, self.down = up, down

    def forward(self, *args: Any, **kwargs: Any) -> Any:
        """Raise `RuntimeError`: the layer calls its parts itself."""
        raise RuntimeError("a feed-forward part in two modules is hooked or read, and not called; call its layer.")


def taking(module: nn.Module) -> nn.Module:
    """Return the module that is given what a part is given: itself, but for a feed-forward part in two modules."""
    return module.up if isinstance(module, FeedForward) else module  # type: ignore[return-value]


def giving(module: nn.Module) -> nn.Module:
    """Return the module that gives what a part gives: itself, but for a feed-forward part in two modules."""
    return module.down if isinstance(module, FeedForward) else module  # type: ignore[return-value]


def _attention(layer: nn.Module) -> nn.Module | None:
    """The part that attends: the child with that word in its name that is no norm."""
    children = layer.named_children()
    return next((m for n, m in children if "att" in n.lower() and "norm" not in n and any(m.children())), None)


def _linear(layer: nn.Module) -> Iterator[nn.Linear]:
    return (m for m in layer.modules() if isinstance(m, nn.Linear))


def _matrices(layer: nn.Module) -> dict[str, nn.Linear]:
    """The linear parts outside of attention, in order."""
    attention = _attention(layer)
    inside = set() if attention is None else set(attention.modules())
    return {n: m for n, m in layer.named_modules() if isinstance(m, nn.Linear) and m not in inside}


def _down(layer: nn.Module) -> nn.Module | None:
    """The matrix that leads from the features back to the width, which is what the layer's first matrix takes."""
    matrices, first = list(_matrices(layer).values()), next(_linear(layer), None)
    if first is None or len(matrices) < 2:
        return None
    given = {m.out_features for m in matrices} | {m.out_features // 2 for m in matrices}  # halves: gate and up in one
    back = [m for m in matrices if m.out_features == first.in_features and m.in_features in given]
    longer = [m for m in back if m.in_features != m.out_features]
    return (longer or back or [None])[-1]


def _up(layer: nn.Module) -> nn.Module | None:
    """The matrix that leads to the features; the one with `up` in its name where there are two."""
    down = _down(layer)
    if not isinstance(down, nn.Linear):
        return None
    taking = {n: m for n, m in _matrices(layer).items() if m is not down and m.in_features == down.out_features}
    named = [m for n, m in taking.items() if "up" in n.rpartition(".")[2]]
    return (named or [*taking.values(), None])[0]


def _mlp(layer: nn.Module) -> nn.Module | None:
    """The smallest part that is called as one and holds both ways of the feed-forward part.

    Where the layer itself calls one after the other, as OPT's does: both together.
    """
    up, down = _up(layer), _down(layer)
    ways = {up, down}
    holders = (m for m in layer.modules() if m is not layer and not isinstance(m, (nn.ModuleList, nn.ModuleDict)))
    found = [m for m in holders if None not in ways and ways <= set(m.modules())]
    if not found and up is not None and down is not None and ways <= set(layer.children()):
        return FeedForward(up, down)
    return min(found, key=lambda m: len(list(m.modules())), default=None)


def _fused(*words: str) -> Callable[[nn.Module], nn.Module | None]:
    """The matrix of attention that makes queries, keys and values in one, or the one that is called by a word."""

    def find(layer: nn.Module) -> nn.Module | None:
        attention = _attention(layer)
        if attention is None:
            return None
        inside = {n.lower(): m for n, m in attention.named_modules() if isinstance(m, nn.Linear)}
        own = [m for n, m in inside.items() if n.split("_")[0] in words]
        one = [m for n, m in inside.items() if any(word in n for word in _ALL_IN_ONE)]
        return (own or one or [None])[0]

    return find


_ALL_IN_ONE = ("qkv", "query_key_value", "att_proj", "pack")
_ROLES: Mapping[str, Callable[[nn.Module], nn.Module | None]] = {
    "mlp": _mlp,
    "mlp.down_proj": _down,
    "mlp.up_proj": _up,
    "self_attn": _attention,
    "self_attn.q_proj": _fused("q", "query", "wq"),
    "self_attn.k_proj": _fused("k", "key", "wk"),
    "self_attn.v_proj": _fused("v", "value", "wv"),
}
"""What Llama calls the parts that editors name by default."""
_WHY_NOT = {
    "mlp": " Its feed-forward part is not one module, so that nothing can stand beside the whole of it; what acts on"
    " mlp.down_proj can be had here."
}
