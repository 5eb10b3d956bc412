"""Reading all of a stream's data before a run: what is wrong with it, and what it consists of.

Knows streams and their options; loads no model.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any

from streams.census import census_of
from streams.stream import FilesRead, Stream, StreamError, load_stream, stream_options

_ALL = 10**8  # edits, more than any file has
_MADE = 1000  # edits of a stream that is made, which has no end to speak of


@dataclass(frozen=True)
class StreamCheck:
    """What came of checking a stream: everything wrong with its records, and its numbers by what they count."""

    name: str
    reading: FilesRead
    counts: Mapping[str, int] = field(default_factory=dict)
    notes: tuple[str, ...] = ()

    @property
    def ok(self) -> bool:
        """Whether every record can be used."""
        return not self.reading.problems

    def lines(self) -> list[str]:
        """Return the numbers as lines, the records first, then what a user should know of the data."""
        rows = {"records": self.reading.records, "records that cannot be used": self.reading.bad, **self.counts}
        width = max(len(f"{number:,}") for number in rows.values())
        return [*(f"{number:>{width},}  {name}" for name, number in rows.items()), *self.notes]


def examine_stream(
    name: str, *, edits: int = 0, watch: Callable[[int, int], None] | None = None, **options: Any
) -> StreamCheck:
    """Return everything that is wrong with a stream's data and what it consists of, called before runs on it.

    `options` are those of the stream. All records are read, of a training split, too, and all pictures decoded;
    `watch` is told how many pictures are, of how many. Of streams that are made, not read, the first `edits` count
    (1,000 where it is 0). Raises `StreamError` for a stream, an option or a file that there is not.
    """
    known = stream_options(name).model_fields
    asked = dict(options)
    for key, value in (("skip_bad", True), ("pictures", "decoded")):
        if key in known:
            asked[key] = value if key == "skip_bad" else asked.get(key, value)
    try:
        stream = load_stream(name, edits=edits or (_ALL if "path" in known else _MADE), watch=watch, **asked)
    except StreamError as error:
        if not error.reading.problems:
            raise
        return StreamCheck(name, error.reading)
    counts, reading = census_of(stream), stream.reading
    if "split" in known and "split" not in options and reading.records:
        learnt = _training(name, asked, watch)
        counts["records of the training split"] = learnt.reading.records if learnt else 0
        if learnt:
            counts["of these that ask what an edit asks, and are not learnt from"] = _shared(stream, learnt)
            more = learnt.reading
            reading = FilesRead(reading.records, reading.bad + more.bad, reading.problems + more.problems)
    elif reading.records:
        counts["edits to learn from"] = _pooled(stream)
    notes = stream.notes[1:] if stream.reading.problems else stream.notes  # the first one lists what is in `reading`
    return StreamCheck(name, reading, counts, notes)


def _training(name: str, options: Mapping[str, Any], watch: Callable[[int, int], None] | None) -> Stream | None:
    """Return the training split of a benchmark as a stream, None where there is none."""
    try:
        return load_stream(name, edits=_ALL, watch=watch, **{**options, "split": "train", "held_out": 0})
    except StreamError as error:
        if error.reading.problems:
            raise
        return None


def _shared(stream: Stream, learnt: Stream) -> int:
    asked = {edit.query.digest for edit in stream.edits}
    return sum(edit.query.digest in asked for edit in learnt.edits)


def _pooled(stream: Stream) -> int:
    try:
        return len(stream.pool(_ALL).items)
    except StreamError:
        return 0
