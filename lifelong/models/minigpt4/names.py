"""Which published tensors make each tensor of our MiniGPT-4: names alone, no numbers and no files.

The published code has EVA's vision tower under `visual_encoder`, a BERT with cross-attention under `Qformer.bert`, a
norm between them under `ln_vision`, and the linear layer under `llama_proj`.
"""

from __future__ import annotations

import re

_TOWER = (
    ("vision_model.embeddings.class_embedding", "visual_encoder.cls_token"),
    ("vision_model.embeddings.position_embedding", "visual_encoder.pos_embed"),
    ("vision_model.embeddings.patch_embedding.", "visual_encoder.patch_embed.proj."),
    ("vision_model.post_layernorm.", "ln_vision."),
    ("vision_model.encoder.layers.", "visual_encoder.blocks."),
    (".layer_norm", ".norm"),
    (".self_attn.projection.", ".attn.proj."),
    (".self_attn.qkv.", ".attn.qkv."),
)
_QFORMER = (
    ("qformer.layernorm.", "Qformer.bert.embeddings.LayerNorm."),
    ("qformer.encoder.", "Qformer.bert.encoder."),
    ("attention.attention.", "attention.self."),
)
_UNUSED = re.compile(
    # What EVA was pretrained with, and what follows its blocks.
    r"visual_encoder\.(mask_token|(norm|fc_norm|head|lm_head)\..*)"
    # The text side of the Q-Former, which sees no words here, and the way to BLIP-2's own language model.
    r"|Qformer\.(cls\..*|bert\.embeddings\.(position_ids|(word|position)_embeddings\..*)|bert\.pooler\..*)"
    r"|Qformer\.bert\.encoder\.layer\.\d+\.(intermediate|output)\..*"
    r"|(t5|opt|vision|text)_proj\..*|itm_head\..*|temp"
)
_BLOCK = re.compile(r"visual_encoder\.blocks\.(\d+)\.")


def published_names(name: str) -> tuple[str, ...]:
    """Return the published names of a tensor of ours outside of the language model, to be joined in this order.

    A middle name of '' stands for zeros: EVA's attention has a bias for queries and values and none for keys.
    """
    if name.startswith("projection."):
        return (name.replace("projection.", "llama_proj.", 1),)
    for ours, published in _TOWER if name.startswith("vision_model.") else _QFORMER:
        name = name.replace(ours, published, 1)
    if name.endswith(".attn.qkv.bias"):
        block = name.removesuffix("qkv.bias")
        return (f"{block}q_bias", "", f"{block}v_bias")
    return (name,)


def is_unused(name: str, blocks: int) -> bool:
    """Return whether a published tensor is known to have no part here: text sides, heads, blocks that are cut."""
    block = _BLOCK.match(name)
    return bool(_UNUSED.fullmatch(name)) or (block is not None and int(block[1]) >= blocks)
