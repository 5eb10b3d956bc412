"""A second model family, unlike LLaVA in every way that matters to the door: Qwen2-VL, tiny and random.

Its vision tower is deeper than its decoder, its positions have three dimensions and are kept in the model between
steps, and its inputs have a grid per image and a type per token.
"""

from __future__ import annotations

import numpy as np
import pytest
import torch

from lifelong.models.families.building import build_family
from lifelong.models.tiny import noise_image
from lifelong.models.vlm import VLM
from streams.types import ImageRef, Prompt

A, B = ImageRef("noise:a", "a"), ImageRef("noise:b", "b")
PROMPTS = [Prompt((A, "What?")), Prompt(("no picture",)), Prompt((A, "and", B, "?")), Prompt((B, "What is it?"))]
TARGETS = ["x", "yes", "no", "maybe"]


@pytest.fixture(scope="module")
def qwen(tmp_path_factory: pytest.TempPathFactory) -> VLM:
    """One decoder layer fewer than vision blocks, loaded from its folder; pictures are noise."""
    loaded = VLM.load(str(build_family("qwen2_vl", tmp_path_factory.mktemp("qwen") / "model")), check=False)
    return VLM(loaded.model, loaded.processor, name="tiny-qwen", open_image=noise_image)


def test_the_decoder_is_found_although_the_vision_tower_is_deeper(qwen: VLM) -> None:
    """The layers are those beside the word embeddings, not the longest list in the model."""
    assert (qwen.layers, qwen.structure.layers_name) == (4, "model.language_model.layers")
    assert qwen.reader.keeps_features


def test_batches_and_resuming_agree_with_single_rows(qwen: VLM) -> None:
    """Rows of different lengths and numbers of images; every layer."""
    together = qwen.score(PROMPTS, TARGETS)
    results = [[qwen.score([p], [t])[0] for p, t in zip(PROMPTS, TARGETS, strict=True)]]
    results += [qwen.resume_score(qwen.hidden(PROMPTS, layer, TARGETS)) for layer in range(4)]
    for other in results:
        assert all(np.abs(a.logprobs - b.logprobs).max() < 1e-5 for a, b in zip(together, other, strict=True))


def test_decoding_equals_token_by_token_argmax(qwen: VLM) -> None:
    """The positions behind an image are right at every step, and a prompt without one is not led astray by them."""
    for prompt, answer in zip(PROMPTS, qwen.generate(PROMPTS, max_tokens=6), strict=True):
        encoded = qwen.reader.read([prompt])[0]
        inputs = {**qwen.reader.vision([prompt], [encoded], fresh=True), **encoded.extras}
        ids = encoded.ids[None]
        for _ in range(6):
            types = torch.zeros_like(ids)
            types[0, : len(encoded.ids)] = encoded.aligned["mm_token_type_ids"]
            with torch.no_grad():
                logits = qwen.model(input_ids=ids, mm_token_type_ids=types, **inputs).logits
            ids = torch.cat([ids, logits[:, -1:].argmax(-1)], 1)
        new = ids[0, len(encoded.ids) :].tolist()
        ends = [k for k, token in enumerate(new) if token in qwen.passes.end_ids]
        new = new[: ends[0]] if ends else new
        assert answer == qwen.tokenizer.decode(new, skip_special_tokens=True).split("\n")[0].strip()


def test_an_answerer_that_has_scored_decodes_the_same(qwen: VLM) -> None:
    """A model that counts positions itself begins anew: nothing of the scoring pass is kept."""
    answerer = qwen.answerer(PROMPTS)
    answerer.score(TARGETS)
    assert answerer.generate(max_tokens=6) == qwen.generate(PROMPTS, max_tokens=6)


def test_a_small_budget_of_pixels_gives_the_same_scores(qwen: VLM) -> None:
    """Pixel values come with rows of patches and a grid: as features, and in every pass where those are not kept."""
    held: list[int] = []
    watch = qwen.model.model.visual.register_forward_pre_hook(
        lambda m, args, kwargs: held.append((args[0] if args else kwargs["hidden_states"]).nbytes), with_kwargs=True
    )
    one = qwen.reader.read(PROMPTS[:1])[0].pixel_bytes
    found, most = [], []
    try:
        for keeps in (True, False):
            for budget in (1 << 28, one):
                qwen.cache.clear()
                qwen.reader.keeps_features, qwen.reader.pixel_bytes = keeps, budget
                held.clear()
                found.append(qwen.score(PROMPTS, TARGETS))
                most.append(max(held))
    finally:
        qwen.reader.keeps_features, qwen.reader.pixel_bytes = True, 1 << 28
        watch.remove()
    assert one > 0 and most[0] == most[2] // 2 == 2 * one and most[1] == one
    for other in found[1:]:
        assert all(np.abs(a.logprobs - b.logprobs).max() < 1e-5 for a, b in zip(found[0], other, strict=True))
