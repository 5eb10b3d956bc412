"""A second model family, unlike LLaVA in every way that matters to the door: Qwen2-VL, tiny and random.

Its vision tower is deeper than its decoder, its positions have three dimensions and are kept in the model between
steps, and its inputs have a grid per image and a type per token.
"""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
import torch
from tokenizers import Tokenizer, decoders, models, pre_tokenizers
from transformers import (
    PreTrainedTokenizerFast,
    Qwen2VLConfig,
    Qwen2VLForConditionalGeneration,
    Qwen2VLProcessor,
)
from transformers.models.qwen2_vl.image_processing_pil_qwen2_vl import Qwen2VLImageProcessorPil

from lifelong.models.tiny import noise_image
from lifelong.models.vlm import VLM
from streams.types import ImageRef, Prompt

SPECIAL = ["<pad>", "<|im_end|>", "<|image_pad|>", "<|video_pad|>", "<|vision_start|>", "<|vision_end|>"]
TEMPLATE = (
    "{% for m in messages %}{% for p in m['content'] %}"
    "{{ '<|vision_start|><|image_pad|><|vision_end|>' if p['type'] == 'image' else p['text'] }}"
    "{% endfor %}{% endfor %}:"
)
A, B = ImageRef("noise:a", "a"), ImageRef("noise:b", "b")
PROMPTS = [Prompt((A, "What?")), Prompt(("no picture",)), Prompt((A, "and", B, "?")), Prompt((B, "What is it?"))]
TARGETS = ["x", "yes", "no", "maybe"]


@pytest.fixture(scope="module")
def qwen() -> VLM:
    """Two decoder layers fewer than vision blocks, 262 tokens, random weights."""
    vocab = {t: i for i, t in enumerate([*SPECIAL, *sorted(pre_tokenizers.ByteLevel.alphabet())])}
    core = Tokenizer(models.BPE(vocab=vocab, merges=[]))
    core.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    core.decoder = decoders.ByteLevel()
    tokenizer = PreTrainedTokenizerFast(
        tokenizer_object=core,
        pad_token="<pad>",
        eos_token="<|im_end|>",
        extra_special_tokens={"image_token": "<|image_pad|>", "video_token": "<|video_pad|>"},
    )
    with pytest.MonkeyPatch.context() as patch:
        # The type check of parts looks up the video processor, which needs a package that is not used here.
        patch.setattr(Qwen2VLProcessor, "check_argument_for_proper_class", lambda *_: None)
        images = Qwen2VLImageProcessorPil(patch_size=8, merge_size=2, min_pixels=256, max_pixels=4096)
        processor = Qwen2VLProcessor(images, tokenizer, video_processor=None, chat_template=TEMPLATE)
    text = {
        "vocab_size": len(tokenizer),
        "hidden_size": 32,
        "intermediate_size": 64,
        "num_hidden_layers": 4,
        "num_attention_heads": 2,
        "num_key_value_heads": 2,
        "rope_parameters": {"rope_type": "default", "mrope_section": [2, 3, 3], "rope_theta": 1e4},
        "initializer_range": 0.3,
        "pad_token_id": 0,
        "eos_token_id": 1,
    }
    vision = {"depth": 6, "embed_dim": 32, "hidden_size": 32, "num_heads": 2, "patch_size": 8, "mlp_ratio": 2}
    marks: dict[str, Any] = {
        "image_token_id": 2,
        "video_token_id": 3,
        "vision_start_token_id": 4,
        "vision_end_token_id": 5,
    }
    config = Qwen2VLConfig(vision_config=vision, text_config=text, **marks)
    with torch.random.fork_rng():
        torch.manual_seed(0)
        model = Qwen2VLForConditionalGeneration(config)
    model.generation_config.eos_token_id = 1
    return VLM(model, processor, name="tiny-qwen", open_image=noise_image)


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
        new = new[: new.index(1)] if 1 in new else new
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
