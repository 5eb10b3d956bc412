"""Key-value caches with spare places: a step of decoding writes one token's keys and values, and copies nothing.

A cache of transformers grows by joining: each step makes all keys and values anew. Here they lie in a larger tensor,
and what attention is given is the part that is filled. Layers that keep something else (a state, say) stay as
they are. Knows keys and values of layers; nothing of models, rows or what is decoded.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

from torch import Tensor
from transformers import DynamicCache
from transformers.cache_utils import DynamicLayer, DynamicSlidingWindowLayer


class _Places:
    """One tensor (batch, heads, tokens, features), from the first new token on within one that is `spare` longer."""

    def __init__(self, shown: Tensor, spare: int) -> None:
        self._spare, self._end = spare, shown.shape[-2]
        self._held = self._shown = shown

    def joined(self, before: Any, new: Tensor) -> Tensor:
        """Return what was shown `before` with `new` tokens after it; it is copied only where it lies elsewhere."""
        size, added = before.shape[-2], new.shape[-2]
        # Elsewhere: after rows were taken out or tokens cut off. Or no place is left, as at the first time.
        if before is not self._shown or self._end + added > self._held.shape[-2]:
            shape = (*before.shape[:-2], size + max(added, self._spare), before.shape[-1])
            self._held, self._end = before.new_empty(shape), size
            self._held[..., :size, :] = before
        self._held[..., self._end : self._end + added, :] = new
        self._end += added
        return self.last(size + added)

    def last(self, tokens: int) -> Tensor:
        """Return the last so many tokens that are there, from now on what was shown."""
        self._shown = self._held[..., self._end - tokens : self._end, :]
        return self._shown


class SpareLayer(DynamicLayer):
    """Keys and values of a layer that keeps every token."""

    def __init__(self, keys: Tensor, values: Tensor, spare: int) -> None:
        super().__init__()
        self.lazy_initialization(keys, values)
        self.keys, self.values = keys, values
        self._places = _Places(keys, spare), _Places(values, spare)

    def update(self, key_states: Tensor, value_states: Tensor, *args: Any, **kwargs: Any) -> tuple[Tensor, Tensor]:
        """Add tokens (batch, heads, new, features) and return all that there are."""
        self.keys = self._places[0].joined(self.keys, key_states)
        self.values = self._places[1].joined(self.values, value_states)
        return self.keys, self.values


class SpareWindowLayer(DynamicSlidingWindowLayer):
    """Keys and values of a layer with a window: it keeps one token less than that."""

    def __init__(self, keys: Tensor, values: Tensor, spare: int, *, window: int, read: int) -> None:
        super().__init__(window)
        self.lazy_initialization(keys, values)
        self.keys, self.values, self.cumulative_length = keys, values, read
        self._places = _Places(keys, spare), _Places(values, spare)

    def update(self, key_states: Tensor, value_states: Tensor, *args: Any, **kwargs: Any) -> tuple[Tensor, Tensor]:
        """Add tokens (batch, heads, new, features) and return those kept before with them."""
        self.cumulative_length += key_states.shape[-2]
        keys = self._places[0].joined(self.keys, key_states)
        values = self._places[1].joined(self.values, value_states)
        kept = min(self.sliding_window - 1, keys.shape[-2])
        self.keys, self.values = self._places[0].last(kept), self._places[1].last(kept)
        return keys, values


def make_room(past: Any, tokens: int) -> None:
    """Let a cache take so many more tokens of each row without being copied; called before the first of them.

    Its keys and values move once, when the first token comes, a layer at a time; later ones than `tokens` move them
    again.
    """
    layers: Any = getattr(past, "layers", ())
    for i, layer in enumerate(layers):
        keys, values = getattr(layer, "keys", None), getattr(layer, "values", None)
        if keys is None or values is None:
            continue
        if type(layer) is DynamicLayer:
            layers[i] = SpareLayer(keys, values, tokens)
        elif type(layer) is DynamicSlidingWindowLayer and not layer.record_past:
            window, read = layer.sliding_window, layer.cumulative_length
            layers[i] = SpareWindowLayer(keys, values, tokens, window=window, read=read)


def cache_of(layers: Iterable[tuple[Tensor, Tensor]]) -> DynamicCache:
    """Return a cache of keys and values (batch, heads, tokens, features) by layer; they are not copied."""
    past = DynamicCache()
    for keys, values in layers:
        layer = DynamicLayer()
        layer.lazy_initialization(keys, values)
        layer.keys, layer.values = keys, values
        past.layers.append(layer)
    return past
