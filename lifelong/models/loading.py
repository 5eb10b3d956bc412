"""Loading a model and its processor from safetensors, and the digest that identifies them.

Never unpickles anything. Knows nothing about what the model is used for.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import torch
from transformers import AutoModelForImageTextToText
from transformers.utils import logging as transformers_logging

from lifelong.log.files import LogError
from lifelong.models.digests import file_digests
from lifelong.models.folders.check import (
    ModelError,
    check_folder,
    check_loaded,
    check_token,
    one_line,
    text_of_error,
)
from lifelong.models.folders.find import find_model
from lifelong.models.folders.template import check_template
from lifelong.models.processors import load_processor
from lifelong.models.prompts.chat import template_of
from lifelong.models.weights import AUTO, DTYPES, WeightReading, dtype_named, reading_arguments
from streams.text import printable

_USUAL = "The usual one is device=cpu."
_TEXT_FILES = (".json", ".jinja", ".txt", ".model")


def load_parts(
    name_or_path: str,
    dtype: str,
    device: str,
    known: Iterable[str] = (),
    *,
    how: WeightReading = WeightReading(),  # noqa: B008 (frozen)
    digests: Path | None = None,
) -> tuple[Any, Any, str]:
    """Return model, processor and digest of `atlas`, a local folder or a Hugging Face id.

    `known` are names that are near for a misspelt one, `how` says how the weights are read, and `digests` is a folder
    where digests of files are kept, so that they are not read for the model's digest each time. Raises `ValueError`
    for an unknown dtype or device and `ModelError` for a model that cannot be found, is not whole, or is not read:
    pickles, code of its own.
    """
    if dtype != AUTO and dtype not in DTYPES:
        raise ValueError(f"dtype={dtype!r}: expected one of {', '.join((AUTO, *DTYPES))}.")
    check_device(device)
    # 1. Find the folder, and look at its files before any library does.
    found = _own_folder(name_or_path)
    shipped, folder = found is not None, found or find_model(name_or_path, known)
    check_folder(folder)
    dtype = dtype_named(folder, dtype)
    own = {"trust_remote_code": False, "local_files_only": True}  # no code of the folder is run, whatever it says

    # 2. The processor, and its chat template, which is a program: those of others are tried out first.
    with silent(), one_line(f"{folder}: its processor cannot be loaded"):
        processor = load_processor(folder, **own)
    if not (hasattr(processor, "tokenizer") and hasattr(processor, "image_processor")):
        raise ModelError(
            f"{folder}: no processor for pictures and words (processor_config.json or preprocessor_config.json,"
            " with tokenizer.json)."
        )
    template = template_of(processor)
    if not shipped and template:
        check_template(template, processor.tokenizer.special_tokens_map, str(folder))

    # 3. The weights: all of them, and no others.
    auto: Any = AutoModelForImageTextToText
    told = reading_arguments(dtype, device, how)
    with silent(), one_line(f"{folder}: cannot be loaded"):
        model, info = auto.from_pretrained(
            str(folder),
            use_safetensors=True,
            output_loading_info=True,
            ignore_mismatched_sizes=True,
            **own,  # what does not fit is refused by name
            **told,
        )
    check_loaded(folder, info)
    with one_line(f"{folder}: its word embeddings cannot be found"):
        _check_vocabulary(folder, model, processor)
    with one_line(f"device={device}: {folder.name} cannot be put there"):
        placed = model if "device_map" in told or how.quantization else model.to(device)
        return placed, processor, digest_of_folder(folder, dtype, how.words, keep_in=digests)


def _own_folder(name: str) -> Path | None:
    """Return the folder of a model of this project, None for any other name.

    Folders of their architectures load like any other from then on.
    """
    from lifelong.models.atlas import model as atlas

    atlas.register()
    if name == "atlas":  # which needs none of the others
        check_shipped(atlas.atlas_folder())
        return atlas.atlas_folder()
    from lifelong.models.minigpt4.model import register_minigpt4
    from lifelong.models.smol import tower

    tower.register_tower()
    register_minigpt4()
    if name == "smol":
        from lifelong.models.smol.build import ADAPTERS, smol_folder

        check_shipped(ADAPTERS.parent)
        with silent():
            return smol_folder()
    return None


def check_device(device: str) -> None:
    """Raise `ValueError` for a device that torch does not know, that is not here, or that computes nothing."""
    try:
        place = torch.device(device)
        works = place.type != "meta" and float(torch.ones(2, device=place).sum()) == 2
    except Exception as error:  # every back end has errors of its own
        why = text_of_error(error).split(". ")[0]
        raise ValueError(f"device={printable(device)}: cannot be used here ({why}). {_USUAL}") from error
    if place.type == "cpu" and place.index:
        raise ValueError(f"device={printable(device)}: there is one cpu, without a number. {_USUAL}")
    if not works:
        raise ValueError(f"device={printable(device)}: computes nothing. {_USUAL}")


def _check_vocabulary(folder: Path, model: Any, processor: Any) -> None:
    """Raise `ModelError` where the tokenizer has tokens that the model has no embedding of."""
    rows, tokenizer = model.get_input_embeddings().weight.shape[0], processor.tokenizer
    added = set(tokenizer.added_tokens_decoder)  # those of pictures have their features instead
    beyond = [token for token, i in tokenizer.get_vocab().items() if i >= rows and i not in added]
    if beyond:
        raise ModelError(
            f"{folder}: the tokenizer is another model's: {len(beyond)} of its tokens, such as"
            f" {printable(min(beyond))!r}, are beyond the {rows:,} that the model knows."
        )


@contextmanager
def silent() -> Iterator[None]:
    """Keep transformers from printing while it loads: what matters is raised."""
    before = transformers_logging.get_verbosity()
    transformers_logging.set_verbosity_error()
    transformers_logging.disable_progress_bar()  # a run has a display of its own
    try:
        yield
    finally:
        transformers_logging.set_verbosity(before)


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


def digest_of_folder(folder: Path, dtype: str, words: Iterable[str] = (), *, keep_in: Path | None = None) -> str:
    """Return 16 hexadecimal digits of a model folder's weights, configuration and tokenizer, and of how it is read.

    That is its type, and the `words` of what else changes numbers; `keep_in` is where digests of files are kept.
    """
    digest = hashlib.sha256(",".join([dtype, *words]).encode())
    paths = sorted(p for p in folder.iterdir() if p.is_file())
    paths = [path for path in paths if path.suffix == ".safetensors" or path.suffix in _TEXT_FILES]
    for path, content in zip(paths, file_digests(paths, keep_in), strict=True):
        digest.update(path.name.encode())
        digest.update(content)
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

    Raises `ModelError` for a model that names none, or one that is no token of it.
    """
    configured = getattr(model.generation_config, "eos_token_id", None)
    found = configured if isinstance(configured, (list, tuple)) else [configured]
    named = [i for i in (*found, tokenizer.eos_token_id) if i is not None]
    most = model.get_input_embeddings().weight.shape[0]
    ids = dict.fromkeys(check_token("generation_config.json: eos_token_id", i, most) for i in named)
    if not ids:
        raise ModelError("Neither generation_config.json nor the tokenizer names an end token (eos_token).")
    return tuple(ids)


def end_texts_of(model: Any) -> tuple[str, ...]:
    """Return the texts that end an answer wherever they stand in it; most models have none.

    Raises `ModelError` where generation_config.json has something else there.
    """
    found = getattr(model.generation_config, "stop_strings", None) or ()
    texts = (found,) if isinstance(found, str) else found
    if not isinstance(texts, (list, tuple)) or not all(isinstance(text, str) and text for text in texts):
        raise ModelError(f"generation_config.json: stop_strings is {printable(repr(found))}; expected texts.")
    return tuple(texts)
