"""A published benchmark as a stream: its files are found and read, its pictures checked, its pool taken from a split.

Knows what all benchmarks share; what the fields of one mean is told by its own module. A record is an edit (or two)
in the order of the file, also where it repeats another one, so that published counts hold; the repeated question then
replaces the earlier edit. All records of a file are read, but only pictures of edits that are chosen are opened.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import replace
from functools import cached_property
from typing import Literal

from pydantic import Field

from streams.files.bad_records import left_out
from streams.files.joining import asked_probes
from streams.orders.order import PERMUTING, edit_id, generator, ordered
from streams.pictures.files import Watch
from streams.published.case import Pictured
from streams.published.files import PartFile
from streams.published.reader import Benchmark, Reader, file_digest
from streams.settings import PathText
from streams.stream import Source, Stream, StreamError, StreamOptions
from streams.types import Pool, PoolItem, Probe, Query, digest_of, identity_of, modality_of, probe_with_id

_VERSION = "published-1"


class PublishedOptions(StreamOptions):
    """What every published benchmark can be told."""

    root: PathText = Field("", description="the folder that the benchmark's files lie in, or two levels below")
    path: PathText = Field("", description="the file of the edits, where it has another name than the published one")
    train: PathText = Field("", description="the file of the pool, where it has another name than the published one")
    images: PathText = Field("", description="the folder that picture paths begin at; found where it is not given")
    pictures: Literal["all", "decoded", "found", "drawn", "unread"] = Field(
        "all",
        description="all must be there; decoded: and be whole; found: a question without its picture is left out; "
        "drawn: a pattern stands for one that is not there; unread: none is looked for before it is needed",
    )
    template: str = Field(
        "published", description="how questions are worded: published, plain, another paper's, or a text with {}"
    )
    split: Literal["eval", "train", "all"] = Field(
        "eval", description="which of the published files the edits are from; all: those to edit, then those to learn"
    )
    held_out: int = Field(
        0, ge=0, description="so many records at the end of the file are the pool to learn from, and no edits"
    )
    general: int = Field(
        0,
        ge=0,
        description="so many records before those held out, and as many to learn from, are asked at panels as "
        "questions that no edit is about",
    )
    order: str = Field("file", description=f"file (as it stands), or one of {', '.join(PERMUTING)}")
    skip_bad: bool = Field(False, description="leave out records that cannot be used, and say which")


def read_benchmark(
    benchmark: Benchmark,
    options: PublishedOptions,
    *,
    edits: int,
    seed: int,
    part: str = "",
    watch: Watch | None = None,
) -> Stream:
    """Return the stream of a benchmark's files (of one part, where it is said), at most so many edits.

    `watch` is told how many pictures are read, of how many. Raises `StreamError` that lists bad records with file,
    record and field, unless they are to be left out.
    """
    reader = Reader(benchmark, options.template, options.images, options.pictures)
    files = _files(reader, options, part)
    drafts: list[Pictured] = []
    for file in files:
        drafts += reader.drafts(file)
        ends = options.held_out or options.general  # both are of the file's end
        if options.order == "file" and not ends and options.split == "eval" and len(drafts) >= edits:
            break  # what comes after is no edit of this stream
    held = min(options.held_out, len(drafts))
    rest, kept_back = drafts[: len(drafts) - held], drafts[len(drafts) - held :]
    aside = min(options.general, len(rest))
    candidates, untouched = rest[: len(rest) - aside], rest[len(rest) - aside :]

    # What is wrong with the records themselves and with the pictures of those chosen is told together.
    chosen = reader.pictured(_in_order(candidates, options.order, seed), edits, watch)
    general = _general(reader.pictured(untouched, aside, watch), "test") if aside else ()
    where = reader.where(files)
    reading = reader.reading
    notes = left_out(where, reading, skip=options.skip_bad)
    if not chosen:
        raise StreamError(
            f"{where}: no record is left to edit ({reading.records} were read, {reading.bad} cannot be used). "
            f"Expected the files of {benchmark.name} as they are published.",
            reading,
        )
    items = _items(chosen)

    # The pool: the end of the file, what the edits leave of the training split, or the whole of it.
    from_training = options.split != "eval"
    here = kept_back or (drafts if from_training else [])
    source = _Learning(benchmark, options, part, chosen if from_training else rest, here)
    general += _general(source.first(options.general), "train") if options.general else ()
    asked = {_question(draft) for draft in chosen}
    general = tuple(p for p in general if _asked(p.query) not in asked)
    texts = (d.text + "".join(i.digest for i in _images(d)) for d in chosen)
    made_of = digest_of(_VERSION, benchmark.name, repr(reader.template), options.pictures, source.digest, *texts)
    truths = dict(zip(items, (d.draft.truths for d in chosen), strict=True))
    notes += reader.notes(where)
    return Stream(
        benchmark.name,
        made_of,
        tuple(item.edit for item in items.values()),
        tuple({probe.id: probe for probe in general}.values()),
        Source(
            lambda edit: asked_probes(edit, items[edit.id].probes),
            source.pool,
            lambda edit: truths.get(edit.id, ()),
        ),
        tuple(notes),
        reading,
    )


def _files(reader: Reader, options: PublishedOptions, part: str) -> list[PartFile]:
    """Return the files that the edits are from, in their order; raises `StreamError` where one is not there."""
    found: list[PartFile] = []
    if options.split != "train":
        found += reader.files(options.root, options.path, part)
    if options.split != "eval":
        found += reader.files(options.root, options.train, part, train=True)
    return found


class _Learning:
    """What an editor may learn from beforehand: drafts that are here already, or those of the training files."""

    def __init__(
        self,
        benchmark: Benchmark,
        options: PublishedOptions,
        part: str,
        edited: Sequence[Pictured],
        here: Sequence[Pictured],
    ) -> None:
        self._benchmark, self._options, self._edited, self._here = benchmark, options, edited, here
        self._reader = Reader(benchmark, options.template, options.images, options.pictures)
        self._files = []
        if not here:
            self._files = self._reader.files(
                options.root or options.path, options.train, part, train=True, needed=False
            )
        self.digest = digest_of(*(d.text for d in here), *(file_digest(file.path) for file in self._files))

    @cached_property
    def _drafts(self) -> list[Pictured]:
        return [*self._here, *(draft for file in self._files for draft in self._reader.drafts(file))]

    def first(self, n: int) -> list[Pictured]:
        """Return the first n drafts of what may be learnt from; none where there is nothing, or none is whole."""
        return self._reader.pictured(self._drafts, n, None)

    def pool(self, n: int, seed: int) -> Pool:
        """Return n items none of which asks what an edit of the stream asks; raises `StreamError` without any."""
        options, name = self._options, self._benchmark.name
        drafts = self._drafts
        if not drafts and not self._reader.reading.records:
            raise StreamError(f"{name}: {self._benchmark.without_training(options.root)}")
        asked = {_question(draft) for draft in self._edited}
        drafts = [draft for draft in drafts if _question(draft) not in asked]
        order = generator(seed, name, "pool").permutation(len(drafts))
        chosen = self._reader.pictured([drafts[i] for i in order], n, None)
        where = self._reader.where(self._files) if self._files else name
        left_out(where, self._reader.reading, skip=options.skip_bad)
        if not chosen:
            raise StreamError(f"{where}: every record to learn from asks what an edit of the stream asks, or is bad.")
        found = tuple(replace(item, probes=asked_probes(item.edit, item.probes)) for item in _items(chosen).values())
        return Pool(found, identity_of(found), seed)


def _general(drafts: Sequence[Pictured], variant: str) -> tuple[Probe, ...]:
    """Return the questions of drafts as ones that no edit is about: they should be answered as before any edit."""
    probes = []
    for one in drafts:
        edit, modality = one.draft.edit, modality_of("general", one.draft.edit.query, one.draft.edit.query)
        answers = one.draft.truths or (edit.target,)
        probe = Probe("", "", "general", variant, modality, edit.query, answers[0], "baseline", answers[1:])
        probes.append(probe_with_id(probe))
    return tuple(probes)


def _images(draft: Pictured) -> list:
    asked = [draft.draft.edit.query, *(probe.query for probe in draft.draft.probes)]
    return [query.image for query in asked if query.image is not None]


def _question(draft: Pictured) -> tuple[str, str]:
    """Return what an edit asks, and the path of its picture, looked for or not."""
    return _asked(draft.draft.edit.query)


def _asked(query: Query) -> tuple[str, str]:
    return query.prompt, query.image.uri.partition(":")[2] if query.image else ""


def _items(drafts: Sequence[Pictured]) -> Mapping[str, PoolItem]:
    """Return edits and their probes by id: that of a content that comes again says the how manieth it is."""
    seen: Counter[str] = Counter()
    items: dict[str, PoolItem] = {}
    for one in drafts:
        name = edit_id(one.draft.edit)
        seen[name] += 1
        unique = name if seen[name] == 1 else f"{name}-{seen[name]}"
        items[unique] = PoolItem(replace(one.draft.edit, id=unique), one.draft.probes)
    return items


def _in_order(drafts: Sequence[Pictured], order: str, seed: int) -> list[Pictured]:
    if order == "file":
        return list(drafts)
    named = dict(zip(_items(drafts), drafts, strict=True))
    edits = [replace(one.draft.edit, id=name) for name, one in named.items()]
    try:
        return [named[edit.id] for edit in ordered(edits, order, seed, known=PERMUTING)]
    except ValueError as error:
        raise StreamError(f"stream.{error} Or file: as it stands.") from error
