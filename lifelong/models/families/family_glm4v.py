"""GLM-4V: pictures in their own resolution, positions of three dimensions, gate and up projection in one."""

from __future__ import annotations

from transformers import Glm4vConfig, Glm4vForConditionalGeneration

from lifelong.models.families.building import Parts, byte_tokenizer, llama_like, turns

_SPECIAL = (
    "<|endoftext|>", "<|user|>", "<|image|>", "<|video|>", "<|begin_of_image|>", "<|end_of_image|>",
    "<|begin_of_video|>", "<|end_of_video|>", "<|assistant|>", "[gMASK]", "<sop>",
)  # fmt: skip
_TEMPLATE = turns(
    start="[gMASK]<sop>",
    ask="<|user|>\n",
    asked="",
    answer="<|assistant|>\n",
    answered="",
    image="<|begin_of_image|><|image|><|end_of_image|>",
)


def make_glm4v() -> Parts:
    """Return GLM-4V; an answer ends where the next turn of the user would begin."""
    text = llama_like(rope_parameters={"rope_type": "default", "mrope_section": [2, 3, 3], "rope_theta": 1e4})
    vision = {
        "depth": 2,
        "hidden_size": 32,
        "intermediate_size": 64,
        "num_heads": 2,
        "patch_size": 8,
        "image_size": 32,
        "out_hidden_size": 32,
    }
    model = Glm4vForConditionalGeneration(
        Glm4vConfig(
            vision_config=vision,
            text_config=text,
            image_token_id=2,
            video_token_id=3,
            image_start_token_id=4,
            image_end_token_id=5,
            video_start_token_id=6,
            video_end_token_id=7,
        )  # type: ignore[arg-type]
    )
    model.generation_config.eos_token_id = [0, 1]  # type: ignore[union-attr]
    tokenizer = byte_tokenizer(
        _SPECIAL, pad="<|endoftext|>", end="<|endoftext|>", image_token="<|image|>", video_token="<|video|>"
    )
    images = {
        "image_processor_type": "Glm4vImageProcessor",
        "patch_size": 8,
        "merge_size": 2,
        "temporal_patch_size": 2,
        "size": {"shortest_edge": 512, "longest_edge": 8192},
        "processor_class": "Glm4vProcessor",
    }
    return Parts(model, tokenizer, images, None, _TEMPLATE)
