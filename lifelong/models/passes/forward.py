"""Single forward passes over one batch: whole, stopped at a module, or resumed from a layer.

Publishes the layout, asks the head only for the logits that are wanted, and skips lower layers. Knows nothing about
prompts' wording, scoring or editors.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, MutableMapping, Sequence
from contextlib import AbstractContextManager, ExitStack, contextmanager, nullcontext
from typing import Any, Protocol

import torch
from torch import Tensor, nn

from lifelong.models.memory import MemoryBudget
from lifelong.models.passes.batching import Batch, Encoded, Row, batches
from lifelong.models.passes.interventions import Interventions, runs_flat
from lifelong.models.passes.layout import Hidden, Layout
from lifelong.models.passes.narrow import instead, narrowed, remembering
from lifelong.models.passes.prefix import LEAST_SAVED, Prefix, alike, prefix_of, saved_work
from lifelong.models.passes.roles import taking
from lifelong.models.passes.room import Room, bytes_per_token
from lifelong.models.passes.structure import (
    VISION,
    Structure,
    first_of,
    image_token_of,
    keeps_every_token,
    sees_later,
)
from lifelong.models.passes.tail import ending_of, tail_of, watched
from streams.types import Prompt

LOGIT_BUDGET = 1 << 26  # logits at every position of one batch: 256 MiB in float32


class Seeing(Protocol):
    """Gives the model inputs that carry the images of a batch."""

    keeps_features: bool

    def pixel_limit(self, *, fresh: bool) -> int | None:
        """Return how many bytes of pixel values a batch may hold; None where it holds none."""
        ...

    def vision(self, prompts: Sequence[Prompt], encoded: Sequence[Encoded], *, fresh: bool) -> dict[str, Any]:
        """Return features, or pixel values where the vision side is changed (`fresh`)."""
        ...


class Running(Protocol):
    """How a family's model is called."""

    same_length: bool

    def run(self, model: Any, inputs: Mapping[str, Any]) -> Any:
        """Return an output with `logits` and `past_key_values`."""
        ...


class _Reached(Exception):
    """Ends a forward pass at the module whose input was wanted."""


