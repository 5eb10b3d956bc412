"""The published files of MiniGPT-4, of the same names and random numbers of small shapes."""

from __future__ import annotations

import json
import struct
from pathlib import Path

import torch
from torch import Tensor
from transformers import LlamaConfig, LlamaForCausalLM

from lifelong.models.minigpt4.convert import Heads, PublishedFiles

WIDTH, INNER, BLOCKS, PATCH, SIDE = 32, 48, 3, 14, 2  # of the tower; the picture has SIDE x SIDE patches
QUERY, QUERY_INNER, LAYERS, QUERIES = 24, 40, 4, 4  # of the Q-Former
TEXT = 32  # of the language model
HEADS = Heads(blocks=BLOCKS, tower=2, qformer=3)
LETTERS = "▁abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ#<>/:?.,'"
MERGED = ("##", "▁##", "▁###", "mg", "Img", "▁t", "he", "▁the")


def pieces() -> list[tuple[str, float, int]]:
    """Return (text, score, kind) of a small Llama-like vocabulary: control tokens, bytes, letters, merged ones."""
    found = [("<unk>", 0.0, 2), ("<s>", 0.0, 3), ("</s>", 0.0, 3)]
    found += [(f"<0x{byte:02X}>", 0.0, 6) for byte in range(256)]
    found += [(text, -float(i), 1) for i, text in enumerate(MERGED)]
    return found + [(letter, -1e3 - i, 1) for i, letter in enumerate(LETTERS)]


def sentencepiece_file(path: Path) -> None:
    """Write a tokenizer.model of these pieces."""

    def field(number: int, body: bytes) -> bytes:
        return (
            bytes([number << 3 | 2, *([len(body) & 127 | 128, len(body) >> 7] if len(body) > 127 else [len(body)])])
            + body
        )

    out = b""
    for text, score, kind in pieces():
        body = field(1, text.encode()) + bytes([2 << 3 | 5]) + struct.pack("<f", score)
        out += field(1, body + (bytes([3 << 3, kind]) if kind != 1 else b""))
    path.write_bytes(out + field(2, b"a trainer that nobody reads"))


def tower(draw: torch.Generator) -> dict[str, Tensor]:
    """Return EVA's tensors: one block more than is used, and a head that is not."""
    shapes: dict[str, tuple[int, ...]] = {
        "cls_token": (1, 1, WIDTH), "pos_embed": (1, SIDE * SIDE + 1, WIDTH), "patch_embed.proj.bias": (WIDTH,),
        "patch_embed.proj.weight": (WIDTH, 3, PATCH, PATCH), "norm.weight": (WIDTH,), "head.weight": (7, WIDTH),
    }  # fmt: skip
    for i in range(BLOCKS + 1):
        part = f"blocks.{i}"
        shapes |= {f"{part}.norm{n}.{k}": (WIDTH,) for n in (1, 2) for k in ("weight", "bias")}
        shapes |= {f"{part}.attn.{k}": (WIDTH,) for k in ("q_bias", "v_bias", "proj.bias")}
        shapes |= {f"{part}.attn.qkv.weight": (3 * WIDTH, WIDTH), f"{part}.attn.proj.weight": (WIDTH, WIDTH)}
        shapes |= {f"{part}.mlp.fc1.weight": (INNER, WIDTH), f"{part}.mlp.fc1.bias": (INNER,)}
        shapes |= {f"{part}.mlp.fc2.weight": (WIDTH, INNER), f"{part}.mlp.fc2.bias": (WIDTH,)}
    return {name: torch.randn(shape, generator=draw) * 0.3 for name, shape in shapes.items()}


def qformer(draw: torch.Generator) -> dict[str, Tensor]:
    """Return the tensors of BLIP-2's file: norm, queries, Q-Former, and parts that MiniGPT-4 has no use for."""
    shapes: dict[str, tuple[int, ...]] = {"query_tokens": (1, QUERIES, QUERY), "t5_proj.weight": (8, QUERY)}
    shapes |= {f"ln_vision.{k}": (WIDTH,) for k in ("weight", "bias")}
    shapes |= {f"Qformer.bert.embeddings.LayerNorm.{k}": (QUERY,) for k in ("weight", "bias")}
    shapes["Qformer.bert.embeddings.word_embeddings.weight"] = (11, QUERY)
    for i in range(LAYERS):
        part = f"Qformer.bert.encoder.layer.{i}"
        kinds = {"attention": QUERY} | ({"crossattention": WIDTH} if i % 2 == 0 else {})
        for kind, seen in kinds.items():
            for name, width in (
                ("self.query", QUERY),
                ("self.key", seen),
                ("self.value", seen),
                ("output.dense", QUERY),
            ):
                shapes |= {f"{part}.{kind}.{name}.weight": (QUERY, width), f"{part}.{kind}.{name}.bias": (QUERY,)}
            shapes |= {f"{part}.{kind}.output.LayerNorm.{k}": (QUERY,) for k in ("weight", "bias")}
        for end in ("_query", ""):  # without an ending: the text side, which is not used
            up, down = f"{part}.intermediate{end}.dense", f"{part}.output{end}.dense"
            shapes |= {f"{up}.weight": (QUERY_INNER, QUERY), f"{up}.bias": (QUERY_INNER,)}
            shapes |= {f"{down}.weight": (QUERY, QUERY_INNER), f"{down}.bias": (QUERY,)}
            shapes |= {f"{part}.output{end}.LayerNorm.{k}": (QUERY,) for k in ("weight", "bias")}
    return {name: torch.randn(shape, generator=draw) * 0.3 for name, shape in shapes.items()}


def language(folder: Path) -> None:
    """Write a Llama in two pickles, with a buffer that old versions stored, and its SentencePiece file."""
    folder.mkdir()
    rows = len(pieces()) + 1  # Vicuna v0 has one row more than tokens
    with torch.random.fork_rng():
        torch.manual_seed(5)
        model = LlamaForCausalLM(
            LlamaConfig(
                vocab_size=rows, hidden_size=TEXT, intermediate_size=64, num_hidden_layers=4, num_attention_heads=2,
                max_position_embeddings=256, initializer_range=0.3, bos_token_id=1, eos_token_id=2,
            )
        )  # fmt: skip
    tensors = {name: t.detach().clone() for name, t in model.state_dict().items()}
    tensors["model.layers.0.self_attn.rotary_emb.inv_freq"] = torch.ones(8)
    names = sorted(tensors)
    for i, some in enumerate((names[:9], names[9:]), 1):
        torch.save({name: tensors[name] for name in some}, folder / f"pytorch_model-0000{i}-of-00002.bin")
    (folder / "config.json").write_text(json.dumps(model.config.to_dict(), default=str))
    sentencepiece_file(folder / "tokenizer.model")


def published_files(folder: Path) -> PublishedFiles:
    """Write all four parts into a folder and return where they lie."""
    folder.mkdir(exist_ok=True)
    draw = torch.Generator().manual_seed(3)
    files = PublishedFiles(folder / "eva.pth", folder / "blip2.pth", folder / "minigpt4.pth", folder / "vicuna")
    torch.save(tower(draw), files.tower)
    torch.save({"model": qformer(draw)}, files.qformer)
    linear = {
        "llama_proj.weight": torch.randn(TEXT, QUERY, generator=draw),
        "llama_proj.bias": torch.zeros(TEXT) + 0.1,
    }
    torch.save({"model": linear, "epoch": 3}, files.projection, _use_new_zipfile_serialization=False)
    language(files.language)
    return files
