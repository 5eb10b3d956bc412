"""Florence-2: an encoder reads the picture and the words, a decoder writes; the project does not edit such models."""

from __future__ import annotations

from transformers import BartConfig, Florence2Config, Florence2ForConditionalGeneration

from lifelong.models.families.building import VOCABULARY, Parts, byte_tokenizer

_SPECIAL = ("<s>", "<pad>", "</s>", "<unk>", "<image>")


def make_florence2() -> Parts:
    """Return Florence-2."""
    vision = {
        "depths": [1, 1],
        "patch_size": [7, 3],
        "patch_stride": [4, 2],
        "patch_padding": [3, 1],
        "patch_prenorm": [False, True],
        "embed_dim": [16, 32],
        "num_heads": [2, 2],
        "num_groups": [2, 2],
        "window_size": 4,
        "projection_dim": 32,
    }
    text = BartConfig(
        vocab_size=VOCABULARY,
        d_model=32,
        encoder_layers=2,
        decoder_layers=3,
        encoder_attention_heads=2,
        decoder_attention_heads=2,
        encoder_ffn_dim=64,
        decoder_ffn_dim=64,
        bos_token_id=0,
        pad_token_id=1,
        eos_token_id=2,
        decoder_start_token_id=2,
    )
    model = Florence2ForConditionalGeneration(
        Florence2Config(vision_config=vision, text_config=text, image_token_id=4)  # type: ignore[arg-type]
    )
    tokenizer = byte_tokenizer(_SPECIAL, pad="<pad>", end="</s>", start="<s>", starts=True, image_token="<image>")
    images = {
        "image_processor_type": "CLIPImageProcessor",
        "size": {"height": 32, "width": 32},
        "crop_size": {"height": 32, "width": 32},
        "processor_class": "Florence2Processor",
    }
    return Parts(model, tokenizer, images, {"processor_class": "Florence2Processor"})
