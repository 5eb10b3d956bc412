"""LiveEdit's trained parts: feature extractors, vision sentinel and expert generator (arXiv 2411.15432, section 4).

Knows hidden states and masks; nothing of queries, banks or the model they come from. Notation of the paper: phi are
visual features, psi text features, a hat the edit side, a bar the input side, Theta the sentinel, (U, V) an expert.
"""

from __future__ import annotations

import math

import torch
from torch import Tensor, nn


def _latents(rows: int, width: int) -> nn.Parameter:
    return nn.Parameter(nn.init.kaiming_normal_(torch.empty(rows, width)))


class CrossAttention(nn.Module):
    """Multi-head cross attention without an output projection: x (batch, n, width) reads y (batch, tokens, d).

    The value width may differ from the query's; `seen` (batch, tokens) bool marks the tokens that may be read.
    """

    def __init__(self, width: int, d: int, value_width: int, heads: int) -> None:
        super().__init__()
        self.heads = heads
        self.query = nn.Linear(width, width)
        self.key = nn.Linear(d, width)
        self.value = nn.Linear(d, value_width)

    def forward(self, x: Tensor, y: Tensor, seen: Tensor) -> Tensor:
        """Return (batch, n, value width)."""

        def split(t: Tensor) -> Tensor:  # (batch, heads, tokens, width / heads)
            return t.view(t.shape[0], t.shape[1], self.heads, -1).transpose(1, 2)

        scale = 1 / math.sqrt(self.query.out_features / self.heads)
        # Written out: for so few queries the fused kernel gains nothing, and its bfloat16 gradient is very slow.
        scores = split(self.query(x)) @ split(self.key(y)).transpose(2, 3) * scale
        mixed = scores.masked_fill(~seen[:, None, None, :], float("-inf")).softmax(-1) @ split(self.value(y))
        return mixed.transpose(1, 2).flatten(2)


class VisualBranch(nn.Module):
    """Read k visual features: the prompt specialises learned queries, which then read the image tokens."""

    guided = True  # False: the learned queries read the image as they are (ablation)

    def __init__(self, d: int, width: int, k: int, heads: int) -> None:
        super().__init__()
        self.layernorm = nn.LayerNorm(d)
        self.query_vectors = _latents(k, width)
        self.prompt_cross_attention = CrossAttention(width, d, width, heads)
        self.image_cross_attention = CrossAttention(width, d, width, heads)

    def forward(self, prompt: Tensor, prompt_seen: Tensor, image: Tensor, image_seen: Tensor) -> Tensor:
        """Return (batch, k, width) from prompt and image states (batch, tokens, d)."""
        return self.look(self.guide(prompt, prompt_seen), image, image_seen)

    def guide(self, prompt: Tensor, prompt_seen: Tensor) -> Tensor:
        """Return the learned queries as a prompt specialises them, (batch, k, width)."""
        queries = self.query_vectors.expand(len(prompt), -1, -1)
        if not self.guided:
            return queries
        return self.prompt_cross_attention(queries, self.layernorm(prompt), prompt_seen)

    def look(self, guided: Tensor, image: Tensor, image_seen: Tensor) -> Tensor:
        """Return what specialised queries read in image states, (batch, k, width)."""
        return self.image_cross_attention(guided, self.layernorm(image), image_seen)


class TextBranch(nn.Module):
    """Read k text features of the prompt with learned queries."""

    def __init__(self, d: int, width: int, k: int, heads: int) -> None:
        super().__init__()
        self.layernorm = nn.LayerNorm(d)
        self.query_vectors = _latents(k, width)
        self.prompt_cross_attention = CrossAttention(width, d, width, heads)

    def forward(self, prompt: Tensor, prompt_seen: Tensor) -> Tensor:
        """Return (batch, k, width) from prompt states (batch, tokens, d)."""
        return self.prompt_cross_attention(
            self.query_vectors.expand(len(prompt), -1, -1), self.layernorm(prompt), prompt_seen
        )


class Extractor(nn.Module):
    """One side's feature extractor: a visual and a text branch with separate weights."""

    def __init__(self, d: int, width: int, k: int, heads: int) -> None:
        super().__init__()
        self.visual_branch = VisualBranch(d, width, k, heads)
        self.text_branch = TextBranch(d, width, k, heads)


class PaperGenerator(nn.Module):
    """The paper's generator of one expert matrix: learned rows attend once to [image, prompt, answer] states."""

    def __init__(self, d: int, width: int, rank: int, heads: int, scale: float) -> None:
        super().__init__()
        self.factor = 1 / (scale * math.sqrt(rank))
        self.layernorm = nn.LayerNorm(d)
        self.latent_queries = _latents(rank, width)
        self.cross_attention = CrossAttention(width, d, d, heads)

    def forward(self, states: Tensor, seen: Tensor) -> Tensor:
        """Return (batch, rank, d) from states (batch, tokens, d)."""
        latent = self.latent_queries.expand(len(states), -1, -1)
        return self.factor * self.cross_attention(latent, self.layernorm(states), seen)


