"""A model's folder, checked before any library opens it: whole, weights from safetensors, no code, no pickle.

Knows files and their formats; nothing of what the model is used for. What a library says becomes one line.
"""

from __future__ import annotations

import json
from collections.abc import Collection, Iterable, Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path, PurePosixPath, PureWindowsPath
from typing import Any

from streams.text import printable

WEIGHTS_FILE, INDEX_FILE = "model.safetensors", "model.safetensors.index.json"
_OBJECTS = {
    "config.json", "generation_config.json", "preprocessor_config.json", "processor_config.json",
    "video_preprocessor_config.json", "tokenizer_config.json", "tokenizer.json", "special_tokens_map.json",
    "vocab.json", "chat_template.json", INDEX_FILE,
}  # fmt: skip
"""Files that are read as JSON objects. Other files may be lists: sentence encoders come with such ones."""
_MOST_JSON = 256 << 20  # bytes; tokenizers of 30 MiB are common
_PICKLES = (".bin", ".pt", ".pth", ".pkl", ".ckpt", ".h5")
_LISTED = 5
_LONGEST = 300  # characters of what a library says


class ModelError(ValueError):
    """A model that cannot be loaded; the message is one line with the file and what is wrong."""


def check_folder(folder: Path) -> None:
    """Raise `ModelError` for a folder that is no whole model with safetensors weights, or that wants code run."""
    if not folder.is_dir():
        raise ModelError(f"{_shown(folder)}: no such folder.")
    odd = [p.name for p in sorted(folder.iterdir()) if not p.is_file() and not p.is_dir()]
    if odd:
        raise ModelError(
            f"{_shown(folder)}: {_listed(odd)}: neither a file nor a folder (a broken link or a device)."
        )
    if not (folder / "config.json").is_file():
        raise ModelError(f"{_shown(folder)}: no config.json, so this is no model's folder.")
    if (folder / "adapter_config.json").exists():
        raise ModelError(
            f"{_shown(folder)}: adapter_config.json: an adapter is no model; merge it into its base first."
        )
    tables = {path.name: _table(path) for path in sorted(folder.glob("*.json")) if path.is_file()}
    _check_config(folder, tables["config.json"])
    if (folder / "tokenizer.json").is_file():
        _check_tokenizer(folder / "tokenizer.json")
    for path in _weights(folder, tables.get(INDEX_FILE)):
        _check_weights(path)


@contextmanager
def one_line(what: str) -> Iterator[None]:
    """Turn everything that a library raises inside into a `ModelError` of one line that begins with `what`."""
    try:
        yield
    except (ModelError, KeyboardInterrupt, SystemExit, GeneratorExit):
        raise
    except BaseException as error:  # Rust parsers panic with an exception that is no `Exception`
        raise ModelError(f"{printable(what)}: {text_of_error(error)}") from error


def text_of_error(error: BaseException) -> str:
    """Return what an error says, in one line; code that a folder wants to be run is refused in our own words."""
    text = printable(" ".join(str(error).split())) or type(error).__name__
    if "trust_remote_code" in text:
        return (
            "it comes with Python code of its own (auto_map in config.json), which is never run."
            " Use a model whose architecture transformers has."
        )
    return text if len(text) <= _LONGEST else text[:_LONGEST] + "..."


def check_token(what: str, token: object, most: int) -> int:
    """Return the number of a token as a configuration gives it; raises `ModelError` where it is none of `most`."""
    if not isinstance(token, int) or isinstance(token, bool) or not 0 <= token < most:
        raise ModelError(
            f"{what} is {printable(repr(token))}; expected the number of one of the model's {most:,} tokens."
        )
    return token


def check_loaded(
    folder: Path,
    info: Mapping[str, Collection[Any]],
    *,
    may_miss: tuple[str, ...] = (),
    may_have: bool = False,
) -> None:
    """Raise `ModelError` where loading left tensors out: they would be random numbers, or are another model's.

    Names that begin with one of `may_miss` may be missing; `may_have` allows tensors that the model does not use.
    """
    missing = sorted(name for name in info["missing_keys"] if not name.startswith(may_miss))
    shapes = sorted(str(one[0]) for one in info["mismatched_keys"])
    faults = [("missing", missing), ("of another shape", shapes)]
    faults += [] if may_have else [("of no part of this model", sorted(info["unexpected_keys"]))]
    found = [f"{what}: {_listed(names)}" for what, names in faults if names]
    if found:
        raise ModelError(f"{_shown(folder)}: the weights do not fit config.json: tensors {'; '.join(found)}.")


