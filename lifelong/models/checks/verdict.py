"""The short form of the checks, made when a model is loaded for the first time, and the verdict kept.

A model that does not keep a check is refused by name: its numbers would be wrong without a word. Knows checks, files
and versions; nothing of runs.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import torch
import transformers

from lifelong.log.files import write_atomic
from lifelong.log.machine import package_version
from lifelong.models.checks.findings import findings_of
from lifelong.models.folders.check import ModelError
from streams.text import printable


def require_checked(make: Callable[[], Any], name: str, digest: str, kept: Path | None = None) -> None:
    """Raise `ModelError` that names the first check that a model does not keep; called once for a loaded model.

    `make` gives a new door, `digest` identifies folder and dtype. In the folder `kept` it is written down that all
    were kept, so that this model is not checked again under the same versions; without a folder it is checked anew.
    """
    note = None if kept is None else kept / f"{_key(digest)}.json"
    if note is not None and note.is_file():
        return
    for finding in findings_of(make, short=True):
        if not finding.kept:
            raise ModelError(
                f"{printable(name)}: this model is not supported, it does not keep the check {finding.name!r}:"
                f" {finding.why}. `lifelong model check FOLDER` makes all checks."
            )
    if note is not None:
        note.parent.mkdir(parents=True, exist_ok=True)
        told = json.dumps({"model": name, "digest": digest, **_versions()}, indent=1) + "\n"
        write_atomic(note, lambda file: file.write(told.encode()))


def _versions() -> dict[str, str]:
    return {
        "torch": torch.__version__,
        "transformers": transformers.__version__,
        "lifelong-edit": package_version(),
    }


def _key(digest: str) -> str:
    return hashlib.sha256(repr((digest, sorted(_versions().items()))).encode()).hexdigest()[:16]
