"""A trained scope classifier: how likely a query lies in the scope of an edit (arXiv 2206.06520, 2411.12790).

rho = exp(-scale ||z_edit - z_query||^2), where z is made of one item's own words and picture only, so that a stored
key never moves. Words and pictures pass a frozen encoder and then a trained head (the papers tune the encoder too).
Knows queries and frozen encoders; nothing of banks, edits or answers. `training` trains it.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import TYPE_CHECKING, Literal

import torch
from torch import Tensor, nn
from torch.nn import functional as F
from torch.nn.utils.rnn import pad_sequence

from lifelong.models.encoders import image_encoder, text_encoder
from streams.types import ImageRef, Prompt, Query

if TYPE_CHECKING:
    from lifelong.models.vlm import VLM

Fusion = Literal["dot", "concatenation", "cross-attention", "text"]
PLACES = 4
"""Columns that say where in its picture a patch lies: the sine and cosine of one and two turns."""
CHUNK = 64
LOOK = "What is this?"


def rho(squared_distance: Tensor, scale: float = 1.0) -> Tensor:
    """Return the probability of being in scope: 1 at distance 0, 0.5 at a squared distance of ln 2 / scale.

    >>> rho(torch.tensor([0.0]))
    tensor([1.])
    """
    return torch.exp(-scale * squared_distance)


def squared_distances(left: Tensor, right: Tensor) -> Tensor:
    """Return all squared Euclidean distances of (n, width) and (m, width): (n, m), differentiable at 0."""
    return (left.square().sum(1)[:, None] + right.square().sum(1)[None] - 2 * left @ right.T).clamp(min=0)


def _attend(asking: Tensor, offered: Tensor, values: Tensor, seen: Tensor) -> Tensor:
    """Return softmax(asking offered^T) values per item, over what is seen; zero where an item shows nothing.

    asking (n, width), offered and values (n, patches, width), seen (n, patches) bool; a zero `asking` is the mean.
    """
    scores = torch.einsum("nw,npw->np", asking, offered)
    scores = scores.masked_fill(~seen, -math.inf)
    most = scores.amax(1, keepdim=True)
    shares = torch.exp(scores - torch.where(most.isfinite(), most, torch.zeros_like(most))) * seen
    shares = shares / shares.sum(1, keepdim=True).clamp(min=1e-12)
    return torch.einsum("np,npw->nw", shares, values)


def fuse(fusion: Fusion, text: Tensor, patches: Tensor, seen: Tensor) -> Tensor:
    """Return z: the words alone, or [text; picture], (n, width) or (n, 2 width).

    `dot`: the picture is what the words attend to, softmax(t I^T) I with I the item's own patches. `concatenation`:
    the mean of its patches. With one patch both are that patch. Cross-attention has weights of its own: see
    `ScopeClassifier`.
    """
    if fusion == "text":
        return text
    asking = text if fusion == "dot" else torch.zeros_like(text)
    return torch.cat([text, _attend(asking, patches, patches, seen)], 1)


class ScopeHead(nn.Module):
    """A linear map with a residual correction that starts at zero, and a trained scale: (..., in) to (..., width)."""

    def __init__(self, given: int, width: int) -> None:
        super().__init__()
        self.straight = nn.Linear(given, width)
        self.up, self.down = nn.Linear(given, 2 * width), nn.Linear(2 * width, width)
        nn.init.normal_(self.straight.weight, std=given**-0.5)
        nn.init.zeros_(self.straight.bias)
        nn.init.zeros_(self.down.weight)
        nn.init.zeros_(self.down.bias)
        # Unrelated items then lie at a squared distance of about 8: rho is about 0.0003.
        self.log_scale = nn.Parameter(torch.tensor(math.log(2 / math.sqrt(width))))

    def forward(self, rows: Tensor) -> Tensor:
        """Return the rows in the space of scope."""
        return self.log_scale.exp() * (self.straight(rows) + self.down(F.gelu(self.up(rows))))


class ScopeClassifier(nn.Module):
    """From frozen features to z: the trained half of the scope classifier."""

    def __init__(self, text_width: int, image_width: int, *, width: int, fusion: Fusion) -> None:
        super().__init__()
        self.fusion: Fusion = fusion
        self.width = width if fusion == "text" else 2 * width
        self.text = ScopeHead(text_width, width)
        self.target = nn.Linear(text_width, width, bias=False)
        nn.init.zeros_(self.target.weight)
        if fusion != "text":
            self.image = ScopeHead(image_width + PLACES, width)
        if fusion == "cross-attention":
            self.asks, self.offers, self.gives = (nn.Linear(width, width, bias=False) for _ in range(3))

    def forward(self, text: Tensor, patches: Tensor, seen: Tensor, target: Tensor | None = None) -> Tensor:
        """Return z (n, width) of text (n, text width) and patches (n, most, image width + PLACES), seen (n, most).

        The edit's side adds what a linear map, zero at first, makes of the words of its target.
        """
        words = self.text(text)
        if target is not None:
            words = words + self.text.log_scale.exp() * self.target(target)
        if self.fusion == "text":
            return words
        looks = patches.new_zeros(*seen.shape, words.shape[1])
        looks[seen] = self.image(patches[seen])  # padding costs nothing
        if self.fusion == "cross-attention":
            asked = self.asks(words) / math.sqrt(words.shape[1])
            return torch.cat([words, _attend(asked, self.offers(looks), self.gives(looks), seen)], 1)
        return fuse(self.fusion, words, looks, seen)


class ScopeFeatures:
    """The frozen half: words and pictures as rows whose mean square is 1."""

    def __init__(self, vlm: VLM, words: str, pictures: str | None) -> None:
        self.vlm = vlm
        self.encoder = text_encoder(words, vlm)
        self.text_width = self.encoder.width
        self.pictures = image_encoder(pictures, vlm) if pictures not in (None, "base") else None
        self.image_width = self.pictures.width if self.pictures is not None else vlm.width

    def words(self, texts: Sequence[str]) -> Tensor:
        """Return (n, text width)."""
        return torch.from_numpy(self.encoder.encode(texts) * math.sqrt(self.text_width))

    def patches(self, refs: Sequence[ImageRef]) -> list[Tensor]:
        """Return (patches, image width + PLACES) per picture: the tokens the base reads, or one vector."""
        if self.pictures is not None:
            rows = torch.from_numpy(self.pictures.encode(refs))
            return [_placed(row[None]) for row in rows]
        out: list[Tensor] = []
        for start in range(0, len(refs), CHUNK):
            hidden = self.vlm.hidden([Prompt((ref, LOOK)) for ref in refs[start : start + CHUNK]], 0)
            pairs = zip(hidden.states, hidden.image, strict=True)
            out += [_placed(s[m.to(s.device)].float().cpu()) for s, m in pairs]
        return out

    def shown(self, queries: Sequence[Query]) -> tuple[Tensor, Tensor]:
        """Return the patches of each query's picture, padded, and which are seen; nothing where there is none."""
        refs = {q.image.digest: q.image for q in queries if q.image is not None}
        found = dict(zip(refs, self.patches(list(refs.values())), strict=True))
        return padded([found[q.image.digest] if q.image is not None else None for q in queries], self.image_width)


def _placed(rows: Tensor) -> Tensor:
    """Scale patches to a mean square of 1 and add the columns that say where each lies."""
    rows = rows / rows.square().mean(1, keepdim=True).sqrt().clamp(min=1e-12)
    at = 2 * math.pi * (torch.arange(len(rows)) + 0.5)[:, None] / len(rows)
    return torch.cat([rows, torch.sin(at), torch.cos(at), torch.sin(2 * at), torch.cos(2 * at)], 1)


def padded(parts: Sequence[Tensor | None], image_width: int) -> tuple[Tensor, Tensor]:
    """Return patches (n, most, image width + PLACES) and which are real; None is an item without a picture."""
    nothing = torch.zeros(0, image_width + PLACES)
    rows = [nothing if part is None else part.float() for part in parts]
    lengths = torch.tensor([len(row) for row in rows], dtype=torch.long)
    most = max(int(lengths.max()) if len(rows) else 0, 1)
    whole = pad_sequence([*rows, torch.zeros(most, image_width + PLACES)], batch_first=True)[:-1]
    return whole, torch.arange(most)[None] < lengths[:, None]
