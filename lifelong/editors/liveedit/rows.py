"""Hidden states as padded batches for LiveEdit's modules: who is image, prompt and answer. Trains nothing."""

from __future__ import annotations

from dataclasses import dataclass, replace

import torch
from torch import Tensor
from torch.nn.utils.rnn import pad_sequence

from lifelong.models.vlm import Hidden

POSITIONS = 16


@dataclass(frozen=True)
class Rows:
    """Prompt states and what the visual branch looks at, padded: (batch, tokens, width) and (batch, tokens) bool.

    What is looked at are the image tokens, or the prompt's own where there is no image.
    """

    prompt: Tensor
    prompt_seen: Tensor
    seen: Tensor
    seen_seen: Tensor


def _pad(parts: list[Tensor]) -> tuple[Tensor, Tensor]:
    lengths = torch.tensor([len(p) for p in parts], device=parts[0].device)
    padded = pad_sequence(parts, batch_first=True)
    return padded, torch.arange(padded.shape[1], device=padded.device)[None] < lengths[:, None]


def routing_view(hidden: Hidden, device: torch.device) -> Rows:
    """Return the routing view of hidden states, in float32; answer tokens are never part of it."""
    prompts, looked = [], []
    for states, image, prompt in zip(hidden.states, hidden.image, hidden.prompt, strict=True):
        states = states.to(device).float()
        prompts.append(states[prompt])
        looked.append(states[image] if bool(image.any()) else states[prompt])
    return Rows(*_pad(prompts), *_pad(looked))


def mixed_rows(rows: Rows, other: Tensor, share: float) -> Rows:
    """Return rows whose looked-at states are a share of their own and the rest of row `other` (batch,) long."""
    both = rows.seen_seen & rows.seen_seen[other]
    seen = torch.where(both[..., None], share * rows.seen + (1 - share) * rows.seen[other], rows.seen)
    return replace(rows, seen=seen)


def expert_inputs(hidden: Hidden, embeddings: Tensor, device: torch.device) -> tuple[Tensor, Tensor, Tensor, Tensor]:
    """Return states, mask, answer-token embeddings and positions of whole edit rows, padded.

    Positions: 1 at the token that predicts the answer's first one, 2, 3, ... at the answer's tokens, 0 elsewhere;
    padding is masked. `embeddings` (vocabulary, width).
    """
    states, tokens, places = [], [], []
    for i, state in enumerate(hidden.states):
        answer = hidden.answer[i]
        ids = torch.as_tensor(hidden.target_ids[i], dtype=torch.long)
        place = torch.zeros(len(state), dtype=torch.long)
        count = int(answer.sum())
        place[answer] = torch.arange(2, 2 + count).clamp(max=POSITIONS + 1)
        place[len(state) - count - 1] = 1
        token = torch.zeros(len(state), embeddings.shape[1])
        token[answer] = embeddings[ids[-count:]].float().cpu() if count else token[answer]
        states.append(state.to(device).float())
        tokens.append(token.to(device))
        places.append(place.to(device))
    padded, seen = _pad(states)
    return padded, seen, pad_sequence(tokens, batch_first=True), pad_sequence(places, batch_first=True)
