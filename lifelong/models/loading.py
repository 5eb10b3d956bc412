"""Loading a model and its processor from safetensors, and the digest that identifies them.

Never unpickles anything. Knows nothing about what the model is used for.
"""

from __future__ import annotations

import hashlib
from pathlib import Path
from typing import Any

import torch
from transformers import AutoModelForImageTextToText, AutoProcessor
from transformers.utils import cached_file  # type: ignore[attr-defined]
from transformers.utils import logging as transformers_logging

from lifelong.log.files import LogError

DTYPES = {"float32": torch.float32, "bfloat16": torch.bfloat16, "float16": torch.float16}
_TEXT_FILES = (".json", ".jinja", ".txt", ".model")


def load_parts(name_or_path: str, dtype: str, device: str) -> tuple[Any, Any, str]:
    """Return model, processor and digest of `atlas`, a local folder or a Hugging Face id.

    Raises `ValueError` for an unknown dtype and `OSError` for a model that cannot be found.
    """
    if dtype not in DTYPES:
        raise ValueError(f"dtype={dtype!r}: expected one of {', '.join(DTYPES)}.")
    from lifelong.models.atlas import model as atlas

    transformers_logging.disable_progress_bar()  # a run has a display of its own
    atlas.register()  # folders of this architecture load like any other
    source = str(atlas.atlas_folder()) if name_or_path == "atlas" else name_or_path
    if name_or_path == "atlas":
        check_shipped(atlas.atlas_folder())
    processor = AutoProcessor.from_pretrained(source)
    auto: Any = AutoModelForImageTextToText
    model = auto.from_pretrained(source, dtype=DTYPES[dtype], use_safetensors=True)
    folder = Path(source) if Path(source).is_dir() else Path(str(cached_file(source, "config.json"))).parent
    return model.to(device), processor, digest_of_folder(folder, dtype)


def check_shipped(folder: Path) -> None:
    """Raise `LogError` naming a file of a shipped folder that is missing or is not the one its SHA256SUMS lists."""
    for line in (folder / "SHA256SUMS").read_text(encoding="utf-8").splitlines():
        told, name = line.split()
        path = folder / name
        try:
            with path.open("rb") as file:
                found = hashlib.file_digest(file, "sha256").hexdigest()
        except OSError as error:
            found = error.strerror
        if found != told:
            raise LogError(f"{path}: damaged, this is not the file that came with the package. Install it again.")


def digest_of_folder(folder: Path, dtype: str) -> str:
    """Return 16 hexadecimal digits of a model folder's weights, configuration and tokenizer, and of the dtype."""
    digest = hashlib.sha256(dtype.encode())
    for path in sorted(folder.iterdir()):
        if path.suffix == ".safetensors" or path.suffix in _TEXT_FILES:
            digest.update(path.name.encode())
            with path.open("rb") as file:
                digest.update(hashlib.file_digest(file, "sha256").digest())
    return digest.hexdigest()[:16]


def digest_of_model(model: torch.nn.Module) -> str:
    """Return 16 hexadecimal digits of a model's parameters and buffers, for one that was made in memory."""
    digest = hashlib.sha256()
    for name, value in sorted(model.state_dict().items()):
        digest.update(f"{name} {tuple(value.shape)} {value.dtype}".encode())
        digest.update(value.detach().cpu().contiguous().flatten().view(torch.uint8).numpy().tobytes())
    return digest.hexdigest()[:16]


def end_ids_of(model: Any, tokenizer: Any) -> tuple[int, ...]:
    """Return the tokens that end an answer, the one that targets are given first.

    Raises `ValueError` for a model that names none.
    """
    configured = getattr(model.generation_config, "eos_token_id", None)
    found = configured if isinstance(configured, (list, tuple)) else [configured]
    ids = dict.fromkeys(int(i) for i in (*found, tokenizer.eos_token_id) if i is not None)
    if not ids:
        raise ValueError("Neither generation_config.json nor the tokenizer names an end token (eos_token).")
    return tuple(ids)