def _table(path: Path) -> Any:
    try:
        if path.stat().st_size > _MOST_JSON:
            raise ModelError(f"{_shown(path)}: larger than {_MOST_JSON >> 20} MiB; this is no file of a model.")
        table = json.loads(path.read_bytes())
    except (OSError, ValueError, RecursionError) as error:
        if isinstance(error, ModelError):
            raise
        raise ModelError(f"{_shown(path)}: cannot be read as JSON ({text_of_error(error)}).") from error
    if not isinstance(table, dict) and path.name in _OBJECTS:
        raise ModelError(f"{_shown(path)}: expected a JSON object, found a {type(table).__name__}.")
    return table


def _check_config(folder: Path, config: Mapping[str, Any]) -> None:
    given = config.get("transformers_weights")
    if given is not None and given not in (WEIGHTS_FILE, INDEX_FILE):
        raise ModelError(f"{_shown(folder / 'config.json')}: transformers_weights: only {WEIGHTS_FILE} is read.")
    for key, value in _entries(config):
        if key.endswith("_implementation") and isinstance(value, str) and "/" in value:
            raise ModelError(
                f"{_shown(folder / 'config.json')}: {printable(key)}: {printable(value)!r} names code of the hub,"
                " which is never run; leave it out."
            )


def _entries(table: Any, depth: int = 0) -> Iterator[tuple[str, Any]]:
    if isinstance(table, Mapping) and depth < 20:
        for key, value in table.items():
            yield key, value
            yield from _entries(value, depth + 1)


def _check_tokenizer(path: Path) -> None:
    from tokenizers import Tokenizer

    with one_line(f"{path}: cannot be read as a tokenizer"):
        Tokenizer.from_file(str(path))


def _weights(folder: Path, index: Any) -> Iterable[Path]:
    """Return the files of the weights that will be read; raises `ModelError` for any that are not safetensors."""
    if index is not None:  # it is checked where it is not read as well: nobody should wonder which
        names = index.get("weight_map")
        if (
            not isinstance(index.get("metadata"), dict)
            or not isinstance(names, dict)
            or not names
            or not all(isinstance(n, str) for n in names.values())
        ):
            raise ModelError(
                f"{_shown(folder / INDEX_FILE)}: expected metadata, and weight_map: a file's name for each tensor."
            )
        bad = sorted({name for name in names.values() if not _is_plain(name)})
        if bad:
            raise ModelError(
                f"{_shown(folder / INDEX_FILE)}: names {_listed(bad)}; expected files of this folder that end in"
                " .safetensors. Weights in any other format are not read."
            )
    if (folder / WEIGHTS_FILE).is_file():
        return [folder / WEIGHTS_FILE]
    if index is None:
        others = sorted(p.name for p in folder.iterdir() if p.suffix in _PICKLES)
        there = f" There is {_listed(others)}: save the model again with safetensors." if others else ""
        raise ModelError(f"{_shown(folder)}: no {WEIGHTS_FILE}. Weights in any other format are not read.{there}")
    paths = [folder / name for name in sorted(set(index["weight_map"].values()))]
    gone = [path.name for path in paths if not path.is_file()]
    if gone:
        raise ModelError(f"{_shown(folder)}: {INDEX_FILE} names {_listed(gone)}, which {_is_are(gone)} not there.")
    return paths


def _is_plain(name: str) -> bool:
    return name.endswith(".safetensors") and PurePosixPath(name).name == PureWindowsPath(name).name == name


def _check_weights(path: Path) -> None:
    from safetensors import safe_open

    with one_line(f"{path}: damaged or not safetensors; copy it again"):
        with safe_open(str(path), "pt") as file:
            file.keys()


def _shown(path: Path) -> str:
    return printable(str(path))


def _listed(names: Collection[str]) -> str:
    shown = ", ".join(printable(str(name)) for name in list(names)[:_LISTED])
    return shown + (f" and {len(names) - _LISTED} more" if len(names) > _LISTED else "")


def _is_are(names: Collection[str]) -> str:
    return "is" if len(names) == 1 else "are"
