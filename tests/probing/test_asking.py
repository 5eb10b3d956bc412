"""An answer that follows from scoring is the one that decoding gives, whatever the target is."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import Any

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from lifelong.models.vlm import VLM, Layout, Scored
from lifelong.probing.asking import Ask, replies
from lifelong.probing.limits import MOST_TOKENS, UnaskableError, answer_limit, check_askable
from streams.types import ImageRef, Probe, Query

PIECES = ["</s>", "<image>", "\n", " ", "a", "Bee", "\r", "\u2028", "é", "e\u0301"]
targets = st.lists(st.sampled_from(PIECES), min_size=1, max_size=8).map("".join)
ASKED = Query("Who?")


@contextmanager
def saying(vlm: VLM, ids: Sequence[int]) -> Iterator[None]:
    """The model picks these tokens one after another, and its end token then."""
    wanted = torch.tensor([*ids, *[vlm.end_id] * 64])

    def force(module: Any, args: Any, output: torch.Tensor, layout: Layout) -> torch.Tensor:
        if layout.decode_step:
            at = torch.full(output.shape[:2], layout.decode_step)
        else:
            at = (torch.arange(output.shape[1])[None] - layout.last_prompt[:, None]).clamp(min=0)
        return torch.nn.functional.one_hot(wanted[at], output.shape[-1]).float()

    assert vlm.structure.head is not None
    with vlm.hook(vlm.structure.head, force):
        yield


class Afresh:
    """Answers one question, decoding from its beginning, as the forced tokens need it."""

    def __init__(self, vlm: VLM) -> None:
        self.vlm = vlm

    def score(self, targets: Sequence[str], *, top: int = 0) -> list[Scored]:
        return self.vlm.score([ASKED] * len(targets), targets, top=top)

    def generate(self, rows: Sequence[int] | None = None, *, max_tokens: int = 16) -> list[str]:
        return self.vlm.generate([ASKED] * len(rows or (0,)), max_tokens=max_tokens)


@settings(deadline=None, max_examples=40)
@given(said=targets, target=targets, same=st.booleans(), lines=st.integers(1, 3), most=st.integers(1, 24))
def test_an_answer_that_follows_from_scoring_is_what_decoding_gives(
    tiny_vlm: VLM, said: str, target: str, same: bool, lines: int, most: int
) -> None:
    asks, answerer = [Ask(ASKED, (said if same else target,))], Afresh(tiny_vlm)
    tiny_vlm.lines = lines
    try:
        with saying(tiny_vlm, tiny_vlm.target_ids(said)[:-1]):
            given_texts = [
                replies(answerer, asks, tiny_vlm.picked_text, max_tokens=most, decode_all=decode_all)[0].text
                for decode_all in (False, True)
            ]
            (fresh,) = tiny_vlm.generate([ASKED], max_tokens=most)
    finally:
        tiny_vlm.lines = 1
    assert given_texts == [fresh, fresh]


def probe(prompt: str, target: str, *, edit: str = "e", image: ImageRef | None = None, accepted: tuple = ()) -> Probe:
    return Probe(f"p-{edit}", edit, "reliability", "", "text", Query(prompt, image), target, accepted=accepted)


def test_the_limit_of_an_answer_has_room_for_every_target_and_accepted_one(tiny_vlm: VLM) -> None:
    assert (answer_limit(tiny_vlm, []).tokens, answer_limit(tiny_vlm, []).lines) == (16, 1)
    limit = answer_limit(tiny_vlm, [probe("Who?", "x" * 19), probe("Who?", "Anna\nBert\n", accepted=("y" * 60,))])
    assert (limit.tokens, limit.lines) == (61, 2)
    assert answer_limit(tiny_vlm, [probe("Who?", "x" * 5000)]).tokens == MOST_TOKENS


def test_all_questions_that_the_model_cannot_take_are_named_before_any_is_asked(tiny_vlm: VLM) -> None:
    """1,025 bytes of a question and 3 of the answer are too many for 1,024; four of the picture count too."""
    picture = ImageRef("noise:a", "a")
    assert tiny_vlm.lengths.context == 1024
    fits, beyond = "x" * (1024 - 1 - 3), "x" * (1024 - 3)
    check_askable(tiny_vlm, [probe(fits, "ab"), probe(fits[4:], "ab", image=picture)])
    bad = [probe(beyond, "ab", edit="long"), probe(fits[3:], "ab", edit="seen", image=picture)]
    with pytest.raises(
        UnaskableError, match=r"2 questions .*edit long.*: 1,022 tokens.* reads 1,024; edit seen"
    ) as caught:
        check_askable(tiny_vlm, [probe("Who?", "ab"), *bad])
    assert "\n" not in str(caught.value)
    with pytest.raises(UnaskableError, match="and 5 more"):
        check_askable(tiny_vlm, [probe("x" * 1100 + str(i), "ab", edit=f"e{i}") for i in range(25)])
    with pytest.raises(UnaskableError, match="1,101 of the answer, this model reads 1,024"):
        check_askable(tiny_vlm, [probe("Who?", "x" * 1100)])
    with pytest.raises(UnaskableError, match="edit e, reliability 'Who"):
        check_askable(tiny_vlm, [probe("Who?", "")])
