"""The published files of MiniGPT-4, written as one folder of safetensors that a run can load.

The published files are pickles. They are read here, once, when a user asks for it, and only as tensors
(`weights_only`); a run never opens one. Every tensor is looked for by name and shape. Knows files and names; nothing
of prompts or runs.
"""

from __future__ import annotations

import json
import shutil
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from safetensors import safe_open
from safetensors.torch import save_file
from torch import Tensor
from transformers import AutoConfig, GenerationConfig

from lifelong.models.folders.check import INDEX_FILE, ModelError, one_line
from lifelong.models.minigpt4.model import MiniGPT4Config, MiniGPT4ForConditionalGeneration
from lifelong.models.minigpt4.names import is_unused, published_names
from lifelong.models.minigpt4.processor import END_TEXT, IMAGE_MARK, processor_of, tokenizer_of
from lifelong.models.minigpt4.vocabulary import vocabulary_of
from streams.text import printable

_LANGUAGE = "language_model."
_LISTED = 6  # names of tensors in an error


@dataclass(frozen=True)
class PublishedFiles:
    """Where the four parts lie: three files, and the folder of the language model.

    `tower` is eva_vit_g.pth, `qformer` blip2_pretrained_flant5xxl.pth, `projection` prerained_minigpt4_7b.pth and
    `language` a folder of Vicuna (or of Llama-2, for its own projection).
    """

    tower: Path
    qformer: Path
    projection: Path
    language: Path


@dataclass(frozen=True)
class Heads:
    """What no shape of a tensor tells: how many blocks of the tower are used, and the heads of both attentions."""

    blocks: int = 39  # of 40 in the file: the last one is not used
    tower: int = 16
    qformer: int = 12


def convert_minigpt4(
    files: PublishedFiles, out: Path, *, heads: Heads | None = None, say: Callable[[str], object] = print
) -> Path:
    """Write the model folder `out` from the published files, and return it; called by `lifelong model convert`.

    Tensors keep their types. Raises `ModelError` that names a file that cannot be read, and every tensor that is
    missing, of another shape, or of no known part.
    """
    heads = heads or Heads()
    if out.exists():
        raise ModelError(f"{_shown(out)}: there already; give -o a folder that is not.")

    # 1. All but the language model are about 3 GB: read them whole. What a later file has counts, as where the
    #    published code loads one after another.
    say("reading the vision tower, the Q-Former and the projection")
    tensors = {f"visual_encoder.{name.removeprefix('visual_encoder.')}": t for name, t in _read(files.tower).items()}
    home = dict.fromkeys(tensors, files.tower)
    for path in (files.qformer, files.projection):
        found = _read(path)
        tensors |= found
        home |= dict.fromkeys(found, path)
    parts = _language_files(files.language)
    config = _config(tensors, files, heads)

    # 2. The names and shapes that the model has, from one that takes no memory.
    with torch.device("meta"):
        wanted = {name: t.shape for name, t in MiniGPT4ForConditionalGeneration(config).state_dict().items()}
    seeing = {name: published_names(name) for name in wanted if not name.startswith(_LANGUAGE)}
    faults = _faults(seeing, wanted, tensors, home, files, heads)

    # 3. Words and pictures, into a folder beside that becomes `out` when all is there.
    partial = out.with_name(out.name + ".partial")
    shutil.rmtree(partial, ignore_errors=True)
    partial.mkdir(parents=True)
    try:
        _write_words(config, files.language, partial)
        # 4. The weights: one file of all that sees, then one for each of the language model's.
        written: dict[str, str] = {}
        size = 0
        left = {name.removeprefix(_LANGUAGE) for name in wanted if name.startswith(_LANGUAGE)}
        if not faults:
            joined = {name: _joined(tensors, names) for name, names in seeing.items()}
            size += _write(partial, joined, f"model-00001-of-{len(parts) + 1:05}.safetensors", written)
        for i, path in enumerate(parts, 2):
            say(f"{printable(path.name)}")
            found = _language_tensors(path)
            faults += _odd(found, {n: wanted[_LANGUAGE + n] for n in left if n in found}, path)
            left -= set(found)
            if not faults:
                renamed = {_LANGUAGE + name: t for name, t in found.items()}
                size += _write(partial, renamed, f"model-{i:05}-of-{len(parts) + 1:05}.safetensors", written)
        if left:
            faults.append(f"{_shown(files.language)}: missing {_listed(left)}")
        if faults:
            raise ModelError(f"The files are not MiniGPT-4's: {'; '.join(faults)}.")
        index = {"metadata": {"total_size": size}, "weight_map": dict(sorted(written.items()))}
        (partial / INDEX_FILE).write_text(json.dumps(index, indent=1) + "\n", encoding="utf-8")
        partial.rename(out)
    finally:
        shutil.rmtree(partial, ignore_errors=True)
    return out


