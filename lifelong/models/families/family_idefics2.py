"""Idefics2: a perceiver gives a fixed number of tokens for a picture; a Mistral decoder without a window."""

from __future__ import annotations

from transformers import Idefics2Config, Idefics2ForConditionalGeneration, MistralConfig

from lifelong.models.families.building import Parts, byte_tokenizer, llama_like, turns

_SPECIAL = ("<unk>", "<s>", "</s>", "<image>", "<fake_token_around_image>", "<end_of_utterance>")
_TEMPLATE = turns(
    ask="User:", asked="<end_of_utterance>\n", answer="Assistant: ", answered="<end_of_utterance>\n",
    image="<image>", answer_begins="Assistant:",
)  # fmt: skip


def make_idefics2() -> Parts:
    """Return Idefics2."""
    model = Idefics2ForConditionalGeneration(
        Idefics2Config(
            vision_config={
                "hidden_size": 32,
                "intermediate_size": 64,
                "num_hidden_layers": 2,
                "num_attention_heads": 2,
                "image_size": 32,
                "patch_size": 8,
            },  # type: ignore[arg-type]
            perceiver_config={
                "hidden_size": 32,
                "resampler_n_latents": 4,
                "resampler_depth": 1,
                "resampler_n_heads": 2,
                "resampler_head_dim": 16,
                "num_key_value_heads": 2,
            },  # type: ignore[arg-type]
            text_config=MistralConfig(**llama_like(), sliding_window=None),
            image_token_id=3,
        )
    )
    model.generation_config.eos_token_id = [2, 5]  # type: ignore[union-attr]
    tokenizer = byte_tokenizer(_SPECIAL, pad="<unk>", end="</s>", start="<s>", starts=True)
    images = {
        "image_processor_type": "Idefics2ImageProcessor",
        "size": {"shortest_edge": 16, "longest_edge": 32},
        "do_image_splitting": False,
        "processor_class": "Idefics2Processor",
    }
    return Parts(model, tokenizer, images, {"processor_class": "Idefics2Processor", "image_seq_len": 4}, _TEMPLATE)
