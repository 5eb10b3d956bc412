"""Decoding writes one row a step: nothing is copied, and every token is that of a cache that is joined."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import Tensor
from transformers.cache_utils import DynamicLayer, DynamicSlidingWindowLayer

from lifelong.models.families.building import build_family
from lifelong.models.passes import decode
from lifelong.models.passes.spare import cache_of, make_room
from lifelong.models.vlm import VLM
from streams.types import Query

WORDS = ["What is this?", "A red owl in the north of the town, which nobody has seen?", "Who?", "And the other one?"]


def drawn(rows: int, tokens: int) -> tuple[Tensor, Tensor]:
    return torch.randn(rows, 2, tokens, 4), torch.randn(rows, 2, tokens, 4)


@pytest.mark.parametrize("kind", [DynamicLayer, lambda: DynamicSlidingWindowLayer(6)], ids=["every", "window"])
def test_a_layer_with_spare_places_gives_what_a_joined_one_gives(kind: Callable[[], DynamicLayer]) -> None:
    torch.manual_seed(0)
    ours, theirs = cache_of([]), cache_of([])
    ours.layers.append(kind())
    theirs.layers.append(kind())
    first = drawn(4, 9)
    for past in (ours, theirs):
        past.update(*first, 0)
    make_room(ours, 3)
    for step in range(6):  # three more than there is room for
        if step == 2:
            for past in (ours, theirs):
                past.batch_select_indices(torch.tensor([0, 2]))
        assert ours.get_mask_sizes(1, 0) == theirs.get_mask_sizes(1, 0)
        new = drawn(4 if step < 2 else 2, 1)
        for one, other in zip(ours.update(*new, 0), theirs.update(*new, 0), strict=True):
            assert torch.equal(one, other)
        assert ours.get_seq_length() == theirs.get_seq_length()


@pytest.mark.parametrize("kind", [DynamicLayer, lambda: DynamicSlidingWindowLayer(6)], ids=["every", "window"])
def test_steps_within_the_room_write_in_one_place(kind: Callable[[], DynamicLayer]) -> None:
    past = cache_of([])
    past.layers.append(kind())
    past.update(*drawn(2, 9), 0)
    make_room(past, 5)
    steps = [past.update(*drawn(2, 1), 0) for _ in range(5)]
    places = {t.untyped_storage().data_ptr() for pair in steps for t in pair}
    assert len(places) == 2  # one of the keys, one of the values
    assert past.update(*drawn(2, 1), 0)[0].untyped_storage().data_ptr() not in places


def test_a_cache_is_made_of_keys_and_values_without_a_copy() -> None:
    keys, values = drawn(2, 3)
    past = cache_of([(keys, values)])
    layer: Any = past.layers[0]
    assert layer.keys is keys and past.get_seq_length() == 3
    past.update(*drawn(2, 1), 0)
    assert keys.shape[2] == 3 and past.get_seq_length() == 4


@pytest.mark.parametrize("name", ["llava", "llava_sliding", "gemma3", "qwen2_vl", "blip2_opt"])
def test_families_say_the_same_to_the_last_digit(name: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Equal logits at every step, in a batch whose rows end at different steps."""
    vlm = VLM.load(str(build_family(name, tmp_path / name)), check=False)
    logits: list[Tensor] = []
    vlm.model.get_output_embeddings().register_forward_hook(lambda *called: logits.append(called[2]))
    queries = [Query(words) for words in WORDS]
    said = vlm.generate(queries, max_tokens=9)
    ours, moved = list(logits), []
    logits.clear()
    monkeypatch.setattr(decode, "make_room", lambda past, tokens: moved.append(tokens))
    assert vlm.generate(queries, max_tokens=9) == said and any(said)
    assert moved and len(ours) == len(logits) > 2
    assert all(torch.equal(one, other) for one, other in zip(ours, logits, strict=True))
