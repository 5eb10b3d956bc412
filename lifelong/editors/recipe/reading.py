"""What RECIPE's modules read of the frozen model, and where its continuous prompt stands. Trains nothing."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import TYPE_CHECKING, Any

import numpy as np
import torch
from torch import Tensor
from torch.nn.utils.rnn import pad_sequence

from lifelong.editors.recipe.modules import pooled_features
from lifelong.models.vlm import Layout
from streams.types import Control, Prompt, Query

if TYPE_CHECKING:
    from lifelong.models.vlm import VLM

_CHUNK = 256


class FeatureReader:
    """Features of texts (and pictures) from the model's own hidden states at one layer.

    Text: [last; mean; max; min] over the prompt's tokens, read without the picture: 4 h. With `pictures` the question
    is read with its picture, and [mean; max; min] of the image tokens follow, zero where there is none: 7 h.
    Each token's state is brought to mean 0 and variance 1, as an encoder's are that ends in a layer norm: between a
    decoder's layers they are tens of times larger.
    """

    def __init__(self, vlm: VLM, layer: int, *, pictures: bool) -> None:
        self.vlm, self.layer, self.pictures = vlm, layer, pictures
        self.width = (7 if pictures else 4) * vlm.width

    def features(self, queries: Sequence[Query]) -> Tensor:
        """Return (n, width) float32 on the model's device."""
        out = torch.zeros(len(queries), self.width, device=self.vlm.device)
        for low in range(0, len(queries), _CHUNK):
            out[low : low + _CHUNK] = self._features(queries[low : low + _CHUNK])
        return out

    def _features(self, queries: Sequence[Query]) -> Tensor:
        asked = [Prompt.of(q) if self.pictures else Prompt((q.prompt,)) for q in queries]
        hidden = self.vlm.hidden(asked, self.layer)
        pairs = list(zip(hidden.states, hidden.prompt, hidden.image, strict=True))
        words = [_level(s[m.to(s.device)]) for s, m, _ in pairs]
        padded, seen = _pad(words)
        x = pooled_features(padded, seen, torch.stack([w[-1] for w in words]))
        if not self.pictures:
            return x
        looks = torch.zeros(len(asked), 3 * self.vlm.width, device=x.device)
        at = [i for i, (_, _, image) in enumerate(pairs) if bool(image.any())]
        if at:
            padded, seen = _pad([_level(pairs[i][0][pairs[i][2].to(x.device)]) for i in at])
            looks[at] = pooled_features(padded, seen, padded[:, 0])[:, self.vlm.width :]
        return torch.cat([x, looks], dim=1)

    def answers(self, targets: Sequence[str], tokens: int) -> Tensor:
        """Return the input embeddings (n, tokens, width) of the answers' first tokens, zero beyond their end."""
        out = torch.zeros(len(targets), tokens, self.vlm.width, device=self.vlm.device)
        for i, target in enumerate(targets):
            ids = self.vlm.target_ids(target)[:tokens]
            out[i, : len(ids)] = self.vlm.embeddings()[ids].detach().float()
        return out


def _level(states: Tensor) -> Tensor:
    return torch.nn.functional.layer_norm(states.float(), states.shape[-1:])


def _pad(parts: Sequence[Tensor]) -> tuple[Tensor, Tensor]:
    lengths = torch.tensor([len(p) for p in parts], device=parts[0].device)
    padded = pad_sequence(list(parts), batch_first=True)
    return padded, torch.arange(padded.shape[1], device=padded.device)[None] < lengths[:, None]


class Slots:
    """Places for continuous prompt tokens: a special token of the tokenizer, repeated before the question.

    Its embeddings are overwritten, so that what it means does not matter. Where a chat template puts pictures first,
    the slots stand after them and before the words.
    """

    def __init__(self, vlm: VLM, tokens: int) -> None:
        self.vlm, self.tokens = vlm, tokens
        query = Query("Where is it?")
        for name, token in vlm.special_tokens().items():
            self.id, self.written = token, Control(name * tokens)
            plain, slotted = vlm.prompt_ids([query, self.before(query)])
            if int((plain == self.id).sum()) == 0 and int((slotted == self.id).sum()) == tokens:
                return
        raise ValueError(f"recipe: no special token of {vlm.name} can hold the place of a continuous prompt.")

    def before(self, query: Query) -> Prompt:
        """Return a query's prompt with the slots before its words."""
        return Prompt((self.written, *Prompt.of(query).parts))

    def where(self, ids: Tensor, prompt: Tensor) -> Tensor:
        """Return the mask of the slots among ids (..., tokens), of which `prompt` are the prompt's own."""
        return (ids.to(prompt.device) == self.id) & prompt

    def writer(self, written: Mapping[int, Tensor]) -> Callable[..., Any]:
        """Return a hook of the embedding layer that writes row r's continuous prompt (tokens, width) at prefill."""

        def write(module: Any, args: tuple[Any, ...], output: Tensor, layout: Layout) -> Tensor | None:
            rows = layout.rows.tolist()
            here = [i for i, row in enumerate(rows) if row in written]
            if layout.decode_step or not here:
                return None
            ids, at = args[0], torch.zeros_like(layout.prompt)
            at[here] = self.where(ids[here], layout.prompt[here])
            changed = output.clone()
            values = torch.cat([written[rows[i]] for i in here])
            changed[at] = values.to(output.device, output.dtype)
            return changed

        return write


def float_rows(tensor: Tensor) -> np.ndarray:
    """Return a tensor as a float32 array."""
    return tensor.detach().float().cpu().numpy()
