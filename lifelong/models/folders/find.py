"""Where a model lies: a folder, or a snapshot of the Hugging Face hub on this machine, else from the hub itself.

A name that is a path is never looked for on the hub, and a hub that does not answer within seconds is one line.
"""

from __future__ import annotations

import re
import threading
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from lifelong.models.folders.check import ModelError, check_folder, one_line, text_of_error
from streams.near import near
from streams.text import printable

WAIT_S = 3.0
_HUB_ID = re.compile(r"[A-Za-z0-9_][\w.-]*/[A-Za-z0-9_][\w.-]*")
_SHOWN = 200  # characters of a name in a message
_FILES = ["*.safetensors", "*.json", "*.jinja", "*.txt", "*.model"]  # all that is ever read of a model


def find_model(name: str, known: Iterable[str] = ()) -> Path:
    """Return the folder of a model's name, which is a path or an id of the hub; raises `ModelError`.

    `known` are names that are near for a misspelt one.
    """
    shown = f"model={printable(name if len(name) <= _SHOWN else name[:_SHOWN] + '...')}"
    try:
        path = Path(name).expanduser()
        there = path.exists()
    except (OSError, ValueError, RuntimeError) as error:  # too long, a NUL, a home that nobody has
        raise ModelError(f"{shown}: no such folder or model ({text_of_error(error)}).") from error
    if there and path.is_dir():
        return path
    if there:
        raise ModelError(
            f"{shown}: this is a file. Expected a folder with config.json, a processor and model.safetensors; "
            "weights in any other format are not read."
        )
    if not _HUB_ID.fullmatch(name) or Path(name.split("/")[0]).is_dir():
        names, what = (_models_beside(path), "folder") if "/" in name else (list(known), "model")
        hint = near(path.name, names) if names else ""
        raise ModelError(f"{shown}: no such {what}.{hint} A model is a name, a folder or a hub id.")
    return _from_hub(name, shown)


def _models_beside(path: Path) -> list[str]:
    try:
        return [p.name for p in path.parent.iterdir() if (p / "config.json").is_file()]
    except OSError:
        return []


def _from_hub(name: str, shown: str) -> Path:
    """Return the snapshot of a hub's model, from this machine where it is there and whole."""
    import huggingface_hub
    from huggingface_hub import constants

    broken = ""
    try:
        folder = Path(huggingface_hub.snapshot_download(name, local_files_only=True))
        check_folder(folder)
        return folder
    except ModelError as error:
        broken = f" What is here is not whole: {error}"
    except Exception:  # not on this machine, in any of the ways in which the library says so
        pass
    way = "Download it where there is a network (hf download NAME), or give a folder."
    if constants.HF_HUB_OFFLINE:
        raise ModelError(f"{shown}: not on this machine, and HF_HUB_OFFLINE is set.{broken} {way}")
    with _quiet():
        found = _asked(name)
        refused = (huggingface_hub.errors.RepositoryNotFoundError, huggingface_hub.errors.GatedRepoError)
        if found is not None and isinstance(found, refused):
            raise ModelError(f"{shown}: the hub has no such model, or not for you ({text_of_error(found)}).{broken}")
        if found is not None:
            why = "" if isinstance(found, TimeoutError) else f" ({text_of_error(found)})"
            raise ModelError(
                f"{shown}: not on this machine, and the hub did not answer within {WAIT_S:g} s{why}.{broken} {way}"
                " With HF_HUB_OFFLINE=1 the hub is not asked."
            )
        with one_line(f"{shown}: cannot be downloaded"):
            return Path(huggingface_hub.snapshot_download(name, allow_patterns=_FILES))


def _asked(name: str) -> Exception | None:
    """Ask the hub whether it has a model, for a few seconds; return what went wrong, None where it has it.

    In a thread that is left behind: looking up a host's name cannot be given a limit.
    """
    from huggingface_hub import HfApi

    answer: list[Exception | None] = []

    def ask() -> None:
        try:
            HfApi().model_info(name, timeout=WAIT_S)
            answer.append(None)
        except Exception as error:  # whatever it is, it is told
            answer.append(error)

    asking = threading.Thread(target=ask, daemon=True)
    asking.start()
    asking.join(WAIT_S)
    return answer[0] if answer else TimeoutError()


@contextmanager
def _quiet() -> Iterator[None]:
    """Keep the hub's library from telling of every try."""
    from huggingface_hub.utils import logging

    before: Any = logging.get_verbosity()
    logging.set_verbosity_error()
    try:
        yield
    finally:
        logging.set_verbosity(before)
