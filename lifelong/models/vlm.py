"""The door to a multimodal LLM: score, generate, hidden states and resuming from them, hooks and exchanged weights.

Works with any Hugging Face image-text-to-text model that has a processor, a chat template and decoder layers. Batches
rows itself. Knows nothing about editors, probes or streams beyond `Query` and `Prompt`.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import AbstractContextManager, contextmanager, nullcontext
from functools import partial
from pathlib import Path
from typing import Any, TypeVar

import numpy as np
import torch
from PIL.Image import Image
from torch import Tensor, nn

from lifelong.models.cache import ByteCache, TieredCache
from lifelong.models.checks.verdict import require_checked
from lifelong.models.kept.answers import KEPT_BYTES, Begun, begun_rows, finished_answers, kept_bytes
from lifelong.models.kept.readings import Pauses
from lifelong.models.kept.states import keep_states, keeping, key_of
from lifelong.models.loading import digest_of_model, end_ids_of, end_texts_of, load_parts
from lifelong.models.memory import memory_of, synchronize
from lifelong.models.passes.batching import Batch, Row
from lifelong.models.passes.decode import greedy, picked_text, text_of
from lifelong.models.passes.forward import Passes
from lifelong.models.passes.graph import with_graph
from lifelong.models.passes.interventions import HookFn, Interventions
from lifelong.models.passes.layout import Hidden, Layout, Scored
from lifelong.models.passes.roles import find_submodule
from lifelong.models.passes.scoring import scored_rows
from lifelong.models.passes.structure import VISION, context_of, find_structure
from lifelong.models.products import mkl_falls_short, quicken
from lifelong.models.prompts.answer_form import form_of
from lifelong.models.prompts.length import Lengths
from lifelong.models.prompts.quirk import find_quirk
from lifelong.models.prompts.reader import OpenImage, PromptReader
from lifelong.models.weights import AUTO, WeightReading
from streams.types import ImageRef, Prompt, Query

__all__ = ["Hidden", "Layout", "Scored", "VLM", "VLMAnswerer"]
Promptlike = Query | Prompt
_T = TypeVar("_T")
_OWN = ("atlas", "smol")  # models of this project, which its tests hold to every check


class VLM:
    """One model with its processor; outside every context it is the frozen base, bit for bit.

    Callers use its methods, `name`, `digest`, `layers`, `width`, `end_id`, `home`, `memory` (what may be held beside
    the weights) and `cache`, where they may keep what they compute with the frozen base. `reader`, `passes`, `pauses`
    and `changes` are what it is made of.
    """

    def __init__(
        self,
        model: Any,
        processor: Any,
        *,
        name: str,
        digest: str | None = None,
        open_image: OpenImage | None = None,
        cache_bytes: int = 1 << 30,
        memory_bytes: int = 0,
        home: str = "",
    ) -> None:
        if open_image is None:
            from streams.pictures.images import open_image as open_by_reference

            open_image = open_by_reference
        model.eval().requires_grad_(False)
        self.quick_layers = quicken(model) if mkl_falls_short() else 0  # linear layers that oneDNN multiplies
        self.model, self.processor, self.tokenizer = model, processor, processor.tokenizer
        self.name = name
        self.digest = digest or digest_of_model(model)
        self.structure = find_structure(model)
        self.layers = len(self.structure.layers)
        self.width = int(self.structure.embedding.weight.shape[1])  # type: ignore[arg-type]
        held = sum(t.numel() * t.element_size() for t in (*model.parameters(), *model.buffers()))
        self.home = torch.device(home) if home else self.device  # where it computes, or would with its weights
        self.memory = memory_of(self.home, held, memory_bytes)
        near = 0 if self.device.type in ("cpu", "meta") else min(self.memory.kept_bytes, cache_bytes)
        self.cache = TieredCache(cache_bytes, near) if near else ByteCache(cache_bytes)
        self.changes = Interventions(model, self.structure)
        family = find_quirk(model.config)
        self.reader = PromptReader(model, processor, family, open_image, self.cache)
        self.lengths = Lengths(self.reader, context_of(model.config))
        end_ids = end_ids_of(model, self.tokenizer)
        self.form = form_of(self.reader.chat, self.reader.marks, end_ids, family.answers_after)
        self.reader.prefix, self.end_id = self.form.prefix, self.form.end_id
        self.passes = Passes(
            model, processor, self.structure, self.reader, self.changes, end_ids, family, self.memory,
            end_texts_of(model),
        )  # fmt: skip
        self.pauses = Pauses(self.passes)

    @classmethod
    def load(
        cls,
        name_or_path: str,
        *,
        dtype: str = AUTO,
        device: str = "cpu",
        cache_bytes: int = 1 << 30,
        memory_bytes: int = 0,
        known: Sequence[str] = (),
        how: WeightReading = WeightReading(),  # noqa: B008 (frozen)
        digests: Path | None = None,
        checked: Path | None = None,
        check: bool = True,
    ) -> VLM:
        """Load `atlas` (the shipped model), a local folder or a Hugging Face id; weights from safetensors only.

        `dtype` auto is float32, or bfloat16 from a billion parameters on; `memory_bytes` are those of the device that
        may be taken beside the weights, 0 for most of what there is. `known` are names that are near for a misspelt
        one; `how` and `digests` are those of `load_parts`. A model that is not of this project is held to the short
        form of the checks, once where a folder `checked` is given to write that down in; not without `check`. Raises
        `ValueError` for an unknown dtype or device and `ModelError` for a model that cannot be found, is not whole,
        or does not keep a check.
        """
        model, processor, digest = load_parts(name_or_path, dtype, device, known, how=how, digests=digests)
        folder = Path(name_or_path).expanduser()
        name = folder.name if name_or_path not in _OWN and folder.is_dir() else name_or_path
        given: dict[str, Any] = {"cache_bytes": cache_bytes, "memory_bytes": memory_bytes}
        vlm = cls(model, processor, name=name, digest=digest, home=device if how.empty else "", **given)
        if check and name_or_path not in _OWN and not how.empty:
            again = partial(cls, model, processor, name=name, digest=digest, memory_bytes=memory_bytes)
            require_checked(again, name_or_path, digest, checked)
        return vlm

    # What it is made of

    @property
    def device(self) -> torch.device:
        """Where the model computes."""
        return self.model.device

    @property
    def layout(self) -> Layout | None:
        """The layout of the forward pass that is running, None between passes."""
        return self.changes.layout

    @property
    def unchanged(self) -> bool:
        """Whether no hook and no exchanged parameter is active: the model is the frozen base now."""
        return self.changes.lowest > self.layers

    def decoder_layer(self, i: int) -> nn.Module:
        """Return decoder layer i; raises `ValueError` when there is none."""
        if not 0 <= i < self.layers:
            raise ValueError(f"layer={i}: this model has layers 0 to {self.layers - 1}.")
        return self.structure.layers[i]

    def layer_at(self, fraction: float) -> int:
        """Return the layer that lies at a fraction (0 to 1) of the depth; raises `ValueError` outside that range."""
        if not 0 <= fraction <= 1:
            raise ValueError(f"A layer at {fraction} of the depth was asked for; expected a number from 0 to 1.")
        return min(int(fraction * self.layers + 0.5), self.layers - 1)

    def submodule(self, i: int, dotted: str) -> nn.Module:
        """Return a part of decoder layer i, such as `mlp.down_proj`; raises `ValueError` naming the near ones."""
        return find_submodule(self.decoder_layer(i), dotted)

    def name_of(self, parameter: nn.Parameter) -> str:
        """Return the name under which `swap` knows a parameter of the base model."""
        return self.changes.name_of(parameter)

    def name_of_module(self, module: nn.Module) -> str:
        """Return the name of a part of the model."""
        return self.structure.name(module)

    def rows_of(self, prompts: Sequence[Promptlike], new_tokens: int) -> tuple[int, int]:
        """Return how many prompts with so many new tokens go together, and the tokens of the longest of them.

        Pictures are opened, one of each size; nothing is computed.
        """
        asked = [p if isinstance(p, Prompt) else Prompt.of(p) for p in prompts]
        tokens = max((self.lengths.tokens(p) for p in asked), default=1) + new_tokens
        return self.passes.room.rows_of(tokens), tokens

    @property
    def empty(self) -> bool:
        """Whether the model was loaded without its weights: it has their shapes and computes nothing."""
        return self.device.type == "meta"

    def embeddings(self) -> Tensor:
        """Return the input embedding matrix (vocab, width)."""
        return self.structure.embedding.weight  # type: ignore[return-value]

    def sync(self) -> None:
        """Wait until the device, whichever it is, has done everything, so that a stopwatch tells the truth."""
        synchronize(self.device)

    def on_full(self, say: Callable[[str], None]) -> None:
        """Let one line be said, without a warning, when the device is out of memory for the first time."""
        self.passes.room.say = say

    @property
    def times_full(self) -> int:
        """How often the device was out of memory, and the rows of a batch or of a gradient were halved."""
        return self.passes.room.halved + self.passes.room.graph_halved

    def step(self, work: Callable[[], _T], again: Callable[[], None]) -> _T:
        """Do a step of a training, its loss and its gradient: once more on fewer rows at a time on a full device.

        `again` puts back before that what `work` had begun: gradients, drawn numbers. Raises `OutOfRoomError`, which
        says what to try, where a single row is too much.
        """
        return self.passes.room.step(work, again)

    @property
    def lines(self) -> int:
        """How many lines an answer may have (1): a run sets it to those of its longest target (`AnswerLimit`)."""
        return self.passes.lines

    @lines.setter
    def lines(self, lines: int) -> None:
        self.passes.lines = lines

    # Words, tokens and pictures

    def target_ids(self, target: str) -> list[int]:
        """Return a target's token ids, the end token included; raises `ValueError` for an empty target."""
        return self.reader.target_ids(target, self.end_id)

    def token_ids(self, text: str) -> list[int]:
        """Return the token ids of a bare text: no chat template, no special tokens around it."""
        return self.reader.marks.plain_ids(text)

    def prompt_ids(self, prompts: Sequence[Promptlike]) -> list[Tensor]:
        """Return the token ids (tokens,) long of prompts as they are read, with chat template and image tokens."""
        return [row.encoded.ids for row in self.rows(prompts)]

    def special_tokens(self) -> dict[str, int]:
        """Return the tokenizer's special tokens and their ids; padding, unknown and end come first."""
        known = self.tokenizer
        names = (known.pad_token, known.unk_token, known.eos_token, *known.all_special_tokens)
        return {name: int(known.convert_tokens_to_ids(name)) for name in dict.fromkeys(n for n in names if n)}

    def text_of(self, ids: Sequence[int]) -> str:
        """Return ids as the text that `generate` gives: no special tokens, no more than `lines` lines, stripped."""
        return text_of(self.passes, ids)

    def picked_text(self, picked: Sequence[int], max_tokens: int) -> str | None:
        """Return what `generate` gives where it picks these tokens; None where it goes on after the last of them."""
        return picked_text(self.passes, picked, max_tokens)

    def say(self, said: list[int], token: int) -> bool:
        """Add the token picked next to what an answer has `said`, and return whether the answer goes on.

        For who decodes step by step; the rule by which `generate` ends: at an end token, which is not added, or at a
        token with the newline after the last of the `lines`, which is.
        """
        return self.passes.say(said, token)

    def unaskable(self, asked: Sequence[tuple[Promptlike, str]], *, pictures: bool = True) -> list[str]:
        """Return for each (prompt, target) why the model cannot take it, '' where it can; nothing is computed.

        Longer than the context with its pictures (without `pictures` each counts as one token and is not opened), or
        a text that the tokenizer cannot read as text.
        """
        prompts = [(p if isinstance(p, Prompt) else Prompt.of(p), target) for p, target in asked]
        return [self.lengths.unaskable(p, t, self.end_id, pictures=pictures) for p, t in prompts]

    def open_image(self, ref: ImageRef) -> Image:
        """Return the picture of a reference, opened as for prompts."""
        return self.reader.open_image(ref)

    # Answers

    def score(
        self,
        prompts: Sequence[Promptlike],
        targets: Sequence[str],
        *,
        top: int = 0,
        rows: Sequence[int] | None = None,
        begun: dict[int, Begun] | None = None,
        keep_layer: int | None = None,
    ) -> list[Scored]:
        """Teacher-force one target per prompt, in one forward pass per batch.

        `top` > 0 also returns the ordered top ids at every position; `rows` are what `Layout.rows` says (0, 1, ...).
        Where a target is not what greedy decoding gives, `begun` takes what `finish` goes on from, up to a budget.
        The inputs of `keep_layer` are kept for `hidden`, where nothing below it is changed.
        """
        layer = keep_layer if keep_layer is not None and self.changes.lowest >= keep_layer else None
        out: dict[int, Scored] = {}

        def work(batch: Batch) -> None:
            go_on = begun is not None and kept_bytes(begun.values()) < KEPT_BYTES
            with nullcontext() if layer is None else keeping(self.cache, self.decoder_layer(layer), layer, batch):
                passed = self.passes.forward(batch, where=None if top else batch.predicting(), use_cache=go_on)
            out.update(scored_rows(batch, passed.logits, top))
            if begun is not None and go_on:
                begun.update(begun_rows(self.passes, batch, passed.past_key_values, out))

        with torch.no_grad():
            self.passes.each(self.rows(prompts, targets, rows), work, every=top > 0)
        self.passes.forget()
        return [out[i] for i in range(len(prompts))]

    def finish(self, begun: Sequence[Begun], *, max_tokens: int = 16) -> list[str]:
        """Decode greedily what scoring has begun, under the same changes; returns what `generate` does."""
        with torch.no_grad():
            return [self.text_of(ids) for ids in finished_answers(self.passes, begun, max_tokens)]

    def generate(
        self, prompts: Sequence[Promptlike], *, max_tokens: int = 16, rows: Sequence[int] | None = None
    ) -> list[str]:
        """Decode greedily to an end token, the newline after `lines` lines or `max_tokens` tokens; stripped text."""
        out: dict[int, str] = {}

        def work(batch: Batch) -> None:
            for row, ids in zip(batch.rows, greedy(self.passes, batch, max_tokens), strict=True):
                out[row.place] = self.text_of(ids)

        with torch.no_grad():
            self.passes.each(self.rows(prompts, None, rows), work, new_tokens=max_tokens)
        return [out[i] for i in range(len(prompts))]

    def answerer(self, prompts: Sequence[Promptlike], *, from_layer: int | None = None) -> VLMAnswerer:
        """Return the two verbs above bound to prompts; with `from_layer` scoring resumes from cached inputs of it."""
        return VLMAnswerer(self, tuple(prompts), from_layer)

    def answer_logits(
        self,
        prompts: Sequence[Promptlike],
        targets: Sequence[str] | None = None,
        *,
        ids: Sequence[Sequence[int]] | None = None,
        grad: bool = False,
    ) -> list[Tensor]:
        """Return the logits (m, vocab) that predict the m target tokens of every row, from whole forward passes.

        Instead of `targets` their token `ids` may be given, at least one a row; no end token is added to those.
        `grad` keeps the graph: exchanged parameters can be differentiated, those of the vision side too.
        Raises `ValueError` where neither or both are given, or not one per prompt.
        """
        if (targets is None) == (ids is None) or not all(ids or (True,)):
            raise ValueError("answer_logits takes targets, or the ids of at least one token for every prompt.")
        out: dict[int, Tensor] = {}

        def logits_of(batch: Batch) -> Tensor:
            return self.passes.forward(batch, where=batch.predicting()).logits

        with torch.set_grad_enabled(grad):
            rows = self.rows(prompts, targets, ids=ids)
            if grad:
                for batch in self.passes.batches(rows, graph=True):
                    out |= _by_row(batch, with_graph(self.passes, len(batch.rows), partial(logits_of, batch)))
            else:
                self.passes.each(rows, lambda batch: out.update(_by_row(batch, logits_of(batch))))
        return [out[i] for i in range(len(prompts))]

    # Hidden states

    def hidden(self, prompts: Sequence[Promptlike], layer: int, targets: Sequence[str] | None = None) -> Hidden:
        """Return the inputs of a decoder layer for prompts (with their targets), from the cache where they are there.

        While a change that acts below the layer is active, nothing is taken from the cache or put there.
        """
        module = self.decoder_layer(layer)
        items, cached = self.rows(prompts, targets), self.changes.lowest >= layer
        found = ((row.place, self.pauses.states_of(row, layer, self.cache)) for row in (items if cached else ()))
        states: dict[int, Tensor] = {place: kept for place, kept in found if kept is not None}
        missing = [r for r in items if r.place not in states]
        for place, state in self.passes.captured(missing, module).items():
            states[place] = state
            if cached:
                keep_states(self.cache, items[place], layer, state)
        masks = [self.passes.masks_of(r) for r in items]
        image, prompt, answer = (tuple(m[k] for m in masks) for k in range(3))
        ids = tuple(np.array(r.target_ids, dtype=np.int32) for r in items)
        ordered, encoded = tuple(states[r.place] for r in items), tuple(r.encoded for r in items)
        return Hidden(layer, ordered, image, prompt, answer, ids, encoded)

    def keeps(self, prompts: Sequence[Promptlike], targets: Sequence[str], layer: int) -> list[bool]:
        """Return of which rows `hidden` has the states already."""
        cache = self.cache if self.changes.lowest >= layer else ()
        return [key_of(row, layer) in cache for row in self.rows(prompts, targets)]

    def capture(
        self, prompts: Sequence[Promptlike], module: nn.Module, targets: Sequence[str] | None = None
    ) -> list[Tensor]:
        """Return the inputs of a submodule, one unpadded (tokens, features) tensor per prompt."""
        return self.pauses.captured(self.rows(prompts, targets), module)

    def resume(
        self, hidden: Hidden, rows: Sequence[int] | None = None, *, grad: bool = False, answers_only: bool = False
    ) -> list[Tensor]:
        """Return logits (tokens, vocab) per row, computed from the layer of `hidden` on.

        With `answers_only` only those (m, vocab) that predict the m target tokens. `grad` keeps the graph, so that
        exchanged parameters and what hooks add can be differentiated; what each step of a descent repeats is computed
        once. Architecture 5.3: the layers below become identities and the layer's input is replaced.
        """
        out: dict[int, Tensor] = {}

        def logits_of(batch: Batch, memo: dict[Any, Any] | None = None) -> Tensor:
            return self.passes.resumed(batch, hidden, batch.predicting() if answers_only else None, memo)

        # What a descent remembers is of whole batches; on a device that was full there are smaller ones.
        again = grad and answers_only and rows is None and self.passes.room.graph_rows is None
        if grad and not again:
            hidden.memo.clear()
        with torch.set_grad_enabled(grad):
            items, every = hidden.rows(rows), not answers_only
            if grad:
                made = hidden.memo.get("batches") if again else None
                batches = made or tuple(self.passes.batches(items, every=every, graph=True))
                hidden.memo.update({"batches": batches} if again else {})
                for i, batch in enumerate(batches):
                    memo = hidden.memo.setdefault(i, {}) if again else None
                    logits = with_graph(self.passes, len(batch.rows), partial(logits_of, batch, memo))
                    out |= _by_row(batch, logits, every)
            else:
                self.passes.each(
                    items, lambda batch: out.update(_by_row(batch, logits_of(batch), every)), every=every
                )
        return [out[i] for i in range(len(hidden))]

    def resume_score(self, hidden: Hidden, rows: Sequence[int] | None = None, *, top: int = 0) -> list[Scored]:
        """Return what `score` returns, computed from the layer of `hidden` on."""
        out: dict[int, Scored] = {}

        def work(batch: Batch) -> None:
            logits = self.passes.resumed(batch, hidden, None if top else batch.predicting())
            out.update(scored_rows(batch, logits, top))

        with torch.no_grad():
            self.passes.each(hidden.rows(rows), work, every=top > 0)
        return [out[i] for i in range(len(hidden))]

    # Temporary changes

    @contextmanager
    def serving_with(self, cache: ByteCache | None = None, *, timed: bool = False) -> Iterator[ByteCache]:
        """Serve with another cache (a new, empty one by default) instead of the model's own, which is back on exit.

        To serve uncached, clear it before every query: within one query an image passes the vision side once, all
        the same. With `timed` nothing is done that only keeps last digits equal.
        """
        kept = (self.cache, self.reader.cache, self.reader.steady)
        used = self.cache.anew() if cache is None else cache
        self.cache = self.reader.cache = used
        self.reader.steady = not timed
        try:
            yield used
        finally:
            self.cache, self.reader.cache, self.reader.steady = kept

    def hook(
        self, module: nn.Module, fn: HookFn, *, pointwise: bool = False, late: bool = False
    ) -> AbstractContextManager[None]:
        """Run `fn(module, args, output, layout)` after a module in every pass; it may return a new output.

        The hook is gone when the context ends, also after an error. A `pointwise` one treats each token by itself; in
        the last layer's MLP it is then called only for tokens whose logits are wanted. A `late` one leaves all tokens
        before the last prompt token as they are: a descent under it reads those once, where that saves much.
        """
        return self.changes.hook(module, fn, pointwise=pointwise, late=late)

    def swap(self, parameters: Mapping[str, Tensor]) -> AbstractContextManager[None]:
        """Exchange parameters by name (`name_of`) without a copy; the very same tensors are back on exit.

        Raises `ValueError` for an unknown name or another shape, type or device.
        """
        return self.changes.swap(parameters)

    def attention(self, kind: str) -> AbstractContextManager[None]:
        """Compute the decoder's attention by another implementation ("eager", "sdpa") while this lasts, for training.

        Its numbers differ in the last digits: no answer that is compared with others is given inside.
        """
        return self.passes.attention(kind)

    def expecting(self, targets: Mapping[Query, str]) -> AbstractContextManager[None]:
        """While this lasts, `capture` reads queries with the target to be scored, and scoring goes on from there."""
        return self.pauses.expecting({Prompt.of(q).digest: tuple(self.target_ids(t)) for q, t in targets.items()})

    def rows(
        self,
        prompts: Sequence[Promptlike],
        targets: Sequence[str] | None = None,
        rows: Sequence[int] | None = None,
        *,
        ids: Sequence[Sequence[int]] | None = None,
    ) -> list[Row]:
        """Return prompts and targets (or their `ids`) as tokens; `rows` are what `Layout.rows` says (0, 1, ...).

        Raises `ValueError` where there is not one target per prompt.
        """
        asked = [p if isinstance(p, Prompt) else Prompt.of(p) for p in prompts]
        given = targets if ids is None else ids
        if given is not None and len(given) != len(asked):
            raise ValueError(f"{len(given)} targets were given for {len(asked)} prompts; expected one per prompt.")
        encoded = self.reader.read(asked, see=self.changes.lowest > VISION)
        if ids is None:
            ids = [self.target_ids(t) for t in targets] if targets is not None else [()] * len(asked)
        names = range(len(asked)) if rows is None else rows
        return [Row(i, names[i], encoded[i], tuple(ids[i]), asked[i]) for i in range(len(asked))]