def _read(path: Path) -> dict[str, Tensor]:
    """Return the tensors of a pickle, those under "model" where it has such a part."""
    with one_line(f"{path}: cannot be read as tensors"):
        try:
            loaded: Any = torch.load(path, map_location="cpu", weights_only=True, mmap=True)
        except RuntimeError:  # of the old format, which cannot be mapped
            loaded = torch.load(path, map_location="cpu", weights_only=True)
    loaded = loaded.get("model", loaded) if isinstance(loaded, Mapping) else loaded
    tensors = {str(k): v for k, v in loaded.items() if isinstance(v, Tensor)} if isinstance(loaded, Mapping) else {}
    if not tensors:
        raise ModelError(f"{_shown(path)}: no tensors in it, under names or under 'model'.")
    return tensors


def _config(tensors: Mapping[str, Tensor], files: PublishedFiles, heads: Heads) -> MiniGPT4Config:
    """Return the configuration that the shapes of some tensors tell."""
    blocks = {name.split(".")[2] for name in tensors if name.startswith("visual_encoder.blocks.")}
    layers = {name.split(".")[4] for name in tensors if name.startswith("Qformer.bert.encoder.layer.")}
    crossed = {name.split(".")[4] for name in tensors if ".crossattention." in name}
    try:
        patch = tensors["visual_encoder.patch_embed.proj.weight"]  # (width, 3, patch, patch)
        places = tensors["visual_encoder.pos_embed"].shape[1] - 1
        queries = tensors["query_tokens"]  # (1, queries, width)
        inner = tensors["visual_encoder.blocks.0.mlp.fc1.weight"].shape[0]
        query_inner = tensors["Qformer.bert.encoder.layer.0.intermediate_query.dense.weight"].shape[0]
    except (KeyError, IndexError) as error:
        raise ModelError(
            f"The files are not MiniGPT-4's: no {error} in {_shown(files.tower)} or {_shown(files.qformer)}."
        ) from error
    if len(blocks) < heads.blocks:
        raise ModelError(
            f"{_shown(files.tower)}: {len(blocks)} blocks; expected {heads.blocks} at least (eva_vit_g.pth)."
        )
    with one_line(f"{files.language}/config.json: cannot be read"):
        text = AutoConfig.from_pretrained(str(files.language), trust_remote_code=False, local_files_only=True)
    if text.model_type != "llama":
        raise ModelError(
            f"{_shown(files.language)}: a model of type {text.model_type}; expected Vicuna, which is llama."
        )
    vision = {
        "hidden_size": patch.shape[0], "intermediate_size": inner, "num_hidden_layers": heads.blocks,
        "num_attention_heads": heads.tower, "patch_size": patch.shape[-1],
        "image_size": round(places**0.5) * patch.shape[-1], "layer_norm_eps": 1e-6,
    }  # fmt: skip
    qformer = {
        "hidden_size": queries.shape[-1], "intermediate_size": query_inner, "num_hidden_layers": len(layers),
        "num_attention_heads": heads.qformer, "encoder_hidden_size": patch.shape[0],
        "cross_attention_frequency": max(len(layers) // max(len(crossed), 1), 1),
    }  # fmt: skip
    with one_line("The files are not MiniGPT-4's: their shapes do not fit together"):
        return MiniGPT4Config(
            vision_config=vision, qformer_config=qformer, text_config=text.to_dict(),
            num_query_tokens=queries.shape[1], architectures=[MiniGPT4ForConditionalGeneration.__name__],
        )  # fmt: skip


def _faults(
    seeing: Mapping[str, tuple[str, ...]],
    wanted: Mapping[str, torch.Size],
    tensors: Mapping[str, Tensor],
    home: Mapping[str, Path],
    files: PublishedFiles,
    heads: Heads,
) -> list[str]:
    """Return in words what is missing, of another shape or of no known part among the tensors that see."""
    # 1. Missing: a name tells which file should have it.
    used = {name for names in seeing.values() for name in names if name}
    of = {"visual_encoder": files.tower, "llama_proj": files.projection}
    found = [("missing", of.get(name.split(".")[0], files.qformer), name) for name in used - tensors.keys()]

    # 2. Of no known part.
    odd = (name for name in tensors if name not in used and not is_unused(name, heads.blocks))
    found += [("of no known part", home[name], name) for name in odd]

    # 3. Of another shape. Of queries, keys and values each has a third of the bias.
    for name, names in seeing.items():
        each = wanted[name] if len(names) == 1 else torch.Size((wanted[name][0] // 3,))
        shapes = ((n, tuple(tensors[n].shape)) for n in names if n in tensors)
        found += [("of another shape", home[n], f"{n} {s} for {tuple(each)}") for n, s in shapes if s != tuple(each)]
    grouped: dict[tuple[Path, str], list[str]] = {}
    for what, path, name in found:
        grouped.setdefault((path, what), []).append(name)
    return [f"{_shown(path)}: {what} {_listed(names)}" for (path, what), names in grouped.items()]


def _odd(found: Mapping[str, Tensor], wanted: Mapping[str, torch.Size], path: Path) -> list[str]:
    """Return in words what in one file of the language model is of another shape or of no known part."""
    shapes = [f"{n} {tuple(found[n].shape)} for {tuple(s)}" for n, s in wanted.items() if found[n].shape != s]
    faults = [f"{_shown(path)}: of another shape {_listed(shapes)}"] if shapes else []
    odd = sorted(set(found) - set(wanted))
    return faults + ([f"{_shown(path)}: of no known part {_listed(odd)}"] if odd else [])


def _joined(tensors: Mapping[str, Tensor], names: tuple[str, ...]) -> Tensor:
    """Return the tensor that some published ones make, with zeros for a name of ''."""
    if len(names) == 1:
        return tensors[names[0]]
    like = tensors[names[0]]
    return torch.cat([tensors[name] if name else torch.zeros_like(like) for name in names])


def _language_files(folder: Path) -> list[Path]:
    """Return the files of a language model's weights, safetensors before pickles."""
    for pattern in ("*.safetensors", "pytorch_model*.bin"):
        found = sorted(folder.glob(pattern)) if folder.is_dir() else []
        if found:
            return found
    raise ModelError(f"{_shown(folder)}: no *.safetensors or pytorch_model*.bin; expected the folder of Vicuna.")


def _language_tensors(path: Path) -> dict[str, Tensor]:
    """Return the tensors of one of those files, but for positions that old versions stored and are computed now."""
    if path.suffix == ".safetensors":
        with one_line(f"{path}: damaged or not safetensors"), safe_open(str(path), "pt") as file:
            found = {name: file.get_tensor(name) for name in file.keys()}
    else:
        found = _read(path)
    return {name: t for name, t in found.items() if not name.endswith("rotary_emb.inv_freq")}


def _write(folder: Path, tensors: Mapping[str, Tensor], name: str, written: dict[str, str]) -> int:
    """Write one file of weights, note where each tensor lies, and return its bytes."""
    # Each is written on its own: those of a pickle may share memory, which safetensors refuses.
    save_file({n: t.contiguous().clone() for n, t in tensors.items()}, folder / name, metadata={"format": "pt"})
    written.update(dict.fromkeys(tensors, name))
    return sum(t.nbytes for t in tensors.values())


def _write_words(config: MiniGPT4Config, language: Path, folder: Path) -> None:
    """Write tokenizer, processor and configuration."""
    rows = config.text_config.vocab_size
    tokenizer = tokenizer_of(*vocabulary_of(language), rows)
    config.image_token_id = int(tokenizer.convert_tokens_to_ids(IMAGE_MARK))  # type: ignore[arg-type]
    end = tokenizer(END_TEXT, add_special_tokens=False)["input_ids"]
    # Edits end with the one token that the end is after a space; an answer ends wherever its text has it.
    ends = [*(end if len(end) == 1 else ()), tokenizer.eos_token_id]
    generation = GenerationConfig(
        bos_token_id=tokenizer.bos_token_id, eos_token_id=ends, pad_token_id=tokenizer.pad_token_id,
        stop_strings=[END_TEXT], do_sample=False,
    )  # fmt: skip
    processor = processor_of(tokenizer, size=config.vision_config.image_size, queries=config.num_query_tokens)
    processor.save_pretrained(folder)
    config.save_pretrained(folder)
    generation.save_pretrained(folder)


def _shown(path: Path) -> str:
    return printable(str(path))


def _listed(names: Iterable[str]) -> str:
    every = sorted(names)
    more = f" and {len(every) - _LISTED} more" if len(every) > _LISTED else ""
    return ", ".join(map(printable, every[:_LISTED])) + more
