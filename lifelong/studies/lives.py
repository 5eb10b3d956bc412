"""Lives of edits as a report's page shows them: with their pictures, where the run's stream can still open them.

Knows stories and pictures; chooses no edit and writes no page.
"""

from __future__ import annotations

import base64
import io
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

from lifelong.log import RunLog
from lifelong.running.story import MOMENT_COLUMNS, Story, ending, stories, story_rows
from reports.parts import Life
from streams.pictures.images import file_ref, open_image
from streams.types import ImageError, ImageRef, digest_of

_SIDE = 96  # pixels of the longer side on a page
_NEEDED = ("step", "answer", "right", "served", "score")  # further columns are shown where a moment has them


def page_teller() -> Callable[[Path, Sequence[str]], list[Life]]:
    """Return what tells lives of edits for `reports.page.write_report`; each picture is read once.

    Of a run that kept no words of its edits there is nothing to tell: its list is empty.
    """
    pictures: dict[tuple[str, str], tuple[str, str]] = {}

    def tell(folder: Path, edits: Sequence[str]) -> list[Life]:
        log = RunLog.open(folder)
        if "edits.parquet" not in log.manifest.get("files", {}):
            return []  # it kept no words, so there is nothing to tell
        root, out = _root(log), []
        for found in stories(folder, edits):
            key = (found.told["picture"], root)
            if key not in pictures:
                pictures[key] = _picture(*key)
            out.append(_life(found, *pictures[key]))
        return out

    return tell


def _life(found: Story, picture: str, shown: str) -> Life:
    rows = story_rows(found)
    keys = [k for k in MOMENT_COLUMNS if k in _NEEDED or (k != "age" and any(row[k] for row in rows))]
    cells = tuple(tuple("–" if row[k] in (None, "") else str(row[k]) for k in keys) for row in rows)
    told = found.told
    return Life(
        title=f"edit {found.number} of {found.of}",
        picture=picture,
        shown=shown,
        question=told["prompt"],
        before=told["edit_id"],  # the page knows what the unedited model said
        target=told["target"],
        happened=found.happened,
        heads=tuple(MOMENT_COLUMNS[k] for k in keys),
        rows=cells,
        end=ending(found),
    )


def _root(log: RunLog) -> str:
    """Return the folder of a run's picture files: `stream.root`, or that of `stream.path`; '' where it has none."""
    stream: Any = log.config().get("stream", {})
    options = stream if isinstance(stream, dict) else {}
    path = str(options.get("path", ""))
    return str(options.get("root", "")) or (str(Path(path).parent) if path else "")


def _picture(uri: str, root: str) -> tuple[str, str]:
    """Return a small PNG as base64 and what is said of it; '' with the reason where it cannot be shown."""
    if not uri:
        return "", "none: a question in words"
    try:
        scheme, _, place = uri.partition(":")
        ref = file_ref(root, place) if scheme == "file" else ImageRef(uri, digest_of(uri))
        image = open_image(ref)
    except (ImageError, OSError, ValueError) as error:
        return "", f"{uri} (not shown: {error})"
    image.thumbnail((_SIDE, _SIDE))
    buffer = io.BytesIO()
    image.save(buffer, "PNG", optimize=True)
    return base64.b64encode(buffer.getvalue()).decode(), uri