class CopyingGenerator(nn.Module):
    """A generator that sees which tokens to write: answer embeddings and positions join the keys.

    Deviation from the paper, whose generator sees hidden states only. On a decoder of six layers those hold too
    little of the answer's tokens to copy them, and the paper's form did not learn (design notes: reliability .02
    against .93). Two blocks of cross attention and MLP replace the single cross attention.
    """

    def __init__(self, d: int, width: int, rank: int, heads: int, scale: float, positions: int = 16) -> None:
        super().__init__()
        self.factor = 1 / (scale * math.sqrt(rank))
        self.state_norm, self.token_norm = nn.LayerNorm(d), nn.LayerNorm(d)
        self.position = nn.Embedding(
            positions + 2, d
        )  # 0: not an answer token; 1: predicts the first; 2...: the answer
        self.latent_queries = _latents(2 * rank, width)
        self.reads = nn.ModuleList(CrossAttention(width, d, width, heads) for _ in range(2))
        self.norms = nn.ModuleList(nn.LayerNorm(width) for _ in range(2))
        self.thinks = nn.ModuleList(
            nn.Sequential(nn.LayerNorm(width), nn.Linear(width, 2 * width), nn.GELU(), nn.Linear(2 * width, width))
            for _ in range(2)
        )
        self.out = nn.ModuleList(nn.Sequential(nn.LayerNorm(width), nn.Linear(width, d)) for _ in range(2))

    def forward(self, states: Tensor, seen: Tensor, tokens: Tensor, position: Tensor) -> tuple[Tensor, Tensor]:
        """Return U and V, (batch, rank, d) each.

        `states`, `tokens` (batch, tokens, d): hidden states, and input embeddings where an answer token stands (zero
        elsewhere); `position` (batch, tokens) long as in the constructor.
        """
        keys = self.state_norm(states) + self.token_norm(tokens) * (position > 1)[..., None] + self.position(position)
        x = self.latent_queries.expand(len(states), -1, -1)
        for read, norm, think in zip(self.reads, self.norms, self.thinks, strict=True):
            x = x + read(norm(x), keys, seen)
            x = x + think(x)
        u, v = x.chunk(2, dim=1)
        return self.factor * self.out[0](u), self.factor * self.out[1](v)


class LiveEditModules(nn.Module):
    """Everything that `fit` trains. `d` is the decoder's width, `width` the modules' (the paper's d_m)."""

    def __init__(
        self,
        d: int,
        *,
        width: int,
        k: int,
        rank: int,
        heads: int,
        scale: float,
        image_tokens: int,
        generator: str = "copying",
        prompt_guided: bool = True,
        soft_routing: bool = True,
    ) -> None:
        super().__init__()
        self.width, self.rank, self.soft_routing = width, rank, soft_routing
        self.edit_side = Extractor(d, width, k, heads)
        self.input_side = Extractor(d, width, k, heads)
        # Both sides begin alike, so that a score begins as an inner product, also of what training never shows.
        self.input_side.load_state_dict(self.edit_side.state_dict())
        self.edit_side.visual_branch.guided = self.input_side.visual_branch.guided = prompt_guided
        self.vision_sentinel = _latents(image_tokens, d)
        self.residual_layernorm = nn.LayerNorm(d)
        self.expert_generator_u: PaperGenerator | None = None
        self.expert_generator_v: PaperGenerator | None = None
        self.expert_generator: CopyingGenerator | None = None
        if generator == "paper":
            self.expert_generator_u = PaperGenerator(d, width, rank, heads, scale)
            self.expert_generator_v = PaperGenerator(d, width, rank, heads, scale)
        else:
            self.expert_generator = CopyingGenerator(d, width, rank, heads, scale)

    def experts(self, states: Tensor, seen: Tensor, tokens: Tensor, position: Tensor) -> tuple[Tensor, Tensor]:
        """Return (U, V), (batch, rank, d) each, from states of [image, prompt, answer] (batch, tokens, d)."""
        if self.expert_generator is not None:
            return self.expert_generator(states, seen, tokens, position)
        assert self.expert_generator_u is not None and self.expert_generator_v is not None
        return self.expert_generator_u(states, seen), self.expert_generator_v(states, seen)

    def seen_and_sentinel(
        self, prompt: Tensor, prompt_seen: Tensor, image: Tensor, image_seen: Tensor
    ) -> tuple[Tensor, Tensor]:
        """Return the input side's visual features of images and of the sentinel under each prompt.

        Both (batch, k, width); the prompt specialises the queries once for the two.
        """
        branch = self.input_side.visual_branch
        guided = branch.guide(prompt, prompt_seen)
        sentinel = self.vision_sentinel.expand(len(prompt), -1, -1)
        everything = torch.ones(sentinel.shape[:2], dtype=torch.bool, device=prompt.device)
        return branch.look(guided, image, image_seen), branch.look(guided, sentinel, everything)

    def similarity(self, left: Tensor, right: Tensor) -> Tensor:
        """Return (n, m) scores of features (n, k, width) and (m, k, width): the mean inner product over k, scaled."""
        return (left.flatten(1) @ right.flatten(1).T) / (left.shape[1] * math.sqrt(self.width))

    def residual(self, states: Tensor, u: Tensor, v: Tensor, weights: Tensor) -> Tensor:
        """Return sum_i w_i ReLU(LN(h) U_i^T) V_i (Eq. 6) for states (batch, tokens, d), in their type.

        `u`, `v` (batch, experts, rank, d) and `weights` (batch, experts): every row has its own experts; a weight of
        zero is no expert. The layer norm is in the published code, not in Eq. 6. Computed in float32, as the experts
        were made, whatever the model's type.
        """
        u, v, weights = u.float(), v.float(), weights.float()
        read = torch.relu(self.residual_layernorm(states.float()) @ u.flatten(1, 2).transpose(1, 2))
        read = read * weights.repeat_interleave(self.rank, dim=1)[:, None, :]
        return (read @ v.flatten(1, 2)).to(states.dtype)
