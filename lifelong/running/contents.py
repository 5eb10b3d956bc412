"""What lies in the files and folders that a run's options name: digests, so that a changed file is another run.

Knows configurations and files; nothing of what the files are for. A stream's files are in the stream's own digest.
"""

from __future__ import annotations

from pathlib import Path

from lifelong.editing.contract import EditorOptions
from lifelong.log.files import content_digest
from lifelong.running.config import RunConfig
from lifelong.running.options import options_model
from streams.settings import path_options


def contents_of(config: RunConfig, editor: EditorOptions) -> dict[str, str]:
    """Return a digest of the content behind every path among a run's options, by dotted key.

    Where there is nothing at a path, the path itself tells runs apart.
    """
    paths = {f"editor.{k}": v for k, v in path_options(type(editor), editor.model_dump(mode="json")).items()}
    for key in ("clock", "arrivals", "queries", "withdrawals"):
        part = getattr(config, key)
        if part is not None:
            found = path_options(options_model(key, part.name), part.options)
            paths |= {f"{key}.{option}": value for option, value in found.items()}
    digests = {key: content_digest(Path(path)) for key, path in paths.items()}
    return {key: digest for key, digest in digests.items() if digest}
