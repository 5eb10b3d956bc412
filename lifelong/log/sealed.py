"""JSON files that tell their own damage: an object with the digest of everything else that is in it.

Knows nothing about what the objects mean. A changed bit either changes a value, which the digest does not agree
with, or changes nothing that is read.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from lifelong.log.files import LogError, read_regular, write_atomic

DIGEST = "digest"


def digest_of_bytes(data: bytes) -> str:
    """Return 32 hexadecimal digits of a file's content."""
    return hashlib.sha256(data).hexdigest()[:32]


def _digest_of_table(content: Mapping[str, Any]) -> str:
    text = json.dumps({k: v for k, v in content.items() if k != DIGEST}, sort_keys=True)
    return digest_of_bytes(text.encode())


def write_sealed(path: Path, content: Mapping[str, Any], indent: int | None = None) -> None:
    """Write an object and its digest as JSON, atomically; what JSON cannot hold is written as text.

    Raises `LogError` with the file's name when it cannot be written.
    """
    plain = json.loads(json.dumps(dict(content), default=str))  # as it will be read: keys are text
    text = json.dumps({**plain, DIGEST: _digest_of_table(plain)}, sort_keys=True, indent=indent) + "\n"
    write_atomic(path, lambda f: f.write(text.encode()))


def read_object(path: Path) -> dict[str, Any]:
    """Return a file's JSON object, its digest unchecked; raises `FileNotFoundError`, `LogError`."""
    try:
        found = json.loads(read_regular(path))
    except FileNotFoundError:
        raise
    except (OSError, ValueError, RecursionError) as error:
        reason = error.strerror if isinstance(error, OSError) and error.strerror else error
        raise LogError(f"{path}: damaged, it cannot be read as JSON ({reason}).") from error
    if not isinstance(found, dict):
        raise LogError(f"{path}: damaged, expected an object in braces, found {type(found).__name__}.")
    return found


def read_sealed(path: Path) -> dict[str, Any]:
    """Return what `write_sealed` wrote, without the digest.

    Raises `FileNotFoundError`, and `LogError` with the file's name where it is not what was written.
    """
    return unsealed(path, read_object(path))


def unsealed(path: Path, found: Mapping[str, Any]) -> dict[str, Any]:
    """Return an object that was read from `path` without its digest; raises `LogError` when that does not agree."""
    if found.get(DIGEST) != _digest_of_table(found):
        raise LogError(f"{path}: damaged or edited, its content is not what its digest says.")
    return {k: v for k, v in found.items() if k != DIGEST}
