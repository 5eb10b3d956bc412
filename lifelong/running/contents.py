"""What lies in the files and folders that a run's options name: digests, so that a changed file is another run.

Knows configurations and files; nothing of what the files are for. A stream's files are in the stream's own digest.
"""

from __future__ import annotations

import hashlib
import os
from pathlib import Path

from lifelong.editing.contract import EditorOptions
from lifelong.running.config import RunConfig
from lifelong.running.options import options_model
from streams.settings import path_options


def contents_of(config: RunConfig, editor: EditorOptions) -> dict[str, str]:
    """Return a digest of the content behind every path among a run's options, by dotted key.

    Files count, and folders that are runs (by their facts); of any other folder the path itself tells runs apart.
    """
    paths = {f"editor.{k}": v for k, v in path_options(type(editor), editor.model_dump(mode="json")).items()}
    for key in ("clock", "arrivals", "queries", "withdrawals"):
        part = getattr(config, key)
        if part is not None:
            found = path_options(options_model(key, part.name), part.options)
            paths |= {f"{key}.{option}": value for option, value in found.items()}
    digests = {key: content_digest(Path(path)) for key, path in paths.items()}
    return {key: digest for key, digest in digests.items() if digest}


def content_digest(path: Path) -> str:
    """Return 16 hexadecimal digits of a file's content or of a run's facts; '' for anything else."""
    files = [path] if path.is_file() else sorted((path / "facts").glob("*.parquet"))
    whole = hashlib.sha256()
    for file in files:
        whole.update(os.fsencode(file.name if path.is_dir() else "") + b"\0" + file.read_bytes())
    return whole.hexdigest()[:16] if files else ""
