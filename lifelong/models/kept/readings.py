"""Kept readings: passes that stopped at a layer to give a routing key, with what scoring needs to go on from there.

Of each batch its states at that layer and the keys and values of the layers below are kept, so that a prompt is read
once for its key and its answer. They stay while targets are `expected`, 384 MiB at most, the oldest going first.
It would be wrong to keep a pass while a change acts below the layer where it stopped, for scoring goes on from it as
the frozen base's; and to go on from one while such a change acts. `Pauses.captured` and `Pauses.found` ask for that.

Knows passes, rows and key-value caches; nothing of editors, routes or probes.
"""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Iterator, Mapping, Sequence
from contextlib import AbstractContextManager, contextmanager, nullcontext
from dataclasses import dataclass, replace
from typing import Any

import torch
from torch import Tensor, nn

from lifelong.models.cache import ByteCache
from lifelong.models.kept.answers import KEPT_BYTES, Begun, begun_rows, kept_bytes, plain_layers
from lifelong.models.kept.states import keep_states, key_of
from lifelong.models.passes.batching import Batch, Row, collate
from lifelong.models.passes.forward import LOGIT_BUDGET, Passes
from lifelong.models.passes.layout import Hidden, Scored
from lifelong.models.passes.scoring import scored_rows
from lifelong.models.passes.spare import cache_of
from lifelong.models.passes.structure import first_of

BUDGET_BYTES = 384 << 20  # keys and values that are kept at a time, of the passes that stopped last


@dataclass(frozen=True, eq=False)
class Paused:
    """A batch that was read up to the inputs `states` (batch, tokens, width) of decoder layer `layer`.

    `lower` are keys and values (batch, heads, tokens, features) by layer, of the layers below.
    """

    batch: Batch
    layer: int
    states: Tensor
    lower: tuple[tuple[Tensor, Tensor], ...]

    @property
    def nbytes(self) -> int:
        """Bytes of the states, keys and values."""
        tensors = [self.states, *(t for pair in self.lower for t in pair)]
        return sum(t.numel() * t.element_size() for t in tensors)

    def part(self, at: Sequence[int], rows: Sequence[int], pad_id: int) -> tuple[Batch, Hidden]:
        """Return some rows as a batch of its own, `rows` being what `Layout.rows` says, and their states."""
        picked = [replace(self.batch.rows[i], place=k, row=r) for k, (i, r) in enumerate(zip(at, rows, strict=True))]
        states = tuple(self.states[i, : len(row)] for i, row in zip(at, picked, strict=True))
        ids = tuple(row.target_ids for row in picked)
        none: tuple[Any, ...] = ()
        encoded = tuple(row.encoded for row in picked)
        return collate(picked, pad_id), Hidden(self.layer, states, none, none, none, ids, encoded)  # type: ignore[arg-type]

    def joined(self, at: Sequence[int], above: Any, tokens: int) -> Any:
        """Return one cache of all layers: the layers below for some rows, and those above that a pass has filled."""
        index = torch.tensor(list(at), device=self.states.device)
        lower = ((keys[:, :, :tokens][index], values[:, :, :tokens][index]) for keys, values in self.lower)
        return cache_of([*lower, *((layer.keys, layer.values) for layer in above.layers[self.layer :])])


