"""Loading a model's processor without what it would need for videos and sound: words and pictures are all it reads.

Families that know videos have a processor that cannot be loaded where torchvision is not installed. Here its parts
are loaded one by one; in the place of the video's there is none, and no video ever comes. Pictures are prepared by
Pillow wherever transformers can, so that they are the same pixels with torchvision and without.

Knows folders and transformers' processors; nothing of prompts or models.
"""

from __future__ import annotations

import importlib
import types
from pathlib import Path
from typing import Any

from transformers import AutoImageProcessor, AutoProcessor, AutoTokenizer, PretrainedConfig, ProcessorMixin
from transformers.models.auto.configuration_auto import model_type_to_module_name
from transformers.models.auto.processing_auto import PROCESSOR_MAPPING_NAMES  # type: ignore[attr-defined]

from lifelong.models.folders.check import ModelError
from streams.text import printable

_UNREAD = ("video", "feature_extractor", "audio")  # parts of a processor that are never asked for anything
_FOR_VIDEOS = ("num2words",)  # packages that a processor asks for when it is made, and uses for videos only
_EXTRA = "pip install 'lifelong-edit[vision]'"


class _Unread(dict[str, Any]):
    """Stands for a part of a processor that is not there: nothing is set in it, and it is written as {}."""

    model_input_names: tuple[str, ...] = ()

    def __getattr__(self, name: str) -> None:
        if name.startswith("__"):
            raise AttributeError(name)
        return None


def load_processor(folder: Path, **own: Any) -> Any:
    """Return the processor of a folder, its video part left out; `own` goes to every `from_pretrained`.

    Raises `ModelError` that names the extra `vision` where torchvision is needed for pictures, and whatever
    transformers raises for a folder that has no processor.
    """
    table, _ = ProcessorMixin.get_processor_dict(str(folder), **own)
    kind = _kind_of(folder, table, own)
    if kind is None:
        return AutoProcessor.from_pretrained(str(folder), **own)
    parts = [_part(name, folder, own) for name in kind.get_attributes()]
    return _without_videos(kind).from_args_and_dict(parts, table)


def _kind_of(folder: Path, table: dict[str, Any], own: dict[str, Any]) -> Any:
    """Return the processor's class as the folder names it, or its family's; None where neither is known here."""
    config, _ = PretrainedConfig.get_config_dict(str(folder), **own)
    tables = [table]
    for name in ("preprocessor_config.json", "tokenizer_config.json"):
        if (folder / name).is_file():
            tables.append(PretrainedConfig.get_config_dict(str(folder), _configuration_file=name, **own)[0])
    named = [t.get("processor_class") for t in tables]
    family = PROCESSOR_MAPPING_NAMES.get(config.get("model_type", ""))
    found = (_class_named(name, folder) for name in (*named, family) if isinstance(name, str))
    return next((kind for kind in found if kind is not None), None)


def _class_named(name: str, folder: Path) -> Any:
    """Return a processor's class from the module it is written in: the package's face hides some of them."""
    for family, kinds in PROCESSOR_MAPPING_NAMES.items():
        module = model_type_to_module_name(family)
        if name not in ((kinds,) if isinstance(kinds, str) else kinds or ()):
            continue
        try:
            found = importlib.import_module(f"transformers.models.{module}.processing_{module}")
        except ModuleNotFoundError as error:
            if error.name == "torchvision":
                raise ModelError(_needs(folder, f"its processor ({name})")) from error
            continue  # a family that uses another one's processor
        if isinstance(getattr(found, name, None), type):
            return getattr(found, name)
    return None


def _part(name: str, folder: Path, own: dict[str, Any]) -> Any:
    if name.startswith(_UNREAD):
        return _Unread()
    if name == "tokenizer":
        return AutoTokenizer.from_pretrained(str(folder), **own)
    if "tokenizer" in name:
        return AutoTokenizer.from_pretrained(str(folder / name), **own)
    try:
        return AutoImageProcessor.from_pretrained(str(folder), backend="pil", **own)
    except (ImportError, ValueError) as error:
        if "torchvision" not in str(error).lower():
            raise
        raise ModelError(_needs(folder, "what prepares its pictures")) from error


def _needs(folder: Path, what: str) -> str:
    return f"{printable(str(folder))}: {what} needs torchvision, which is not installed: {_EXTRA}."


def _without_videos(kind: Any) -> Any:
    """Return a class that is `kind` in everything, but may be made without the parts that are not read."""

    def check_argument_for_proper_class(self: Any, name: str, part: Any) -> Any:
        if isinstance(part, _Unread):
            return _Unread
        return kind.check_argument_for_proper_class(self, name, part)

    begin = kind.__init__
    seen = {name: True for name in _FOR_VIDEOS if begin.__globals__.get(name, True) is None}
    if seen:  # the same constructor, for which a package that it would need for videos counts as there
        begin = types.FunctionType(
            begin.__code__, begin.__globals__ | seen, begin.__name__, begin.__defaults__, begin.__closure__
        )
    changed = {"check_argument_for_proper_class": check_argument_for_proper_class, "__init__": begin}
    return type(kind.__name__, (kind,), changed)
