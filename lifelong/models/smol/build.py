"""The folder of `model=smol`: put together once from the packages and what ships of the training, then kept.

Knows where the shipped adapters lie and where folders are kept. Models load from the folder like any other.
"""

from __future__ import annotations

import hashlib
import os
import shutil
from pathlib import Path
from typing import Any

from transformers import LlavaForConditionalGeneration, LlavaProcessor

from lifelong.log.files import held
from lifelong.models.atlas.train.export import write_model
from lifelong.models.folders.check import ModelError
from lifelong.models.smol.adapters import load_adapters, put_in
from lifelong.models.smol.model import smol_config, smol_model, smol_processor
from lifelong.models.smol.parts import LANGUAGE_FILE, VISION_FILE, language_parts, part_path, vision_tensors

ADAPTERS = Path(__file__).with_name("weights") / "adapters.safetensors"
RECALLED_FACTS = ADAPTERS.with_name("recalled.json")  # facts that the language model knew before it could see
_LAYOUT = "1"  # another one where the folder is made in another way


def smol_folder(adapters: Path = ADAPTERS, kept: Path | None = None) -> Path:
    """Return the model's folder, which is made where it is not there yet (half a minute).

    Folders are kept under `kept`, by default the user's cache folder, one for each version of the parts. Raises
    `ModelError` for parts that are not installed.
    """
    if not adapters.is_file():
        raise ModelError(f"{adapters}: not there. The adapters of model=smol are trained by lifelong train-smol.")
    kept = kept or Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache") / "lifelong-edit"
    told = "/".join(
        (_LAYOUT, LANGUAGE_FILE.sha256, VISION_FILE.sha256, hashlib.sha256(adapters.read_bytes()).hexdigest())
    )
    folder = kept / f"smol-{hashlib.sha256(told.encode()).hexdigest()[:12]}"
    if folder.is_dir():
        return folder
    for part in (LANGUAGE_FILE, VISION_FILE):
        part_path(part)
    with held(folder.with_suffix(".lock"), wait=True):
        if not folder.is_dir():
            model, processor = blank_smol()
            put_in(model, load_adapters(adapters))
            unfinished = folder.with_suffix(".partial")
            shutil.rmtree(unfinished, ignore_errors=True)
            write_model(model, processor, unfinished)
            unfinished.rename(folder)
    return folder


def blank_smol() -> tuple[LlavaForConditionalGeneration, LlavaProcessor]:
    """Return the model with its pretrained parts, and reader and projector at random, float32, and its processor."""
    language, tokenizer = language_parts()
    model: Any = smol_model(smol_config(language.config, tokenizer))
    model.model.language_model.load_state_dict(language.model.state_dict())
    model.tie_weights()
    model.model.vision_tower.network.load_state_dict(vision_tensors())
    return model.eval(), smol_processor(tokenizer)