class Pauses:
    """The passes that stopped while targets were `expected`, `nbytes` in all; forgotten when that ends."""

    def __init__(self, passes: Passes) -> None:
        self._passes = passes
        self._expected: Mapping[str, tuple[int, ...]] = {}
        self._kept: OrderedDict[int, Paused] = OrderedDict()
        self._place: dict[tuple[str, tuple[int, ...]], tuple[int, int]] = {}
        self.nbytes = self._count = 0

    @property
    def active(self) -> bool:
        """Whether targets are expected."""
        return bool(self._expected)

    @contextmanager
    def expecting(self, targets: Mapping[str, tuple[int, ...]]) -> Iterator[None]:
        """While this lasts, read prompts (by digest) with the target ids that will be scored, and keep that.

        Inside of another such context, what was read is kept until the outer one ends.
        """
        before, self._expected = self._expected, targets
        try:
            yield
        finally:
            self._expected = before
            if not before:
                self._kept.clear()
                self._place.clear()
                self.nbytes = 0

    def target_ids(self, row: Row) -> tuple[int, ...]:
        """Return the target ids that will be scored after a row's prompt, none where no target is expected."""
        return self._expected.get(row.prompt.digest, ()) if row.prompt is not None else ()

    def states_of(self, row: Row, layer: int, cache: ByteCache) -> Tensor | None:
        """Return a layer's inputs (tokens, width) from a pass that stopped there, which are then kept, or a cache.

        The caller knows that nothing below the layer is changed now.
        """
        for paused, (at,), _ in self.found([row], layer):
            if paused.layer == layer:
                keep_states(cache, row, layer, paused.states[at, : len(row)].clone())
        return cache.get(key_of(row, layer))

    def room_for(self, batch: Batch, layer: int, features: int, element_bytes: int) -> bool:
        """Whether what a batch would leave below a layer fits into a quarter of the budget, and is wanted."""
        wanted = any(row.target_ids for row in batch.rows)
        return wanted and 4 * 2 * layer * batch.ids.numel() * features * element_bytes <= BUDGET_BYTES

    @contextmanager
    def keeping(self, module: nn.Module, layer: int, batch: Batch) -> Iterator[Any]:
        """Keep what a pass over a batch reads before `module`, decoder layer `layer`; gives the pass's cache."""
        from transformers import DynamicCache

        past, states = DynamicCache(), []

        def take(_: nn.Module, args: tuple[Any, ...], kwargs: dict[str, Any]) -> None:
            states.append(first_of(args, kwargs))

        handle = module.register_forward_pre_hook(take, with_kwargs=True, prepend=True)
        try:
            yield past
        finally:
            handle.remove()
        lower = plain_layers(list(past.layers)[:layer], batch.ids.shape[1])
        if len(states) == 1 and len(lower) == layer:
            self._put(Paused(batch, layer, states[0], lower))

    def _put(self, paused: Paused) -> None:
        self._count += 1  # never the number of a pass that is forgotten: its places are still known
        number = self._count
        self._kept[number] = paused
        self.nbytes += paused.nbytes
        for i, row in enumerate(paused.batch.rows):
            if row.prompt is not None and row.target_ids:
                self._place[row.prompt.digest, row.target_ids] = number, i
        while self.nbytes > BUDGET_BYTES:
            _, old = self._kept.popitem(last=False)
            self.nbytes -= old.nbytes

    def found(self, rows: Sequence[Row], lowest: int) -> list[tuple[Paused, list[int], list[int]]]:
        """Return (pass, its rows, their places in `rows`) of rows that were read up to a layer not above `lowest`."""
        parts: dict[int, tuple[Paused, list[int], list[int]]] = {}
        for place, row in enumerate(rows):
            number, at = self._place.get((row.prompt.digest, row.target_ids), (-1, 0)) if row.prompt else (-1, 0)
            paused = self._kept.get(number)
            if paused is not None and paused.layer <= lowest:
                part = parts.setdefault(number, (paused, [], []))
                part[1].append(at)
                part[2].append(place)
        return list(parts.values())

    def captured(self, rows: Sequence[Row], module: nn.Module) -> list[Tensor]:
        """Return the inputs of a module (tokens, features) of rows; keep what was read where a target is expected.

        What is kept lies below the module's layer, so nothing is kept while a change below it is active.
        """
        # 1. Is it worth keeping, and right? Then read the target along that is expected after each prompt.
        passes, structure = self._passes, self._passes.structure
        layer, lengths = structure.depth(module), [len(row) for row in rows]
        pausing = self.active and 0 < layer <= passes.changes.lowest and layer < len(structure.layers)
        if pausing and not passes.same_length_decoding:
            rows = [replace(row, target_ids=row.target_ids or self.target_ids(row)) for row in rows]
        weight = structure.embedding.weight
        width, element_bytes = int(weight.shape[1]), weight.element_size()  # type: ignore[operator,arg-type]

        # 2. Read, and cut the expected targets off what is returned.
        def keeping(batch: Batch) -> AbstractContextManager[Any]:
            room = pausing and self.room_for(batch, layer, width, element_bytes)
            return self.keeping(structure.layers[layer], layer, batch) if room else nullcontext()

        found = passes.captured(rows, module, keeping)
        return [found[i][:length] for i, length in enumerate(lengths)]

    def scored(self, rows: Sequence[Row], top: int, begun: dict[int, Begun], cache: ByteCache) -> dict[int, Scored]:
        """Return the scores, by position, of those rows that were read so far.

        The same as a whole pass would give; `begun` takes what decoding goes on from, `cache` the states read.
        """
        from transformers import DynamicCache

        passes, out = self._passes, dict[int, Scored]()
        vocab = passes.model.config.get_text_config().vocab_size
        for paused, every_at, every_place in self.found(rows, passes.changes.lowest):
            # With `top` logits at every position are wanted, so that a paused batch is taken in smaller parts.
            most = max(LOGIT_BUDGET // (vocab * paused.batch.ids.shape[1]), 1) if top else len(every_at)
            pairs = list(zip(every_at, every_place, strict=True))
            parts = [pairs[start : start + most] for start in range(0, len(pairs), most)]

            def work(part: Sequence[tuple[int, int]], paused: Paused = paused) -> None:
                at, places = [i for i, _ in part], [p for _, p in part]
                batch, hidden = paused.part(at, [rows[p].row for p in places], passes.pad_id)
                above = DynamicCache() if kept_bytes(begun.values()) < KEPT_BYTES else None
                with torch.no_grad():
                    logits = passes.resumed(batch, hidden, None if top else batch.predicting(), past=above)
                scored = scored_rows(batch, logits, top)
                # What lies above the pause was read now: together it is the cache that decoding goes on from.
                if above is not None:
                    past = paused.joined(at, above, batch.ids.shape[1])
                    begun.update((places[k], one) for k, one in begun_rows(passes, batch, past, scored))
                for row, states, place in zip(batch.rows, hidden.states, places, strict=True):
                    keep_states(cache, row, paused.layer, states.clone())
                    out[place] = scored[row.place]

            passes.room.each(parts, work)
        return out