class Passes:
    """Forward passes of one model."""

    def __init__(
        self,
        model: Any,
        processor: Any,
        structure: Structure,
        reader: Seeing,
        changes: Interventions,
        end_ids: tuple[int, ...],
        family: Running,
        memory: MemoryBudget,
        end_texts: tuple[str, ...] = (),
    ) -> None:
        self.model, self.structure, self.reader, self.changes = model, structure, reader, changes
        self.family = family
        self.tokenizer, self.end_ids, self.end_texts = processor.tokenizer, frozenset(end_ids), end_texts
        self.image_id = image_token_of(model, processor)
        pad = self.tokenizer.pad_token_id
        self.pad_id = int(pad if pad is not None else end_ids[0])
        # Models with positions in several dimensions count them themselves and cannot do so behind padding; a window
        # counts padding as tokens, and throws away real ones that lie behind it.
        counts = any(hasattr(m, "get_rope_index") for m in model.modules())
        self.same_length_decoding = counts or family.same_length or not keeps_every_token(model.config)
        # They also keep the offsets of the last prompt, which must not reach a prompt that has none.
        self._offsets = [m for m in model.modules() if hasattr(m, "rope_deltas")]
        self.sees_later = sees_later(model, structure)
        self._layer_gives_tuple = False
        weight: Any = structure.embedding.weight
        token_bytes = bytes_per_token(model.config, weight.element_size())
        self.room = Room(weight.device, token_bytes, memory.batch_bytes)
        self.lines = 1  # that an answer may have
        self._line_breaks: dict[int, int] = {}

    @property
    def device(self) -> torch.device:
        """Where the model takes its token ids (asking the model itself walks over all its modules)."""
        return self.structure.embedding.weight.device  # type: ignore[union-attr,return-value]

    def batches(
        self, rows: Sequence[Row], *, every: bool = False, new_tokens: int = 0, graph: bool = False
    ) -> Iterator[Batch]:
        """Yield the batches of rows; smaller ones where logits at every position are wanted, or pixels are held.

        Never more tokens than there is room for, with the `new_tokens` that each row may be decoded to: a row alone,
        where it is longer. With `graph` no more rows than a device that was full takes back and forth.
        """
        budget = max(LOGIT_BUDGET // self.model.config.get_text_config().vocab_size, 1) if every else 1 << 30
        budget = min(budget, self.room.tokens)
        same = new_tokens > 0 and self.same_length_decoding
        pixels = self.reader.pixel_limit(fresh=self.changes.lowest <= VISION)
        most = min(self.room.rows, (self.room.graph_rows if graph else None) or self.room.rows)
        return batches(
            rows, self.pad_id, max_tokens=budget, new_tokens=new_tokens, max_pixel_bytes=pixels, same_length=same,
            max_rows=most,
        )  # fmt: skip

    def each(
        self, rows: Sequence[Row], work: Callable[[Batch], None], *, every: bool = False, new_tokens: int = 0
    ) -> None:
        """Do `work` on every batch of rows; on smaller ones, and from then on, where the device is out of memory.

        `work` may be called again for rows that it had begun with. Not for what keeps a graph: see `with_graph`.
        """
        for batch in self.batches(rows, every=every, new_tokens=new_tokens):
            self.room.each([batch.rows], lambda part, whole=batch: self._worked(part, whole, work, every, new_tokens))

    def _worked(
        self, part: Sequence[Row], whole: Batch, work: Callable[[Batch], None], every: bool, new_tokens: int
    ) -> None:
        cut = len(part) < len(whole.rows)
        for batch in self.batches(part, every=every, new_tokens=new_tokens) if cut else [whole]:
            work(batch)

    @property
    def attention_kind(self) -> str:
        """By which implementation the decoder's attention is computed now."""
        return self.model.config.get_text_config()._attn_implementation

    @contextmanager
    def attention(self, kind: str) -> Iterator[None]:
        """Compute the decoder's attention by another implementation of transformers ("eager", "sdpa") for a while.

        For training in bfloat16 on a CPU, where the gradient of the fused one is very slow. Its numbers differ in
        the last digits: no answer that is compared with others is given inside.
        """
        config = self.model.config.get_text_config()
        before, config._attn_implementation = config._attn_implementation, kind
        try:
            yield
        finally:
            config._attn_implementation = before

    def line_breaks(self, token: int) -> int:
        """Return how many newlines a token's text has."""
        if token not in self._line_breaks:
            self._line_breaks[token] = self.tokenizer.decode([token]).count("\n")
        return self._line_breaks[token]

    def say(self, said: list[int], token: int) -> bool:
        """Add the token that was picked to what a row has said, and return whether its answer goes on.

        An end token is not added. A token with the newline after the last line, or with the last letter of an end
        text, is, and ends the answer as well.
        """
        if token in self.end_ids:
            return False
        said.append(token)
        if any(end in self.tokenizer.decode(said[-len(end) :]) for end in self.end_texts):
            return False
        return not self.line_breaks(token) or sum(map(self.line_breaks, said)) < self.lines

    def masks_of(self, row: Row) -> tuple[Tensor, Tensor, Tensor]:
        """Return the image, prompt and answer masks (tokens,) of one row."""
        n = len(row.encoded.ids)
        image = torch.zeros(len(row), dtype=torch.bool)
        image[:n] = row.encoded.ids == self.image_id
        answer = torch.arange(len(row)) >= n
        return image, ~image & ~answer, answer

    def layout_of(self, batch: Batch) -> Layout:
        """Return the layout of a batch at prefill or under teacher forcing."""
        at = torch.arange(batch.ids.shape[1])  # (tokens,)
        n = torch.tensor([len(r.encoded.ids) for r in batch.rows])[:, None]  # (batch, 1): where targets begin
        ends = torch.tensor(batch.lengths)[:, None]  # (batch, 1): where padding begins
        image = (batch.ids == self.image_id) & (at < n)  # (batch, tokens), as the other masks
        prompt = (at < n) & ~image
        answer = (at >= n) & (at < ends)
        rows = torch.tensor([r.row for r in batch.rows])
        image, prompt, answer = (m.to(self.device) for m in (image, prompt, answer))
        return Layout(rows.to(self.device), image, prompt, answer, (n[:, 0] - 1).to(self.device))

    @contextmanager
    def publishing(self, layout_of: Callable[[], Layout]) -> Iterator[None]:
        """Make a layout visible to hooks during a forward pass; it is not built where no hook would see it."""
        before = self.changes.layout
        self.changes.layout = layout_of() if self.changes.hooked else None
        try:
            yield
        finally:
            self.changes.layout = before

    def forward(
        self,
        batch: Batch,
        *,
        where: Tensor | None,
        use_cache: bool = False,
        seen: Mapping[str, Any] | None = None,
        whole: bool = False,
        layout: Layout | None = None,
        past: Any = None,
    ) -> Any:
        """Run the model on a batch and return its output; `where` (batch, tokens) bool says which logits are wanted.

        With `where` the logits are (1, picked, vocab), row after row; otherwise (batch, tokens, vocab). The last
        layer's MLP then leaves out other positions, unless a hook has to see them or the `whole` pass is wanted. An
        empty cache `past` is filled. What carries the images may be `seen` already, and `layout`, what hooks are
        told, made already.
        """
        # 1. Collect the inputs: what the processor gave along with the ids, and the images.
        inputs: dict[str, Any] = {name: v.to(self.device) for name, v in {**batch.aligned, **batch.extras}.items()}
        inputs |= self.seen(batch) if seen is None else seen
        self.forget()

        with ExitStack() as stack:
            if not use_cache:
                stack.callback(self.forget)
            # 2. Tell hooks where everything is. Compute the last MLP and the head only where logits are wanted: the
            #    MLP unless a hook in its layer or above has to see every token, the head unless a hook is on it.
            stack.enter_context(self.publishing(lambda: layout or self.layout_of(batch)))
            last, mlp = len(self.structure.layers) - 1, getattr(self.structure.layers[-1], "mlp", None)
            if where is not None and mlp is not None and not whole and self.changes.widest < last:
                stack.enter_context(narrowed(mlp, where.to(self.device), self.changes))
            if where is not None and not self.changes.on_head and self.structure.head is not None:
                picked = where.to(self.device)
                # (batch, tokens, width) to (1, picked, width)
                handle = self.structure.head.register_forward_pre_hook(lambda _, args: (args[0][picked][None],))
                stack.callback(handle.remove)
                where = None

            # 3. The pass itself.
            ids, mask = batch.ids.to(self.device), batch.mask.to(self.device)
            inputs |= {"use_cache": use_cache} if past is None else {"use_cache": True, "past_key_values": past}
            out = self.family.run(self.model, {"input_ids": ids, "attention_mask": mask, **inputs})

        # 4. A head that gave logits at every position: pick now.
        if where is not None:
            out.logits = out.logits[where.to(self.device)][None]
        return out

    def seen(self, batch: Batch) -> dict[str, Any]:
        """Return the model inputs that carry the images of a batch."""
        prompts = [r.prompt for r in batch.rows if r.prompt is not None]
        encoded = [r.encoded for r in batch.rows if r.prompt is not None]
        return self.reader.vision(prompts, encoded, fresh=self.changes.lowest <= VISION)

    def forget(self) -> None:
        """Take away what a model keeps of the last prompt, before another one and when an answer is done."""
        for module in self._offsets:
            module.rope_deltas = None  # type: ignore[assignment]

    def captured(
        self,
        rows: Sequence[Row],
        module: nn.Module,
        keeping: Callable[[Batch], AbstractContextManager[Any]] | None = None,
    ) -> dict[int, Tensor]:
        """Return the first input of a module by `place`, unpadded (tokens, features); the pass ends there.

        `keeping` gives the cache that a pass over a batch is to fill, None for none. Raises `ValueError` for a module
        that a forward pass does not run.
        """
        found: dict[int, Tensor] = {}
        running: list[Batch] = []

        def take(_: nn.Module, args: tuple[Any, ...], kwargs: dict[str, Any]) -> None:
            states = first_of(args, kwargs)
            if runs_flat(states, *running[-1].ids.shape):
                states = states.unflatten(0, running[-1].ids.shape)
            for i, row in enumerate(running[-1].rows):
                found[row.place] = states[i, : len(row)].clone()
            raise _Reached

        # On the way, learn whether this family's layers give a tensor or a tuple: `resumed` has to give the same.
        def shape(_: nn.Module, args: tuple[Any, ...], output: Any) -> None:
            self._layer_gives_tuple = isinstance(output, tuple)

        def work(batch: Batch) -> None:
            running[:] = [batch]
            with nullcontext() if keeping is None else keeping(batch) as past:
                try:
                    self.forward(batch, where=batch.predicting(), whole=True, past=past)
                except _Reached:
                    return
            raise ValueError(f"{type(module).__name__} does not run in a forward pass; it has no input to give.")

        first = self.structure.layers[0]
        with ExitStack() as stack:
            stack.callback(first.register_forward_hook(shape).remove)
            stack.callback(taking(module).register_forward_pre_hook(take, with_kwargs=True).remove)
            stack.enter_context(torch.no_grad())
            self.each(rows, work)
        return found

    def resumed(
        self,
        batch: Batch,
        hidden: Hidden,
        where: Tensor | None,
        memo: MutableMapping[Any, Any] | None = None,
        *,
        past: Any = None,
    ) -> Tensor:
        """Return a batch's logits computed from the inputs of `hidden.layer` on; of which positions, see `forward`.

        The model runs as always, but the layers below are identities and that layer is given the states. Hooks below
        are not called. An empty cache `past` is filled from that layer on. `memo` is for a descent that resumes the
        same batch again and again: the layer's attention is run once, as long as nothing changes before its MLP, and
        where one hook in the last layer's MLP is all that changes, only what follows it (`passes/tail`); where
        nothing before the last prompt token changes, only that one and the target (`passes/prefix`).
        """

        # 1. Padded states (batch, tokens, width) and the layout, the same at every step of a descent.
        states = None if memo is None else memo.get("states")
        if states is None:
            states = self._padded(batch, hidden)
            if memo is not None and not states.requires_grad:
                memo.update({"states": states, "layout": self.layout_of(batch)})

        # 2. The short way, where it was learnt in an earlier step and holds now.
        ending = ending_of(self.structure, self.changes, hidden.layer, where, memo)
        if ending is not None and memo is not None and memo.get("tail") is not None:
            return memo["tail"].logits(self.changes)

        # 3. The other short way, which is learnt in the first step; None is remembered where it is not worth it.
        if ending is None and memo is not None and where is not None and past is None and self.changes.late:
            if "prefix" not in memo:
                memo["prefix"] = self._prefix(batch, hidden.layer, states, where, memo)
            if memo["prefix"] is not None:
                return self._after(memo["prefix"])

        # 4. The whole pass from the layer on.
        layout = None if memo is None else memo.get("layout")
        with ExitStack() as stack:
            seen = None if ending is None else stack.enter_context(watched(self.structure, ending))
            logits = self._from(batch, hidden.layer, states, where, layout, memo, past)

        # 5. Learn the first short way from what this pass showed; None is remembered where there is none.
        if seen is not None and memo is not None and where is not None:
            memo["tail"] = tail_of(self.structure, seen, memo["layout"], where.to(self.device), logits)
        return logits

    def _from(
        self,
        batch: Batch,
        layer: int,
        states: Tensor,
        where: Tensor | None,
        layout: Layout | None,
        memo: MutableMapping[Any, Any] | None,
        past: Any,
    ) -> Tensor:
        """Return the logits of a pass whose layers below `layer` are identities, and that layer is given `states`."""
        layers = self.structure.layers

        def replace(_: nn.Module, args: tuple[Any, ...], kwargs: dict[str, Any]) -> tuple[Any, Any]:
            if "hidden_states" in kwargs:
                return args, kwargs | {"hidden_states": states}
            return (states, *args[1:]), kwargs

        def identity(*args: Any, **kwargs: Any) -> Any:
            given = first_of(args, kwargs)
            return (given,) if self._layer_gives_tuple else given

        with ExitStack() as stack:
            if memo is not None and not states.requires_grad and self._attends_alike(layer):
                stack.enter_context(remembering(layers[layer].self_attn, memo))  # type: ignore[arg-type]
            stack.callback(layers[layer].register_forward_pre_hook(replace, with_kwargs=True).remove)
            for below in layers[:layer]:  # what a model on several devices has there is back afterwards
                stack.enter_context(instead(below, identity))
            stack.callback(setattr, self.changes, "skip_below", self.changes.skip_below)
            self.changes.skip_below = layer
            seen = self._seen_later(batch, memo)
            return self.forward(batch, where=where, seen=seen, layout=layout, past=past).logits

    def _prefix(
        self, batch: Batch, layer: int, states: Tensor, where: Tensor, memo: Mapping[Any, Any]
    ) -> Prefix | None:
        """Return what a descent reads once; None where that saves little, or gives other logits than a whole pass."""
        if len(batch.rows) != 1 or self.same_length_decoding or states.requires_grad:
            return None
        if saved_work(self.structure.layers, layer, len(batch.rows[0].encoded.ids) - 1) < LEAST_SAVED:
            return None
        from transformers import DynamicCache

        with torch.no_grad():
            past = DynamicCache()
            whole = self._from(batch, layer, states, where, memo["layout"], None, past)
            found = prefix_of(batch, layer, states, where, memo["layout"], past)
            return found if found is not None and alike(whole, self._after(found)) else None

    def _after(self, prefix: Prefix) -> Tensor:
        """Return the logits of what stands after a prefix, with its gradient where one is wanted."""
        layout, memo = prefix.layout, prefix.memo
        return self._from(prefix.batch, prefix.layer, prefix.states, prefix.where, layout, memo, prefix.cache())

    def _padded(self, batch: Batch, hidden: Hidden) -> Tensor:
        """Return the states of a batch's rows, (batch, tokens, width), in the model's type whatever theirs was."""
        dtype = self.structure.embedding.weight.dtype
        states = torch.zeros(*batch.ids.shape, hidden.states[0].shape[-1], dtype=dtype, device=self.device)  # type: ignore[arg-type]
        # One assignment: the gradient of one per row would each time be as large as the whole.
        taken = torch.cat([hidden.states[row.place].to(self.device) for row in batch.rows])
        states[batch.mask.bool().to(self.device)] = taken.to(dtype)  # type: ignore[arg-type]
        return states

    def _seen_later(self, batch: Batch, memo: MutableMapping[Any, Any] | None) -> Mapping[str, Any]:
        """Return what a resumed pass needs of the images: nothing, where they only stand among the embeddings."""
        if not self.sees_later and self.reader.keeps_features:
            return {}
        found = None if memo is None else memo.get("seen")
        if found is None:
            found = self.seen(batch)
            if memo is not None and self.changes.lowest > VISION:
                memo["seen"] = found
        return found

    def _attends_alike(self, layer: int) -> bool:
        """Whether a layer's attention sees and does what it does in the base: all changes lie in its MLP or above."""
        attention, mlp = (getattr(self.structure.layers[layer], name, None) for name in ("self_attn", "mlp"))
        if attention is None or mlp is None:
            return False
        return self.changes.only_within(self.structure.names[id(mlp)], layer)
