"""What a stream edits and asks, as flat rows for a table that people read. Knows no file format and no model.

Every value is a text, a whole number or a list of texts, '' where there is nothing, so that a column has one type.
"""

from __future__ import annotations

from collections.abc import Iterator

from streams.stream import Stream
from streams.types import ImageRef

StreamRow = dict[str, str | int | list[str]]


def edit_rows(stream: Stream) -> Iterator[StreamRow]:
    """Yield one row an edit, in order, for a table of what was edited.

    `step` counts from 1: after so many edits a panel knows this one. `picture` is the URI, '' for a text question.
    """
    for step, edit in enumerate(stream.edits, 1):
        yield {
            "step": step,
            "edit_id": edit.id,
            "prompt": edit.query.prompt,
            "picture": _uri(edit.query.image),
            "target": edit.target,
            "subject": edit.subject,
            "relation": edit.relation,
            "supersedes": edit.supersedes or "",
            "prompt_kind": edit.prompt_kind,
            "source": edit.source,
        }


def probe_rows(stream: Stream) -> Iterator[StreamRow]:
    """Yield one row a probe, those of the edits in their order and then the general set (its `edit_id` is '').

    `accepted` lists the answers that count beside the target; `hops` is the number of steps of reasoning.
    """
    for probe in stream.every_probe():
        yield {
            "probe_id": probe.id,
            "edit_id": probe.edit_id,
            "axis": probe.axis,
            "variant": probe.variant,
            "modality": probe.modality,
            "prompt": probe.query.prompt,
            "picture": _uri(probe.query.image),
            "target": probe.target,
            "accepted": list(probe.accepted),
            "reference": probe.reference,
            "hops": probe.hops,
        }


def _uri(image: ImageRef | None) -> str:
    return image.uri if image else ""
