"""What RECIPE's modules read of frozen encoders, and where its continuous prompt stands. Trains nothing."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import TYPE_CHECKING, Any

import numpy as np
import torch
from torch import Tensor
from torch.nn.utils.rnn import pad_sequence

from lifelong.editors.recipe.modules import pooled_features
from lifelong.models.encoders import sentence_encoder
from lifelong.models.vlm import Hidden, Layout
from streams.types import Control, Prompt, Query

if TYPE_CHECKING:
    from lifelong.models.vlm import VLM

_CHUNK = 256


class FeatureReader:
    """Features of texts (and pictures) from the states of a frozen encoder's tokens.

    Text: [pooled; mean; max; min] over the prompt's tokens, 4 h. With `encoder="base"` they are the model's own
    states at one layer, and the pooled one is the last token's, the only one that has seen all others; with another
    encoder they are its last states, and the pooled one is the first token's, as RoBERTa's is. With `pictures` the
    model reads the question with its picture, and its [mean; max; min] of the image tokens follow, zero where there
    is none. Each token's state is brought to mean 0 and variance 1, as an encoder's are that ends in a layer norm:
    between a decoder's layers they are tens of times larger.
    """

    def __init__(self, vlm: VLM, layer: int, *, pictures: bool, encoder: str = "base") -> None:
        self.vlm, self.layer, self.pictures = vlm, layer, pictures
        self.encoder = None if encoder == "base" else sentence_encoder(encoder, vlm)
        self.h = vlm.width if self.encoder is None else self.encoder.width
        self.width = 4 * self.h + (3 * vlm.width if pictures else 0)

    def features(self, queries: Sequence[Query]) -> Tensor:
        """Return (n, width) float32 on the model's device, on the host where it has no room for so many."""
        near_bytes, _ = self.vlm.memory.table_bytes
        fits = 4 * len(queries) * self.width <= near_bytes
        out = torch.zeros(len(queries), self.width, device=self.vlm.device if fits else "cpu")
        for low in range(0, len(queries), _CHUNK):
            out[low : low + _CHUNK] = self._features(queries[low : low + _CHUNK])
        return out

    def _features(self, queries: Sequence[Query]) -> Tensor:
        if self.encoder is not None:
            words = [_level(self.encoder.token_states(q.prompt).to(self.vlm.device)) for q in queries]
            x = _pooled(words, first=True)
            return torch.cat([x, self._looks(self._hidden(queries))], dim=1) if self.pictures else x
        hidden = self._hidden(queries)
        pairs = zip(hidden.states, hidden.prompt, strict=True)
        x = _pooled([_level(s[m.to(s.device)]) for s, m in pairs], first=False)
        return torch.cat([x, self._looks(hidden)], dim=1) if self.pictures else x

    def _hidden(self, queries: Sequence[Query]) -> Hidden:
        asked = [Prompt.of(q) if self.pictures else Prompt((q.prompt,)) for q in queries]
        return self.vlm.hidden(asked, self.layer)

    def _looks(self, hidden: Hidden) -> Tensor:
        """Return [mean; max; min] of each row's image tokens (n, 3 width), zero where there are none."""
        pairs = list(zip(hidden.states, hidden.image, strict=True))
        looks = torch.zeros(len(pairs), 3 * self.vlm.width, device=pairs[0][0].device)
        at = [i for i, (_, image) in enumerate(pairs) if bool(image.any())]
        if at:
            states = [_level(pairs[i][0][pairs[i][1].to(looks.device)]) for i in at]
            looks[at] = _pooled(states, first=True)[:, self.vlm.width :]
        return looks

    def answers(self, targets: Sequence[str], tokens: int) -> Tensor:
        """Return the input embeddings (n, tokens, width) of the answers' first tokens, zero beyond their end."""
        out = torch.zeros(len(targets), tokens, self.vlm.width, device=self.vlm.device)
        for i, target in enumerate(targets):
            ids = self.vlm.target_ids(target)[:tokens]
            out[i, : len(ids)] = self.vlm.embeddings()[ids].detach().float()
        return out


def _pooled(words: Sequence[Tensor], *, first: bool) -> Tensor:
    """Return the pooled features (n, 4 h) of rows of token states; the pooled state is a row's first or last."""
    padded, seen = _pad(words)
    return pooled_features(padded, seen, torch.stack([w[0 if first else -1] for w in words]))


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