def _by_row(batch: Batch, logits: Tensor, every: bool = False) -> dict[int, Tensor]:
    """Return by `place` the logits of each row: at `every` of its tokens, else those that predict its target."""
    # One split: the gradient of a slice per row would each time be as large as the whole.
    if every:
        parts = [part[: len(row)] for part, row in zip(logits.unbind(), batch.rows, strict=True)]
    else:
        parts = list(logits[0].split([max(len(row.target_ids), 1) for row in batch.rows]))
    return {row.place: part for row, part in zip(batch.rows, parts, strict=True)}


class VLMAnswerer:
    """Scores and decodes for fixed prompts; `Layout.rows` is the index within them.

    Decoding goes on from what the last scoring read, where no change of the model began or ended since.
    """

    def __init__(self, vlm: VLM, prompts: tuple[Query | Prompt, ...], from_layer: int | None = None) -> None:
        self.vlm, self.prompts, self.from_layer = vlm, prompts, from_layer
        self._begun: dict[int, Begun] = {}
        self._begun_under = -1

    def score(self, targets: Sequence[str], *, top: int = 0) -> list[Scored]:
        """Teacher-force one target per prompt.

        Rows that `capture` read with an expected target go on from there. With `from_layer` rows whose inputs of that
        layer are kept do; the others are read whole, and theirs are kept.
        """
        self._begun, self._begun_under = {}, self.vlm.changes.version
        every, layer = range(len(self.prompts)), self.from_layer
        out: dict[int, Scored] = {}
        if self.vlm.pauses.active:
            out = self.vlm.pauses.scored(self.vlm.rows(self.prompts, targets), top, self._begun, self.vlm.cache)
        rest = [i for i in every if i not in out]
        kept: set[int] = set()
        if layer is not None:
            known = self.vlm.keeps([self.prompts[i] for i in rest], [targets[i] for i in rest], layer)
            kept = {i for i, there in zip(rest, known, strict=True) if there}
        old, new = [i for i in rest if i in kept], [i for i in rest if i not in kept]
        if old and layer is not None:
            hidden = self.vlm.hidden([self.prompts[i] for i in old], layer, [targets[i] for i in old])
            out |= dict(zip(old, self.vlm.resume_score(hidden, old, top=top), strict=True))
        begun: dict[int, Begun] = {}
        asked, wanted = [self.prompts[i] for i in new], [targets[i] for i in new]
        scored = self.vlm.score(asked, wanted, top=top, rows=new, begun=begun, keep_layer=layer)
        self._begun |= {new[place]: one for place, one in begun.items()}
        out |= dict(zip(new, scored, strict=True))
        return [out[i] for i in every]

    def generate(self, rows: Sequence[int] | None = None, *, max_tokens: int = 16) -> list[str]:
        """Decode greedily for some rows (all by default), in the order given."""
        picked = list(range(len(self.prompts)) if rows is None else rows)
        known = self._begun if self._begun_under == self.vlm.changes.version else {}
        begun, fresh = [r for r in picked if r in known], [r for r in picked if r not in known]
        texts = dict(zip(begun, self.vlm.finish([known[r] for r in begun], max_tokens=max_tokens), strict=True))
        read = self.vlm.generate([self.prompts[r] for r in fresh], max_tokens=max_tokens, rows=fresh)
        texts |= dict(zip(fresh, read, strict=True))
        return [texts[r] for r in picked]
