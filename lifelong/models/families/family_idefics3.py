"""Idefics3: pictures are split into tiles that are written row by row into the prompt."""

from __future__ import annotations

from typing import Any

from transformers import Idefics3Config, Idefics3ForConditionalGeneration, LlamaConfig

from lifelong.models.families.building import Parts, byte_tokenizer, llama_like, turns

_SPECIAL = (
    "<|end_of_text|>", "<|im_start|>", "<end_of_utterance>", "<image>", "<fake_token_around_image>",
    "<global-img>", *(f"<row_{r}_col_{c}>" for r in range(1, 5) for c in range(1, 5)),
)  # fmt: skip
_TEMPLATE = turns(
    start="<|im_start|>", ask="User:", asked="<end_of_utterance>\n", answer="Assistant: ",
    answered="<end_of_utterance>\n", image="<image>", answer_begins="Assistant:",
)  # fmt: skip
IDEFICS3_VISION: dict[str, Any] = {
    "hidden_size": 32,
    "intermediate_size": 64,
    "num_hidden_layers": 2,
    "num_attention_heads": 2,
    "image_size": 32,
    "patch_size": 8,
}


def idefics3_parts(model: Any, kind: str) -> Parts:
    """Return the parts around a model of this kind: its tokenizer, template and image processor."""
    model.generation_config.eos_token_id = [0, 2]
    tokenizer = byte_tokenizer(
        _SPECIAL, pad="<|end_of_text|>", end="<end_of_utterance>", start="<|im_start|>", starts=True,
        image_token="<image>", fake_image_token="<fake_token_around_image>", global_image_token="<global-img>",
        end_of_utterance_token="<end_of_utterance>",
    )  # fmt: skip
    images = {
        "image_processor_type": f"{kind}ImageProcessor",
        "size": {"longest_edge": 64},
        "max_image_size": {"longest_edge": 32},
        "do_image_splitting": True,
        "processor_class": f"{kind}Processor",
    }
    return Parts(model, tokenizer, images, {"processor_class": f"{kind}Processor", "image_seq_len": 4}, _TEMPLATE)


def make_idefics3() -> Parts:
    """Return Idefics3."""
    config = Idefics3Config(
        vision_config=IDEFICS3_VISION,  # type: ignore[arg-type]
        text_config=LlamaConfig(**llama_like()),
        image_token_id=3,
        scale_factor=2,
    )
    return idefics3_parts(Idefics3ForConditionalGeneration(config), "Idefics3")
