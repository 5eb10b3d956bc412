"""What transformers alone gives for a question: the official template's ids, plain forward passes, `generate`.

Nothing of the project's passes, batches, caches or features is used here, so that a mistake in them shows. One
question at a time, without padding. Knows a model and its processor; nothing of the door.
"""

from __future__ import annotations

import inspect
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property, partial
from typing import Any

import torch
from PIL.Image import Image, new
from torch import Tensor
from transformers import GenerationConfig
from transformers.utils.generic import ModelOutput

_NO_INPUTS = ("labels", "num_patches", "rows", "cols")


@dataclass(frozen=True)
class Question:
    """One user turn: texts and pictures in order, and the answer's token ids that are scored after it."""

    parts: tuple[str | Image, ...]
    target: tuple[int, ...]

    @property
    def pictures(self) -> list[Image]:
        """The pictures in order."""
        return [part for part in self.parts if not isinstance(part, str)]


class ModelReference:
    """A model and its processor, asked as transformers' own examples ask them; `template` writes the prompts."""

    def __init__(self, model: Any, processor: Any, template: Any) -> None:
        self.model, self.processor, self.template = model, processor, template
        takes = inspect.signature(model.forward).parameters
        self._takes = None if any(p.kind is p.VAR_KEYWORD for p in takes.values()) else set(takes)
        needed = takes.get("pixel_values")
        self._needs_picture = needed is not None and needed.default is needed.empty

    def inputs(self, question: Question) -> dict[str, Tensor]:
        """Return what the official template and processor make of a question, (1, tokens) and the like."""
        content: list[dict[str, Any]] = [
            {"type": "text", "text": p} if isinstance(p, str) else {"type": "image", "image": p}
            for p in question.parts
        ]
        try:
            given = self._processed(content)
        except ValueError:  # of a processor that insists on a picture
            if question.pictures:
                raise
            given = self._without(self._processed([{"type": "image", "image": new("RGB", (32, 32))}, *content]))
        kept = {n: v for n, v in given.items() if isinstance(v, Tensor) and n not in _NO_INPUTS}
        dtype, device = self.model.dtype, self.model.device
        return {n: (v.to(dtype) if v.is_floating_point() else v).to(device) for n, v in kept.items()}

    def _processed(self, content: list[dict[str, Any]]) -> Mapping[str, Any]:
        return self.processor.apply_chat_template(
            [{"role": "user", "content": content}],
            chat_template=self.template,
            add_generation_prompt=True,
            tokenize=True,
            return_dict=True,
            return_tensors="pt",
        )

    def _without(self, given: Mapping[str, Any]) -> dict[str, Any]:
        """Return inputs with their picture, and the tokens that stand for it, taken out."""
        words = given["input_ids"][0] != self.processor.image_token_id
        return {n: v[:, words] for n, v in given.items() if isinstance(v, Tensor) and v.shape == (1, len(words))}

    def layer_inputs(self, question: Question, layers: Mapping[int, Any]) -> tuple[dict[int, Tensor], Any]:
        """Return what decoder layers take (tokens, width) of prompt and target, and the pass's `hidden_states`."""
        found: dict[int, Tensor] = {}
        handles = [
            layer.register_forward_pre_hook(partial(_keep, found, i), with_kwargs=True) for i, layer in layers.items()
        ]
        try:
            out = self.forward(self.answered(question, question.target), output_hidden_states=True)
        finally:
            for handle in handles:
                handle.remove()
        return found, out.hidden_states

    def answered(self, question: Question, ids: Sequence[int]) -> dict[str, Any]:
        """Return the inputs with an answer's ids behind the prompt, as `generate` would go on with them."""
        inputs: dict[str, Any] = self.inputs(question)
        prompt = inputs.pop("input_ids")
        for _ in ids:
            inputs = self.model._update_model_kwargs_for_generation(ModelOutput(), inputs, False)
        answer = torch.tensor([list(ids)], dtype=torch.long, device=prompt.device)  # (1, answer)
        return {"input_ids": torch.cat([prompt, answer], 1)} | inputs

    def answer_ids(self, answer: str) -> list[int] | None:
        """Return the ids that the official template writes for an answer after a question; None where none."""
        user = {"role": "user", "content": [{"type": "text", "text": "Why?"}]}
        said = {"role": "assistant", "content": [{"type": "text", "text": answer}]}
        write = partial(self.processor.apply_chat_template, chat_template=self.template, tokenize=False)
        try:
            texts = [write([user], add_generation_prompt=True), write([user, said])]
        except Exception:  # a template that knows no answers
            return None
        bos = self.processor.tokenizer.bos_token
        asked, told = (
            self.processor.tokenizer(t, add_special_tokens=not (bos and t.startswith(bos)))["input_ids"]
            for t in texts
        )
        return told[len(asked) :] if told[: len(asked)] == asked and answer in texts[1] else None

    def forward(self, inputs: Mapping[str, Any], **more: Any) -> Any:
        """Run the model without a cache; a family that insists on a picture is asked by its language model."""
        self.forget()
        if self._needs_picture and "pixel_values" not in inputs:
            words = {n: inputs[n] for n in ("input_ids", "attention_mask")}
            return self.language(**words, use_cache=False, **more)
        given = {n: v for n, v in inputs.items() if self._takes is None or n in self._takes}
        out = self.model(**given, use_cache=False, **more)
        return getattr(out, "language_model_outputs", None) or out

    def logits(self, question: Question) -> Tensor:
        """Return the logits (tokens, vocab) of prompt and target."""
        return self.forward(self.answered(question, question.target)).logits[0]

    def logprobs(self, question: Question) -> Tensor:
        """Return the log-probabilities (m,) of the target's tokens: labels shifted by one, nothing else counted."""
        m = len(question.target)
        picked = torch.tensor(question.target, device=self.model.device)[:, None]
        logits = self.logits(question)[-m - 1 : -1].float()  # (m, vocab)
        return logits.log_softmax(-1).gather(1, picked)[:, 0]

    def generated(self, question: Question, tokens: int, ends: Sequence[int], *, cache: bool) -> list[int]:
        """Return the ids that `generate` picks greedily, up to an end token."""
        self.forget()
        inputs = self.inputs(question)
        # Plain greedy decoding: what a folder's generation_config.json adds to it (penalties, bans) is left out.
        texts = getattr(self.model.generation_config, "stop_strings", None)
        plain = GenerationConfig(eos_token_id=list(ends), pad_token_id=ends[0], stop_strings=texts)
        wanted = {"max_new_tokens": tokens, "do_sample": False, "num_beams": 1, "use_cache": cache}
        if texts:
            wanted["tokenizer"] = self.processor.tokenizer  # which tells where such a text is complete
        length, asked = inputs["input_ids"].shape[1], self.model
        if self._needs_picture and "pixel_values" not in inputs:
            inputs, asked = {n: inputs[n] for n in ("input_ids", "attention_mask")}, self.language
        models = {id(m): m for m in (self.model, getattr(self.model, "language_model", self.model))}.values()
        before = [(m, m.generation_config) for m in models if hasattr(m, "generation_config")]
        try:
            for model, _ in before:
                model.generation_config = plain
            out = asked.generate(**inputs, **wanted)
        finally:
            for model, config in before:
                model.generation_config = config
        ids = out[0].tolist()
        return ids[length:] if ids[:length] == inputs["input_ids"][0].tolist() else ids

    def forget(self) -> None:
        """Take away what a model keeps of the last prompt."""
        for module in self._keeps:
            module.rope_deltas = None

    @property
    def language(self) -> Any:
        """The language model with its head, of a family that has one inside."""
        return self.model.language_model

    @cached_property
    def _keeps(self) -> list[Any]:
        return [m for m in self.model.modules() if hasattr(m, "rope_deltas")]


def _keep(found: dict[int, Tensor], i: int, _: Any, args: tuple[Any, ...], kwargs: dict[str, Any]) -> None:
    states = kwargs["hidden_states"] if "hidden_states" in kwargs else args[0]
    found[i] = (states if states.dim() == 2 else states[0]).detach().clone()
