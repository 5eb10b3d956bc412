"""Folders of small random encoders in the form of Hugging Face, for tests of `encoder=path:FOLDER` and `minilm`."""

from __future__ import annotations

from pathlib import Path


def sentence_folder(folder: Path, seed: int = 0) -> Path:
    """Write a random text encoder of width 16 into a folder that it makes, and return the folder."""
    import torch
    from transformers import BertConfig, BertModel

    from lifelong.models.tiny import tiny_processor

    folder.mkdir(parents=True, exist_ok=True)
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        config = BertConfig(
            vocab_size=260, hidden_size=16, num_hidden_layers=2, num_attention_heads=2, intermediate_size=32,
            max_position_embeddings=128,
        )  # fmt: skip
        BertModel(config, add_pooling_layer=False).save_pretrained(folder)
    tiny_processor().tokenizer.save_pretrained(folder)  # type: ignore[attr-defined]
    for name in ("modules.json", "data_config.json"):  # lists, as in folders of sentence-transformers
        (folder / name).write_text('[{"idx": 0, "name": "0"}]')
    return folder


def clip_folder(folder: Path) -> Path:
    """Write a random encoder of texts and pictures together into a folder that it makes, and return the folder."""
    from transformers import CLIPConfig, CLIPModel

    from lifelong.models.tiny import tiny_processor

    folder.mkdir(parents=True, exist_ok=True)
    shape = {"hidden_size": 16, "intermediate_size": 16, "num_hidden_layers": 1, "num_attention_heads": 1}
    text = {**shape, "vocab_size": 260, "max_position_embeddings": 128, "eos_token_id": 1}
    config = CLIPConfig(
        text_config=text, vision_config={**shape, "image_size": 32, "patch_size": 16}, projection_dim=8
    )
    CLIPModel(config).save_pretrained(folder)
    tiny_processor().tokenizer.save_pretrained(folder)  # type: ignore[attr-defined]
    return folder
