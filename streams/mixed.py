"""Several streams mixed into one by a pattern: five edits of one, five of the other, and again. Knows no files.

A part is a stream by its name, with its own options, of which it may take some relations only: two parts of one
stream share its edits between them, so that what one part asks is not edited by the other. The `source` of each edit
begins with the label of its part. UniKE's cross-task sequences are a mix of E-VQA and E-IC. The mix ends with its
first part.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

from pydantic import BaseModel, ConfigDict, Field, field_validator, model_serializer, model_validator

from streams.near import near
from streams.settings import PathText, checked_settings
from streams.stream import FilesRead, Source, Stream, StreamError, StreamOptions, load_stream, stream_options
from streams.types import Edit, Pool, PoolItem, digest_of

_VERSION = "mixed-1"
_OWN = ("name", "label", "only", "without", "options")
_SHARED = ("root", "template", "pictures", "skip_bad")
_LONGEST_SEARCH = 4  # times that a stream is loaded with twice as many edits, where too few are of the relations


class PartOptions(BaseModel):
    """One part of a mix: a stream, its options, and which of its relations are taken."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    name: str
    label: str = ""
    only: tuple[str, ...] = ()
    without: tuple[str, ...] = ()
    options: dict[str, Any] = Field(default_factory=dict)

    @model_validator(mode="before")
    @classmethod
    def _gather(cls, value: Any) -> Any:
        if isinstance(value, str):
            return {"name": str(value)}
        if not isinstance(value, Mapping) or not isinstance(value.get("name"), str):
            raise ValueError("a part is the name of a stream, or a table with its name and its options")
        own = {k: v for k, v in value.items() if k in _OWN and k != "options"}
        return {**own, "options": {k: v for k, v in value.items() if k not in _OWN} | dict(value.get("options", {}))}

    @model_validator(mode="after")
    def _checked(self) -> PartOptions:
        if self.name == "mixed":
            raise ValueError("a part of a mix cannot be a mix; name its parts instead")
        model = stream_options(self.name)
        plain = checked_settings(model, self.options, "stream").model_dump(mode="json", exclude_unset=True)
        object.__setattr__(self, "options", plain)
        return self

    @model_serializer
    def _flat(self) -> dict[str, Any]:
        own = {"label": self.label, "only": list(self.only), "without": list(self.without)}
        return {"name": self.name, **{k: v for k, v in own.items() if v}, **self.options}

    @property
    def title(self) -> str:
        """What the part is called in facts."""
        return self.label or self.name

    def takes(self, edit: Edit) -> bool:
        """Whether an edit of the stream belongs to the part."""
        return (not self.only or edit.relation in self.only) and edit.relation not in self.without


class Options(StreamOptions):
    """A mix of other streams by a pattern, such as five edits of E-VQA and five of E-IC by turns."""

    parts: tuple[PartOptions, ...] = Field(
        (), description="the streams: names, or tables with a name, its options, and label, only, without (relations)"
    )
    pattern: tuple[int, ...] = Field((), description="how many edits of each part come by turns; without it one each")
    root: PathText = Field("", description="the folder of the files, for every part that reads some")
    template: str = Field("", description="how questions are worded, for every part that can be told")
    pictures: str = Field("", description="which pictures must be there, for every part that can be told")
    skip_bad: bool = Field(False, description="leave out records that cannot be used, and say which")

    @field_validator("pattern")
    @classmethod
    def _positive(cls, value: tuple[int, ...]) -> tuple[int, ...]:
        if any(n < 1 for n in value):
            raise ValueError("every part has at least one edit in its turn")
        return value

    @model_validator(mode="after")
    def _fits(self) -> Options:
        titles = [part.title for part in self.parts]
        if self.pattern and len(self.pattern) != len(self.parts):
            raise ValueError(f"pattern has {len(self.pattern)} numbers for {len(self.parts)} parts")
        if len(set(titles)) < len(titles):
            raise ValueError(f"two parts are called {titles[-1]}: give them a label each")
        for key in ("root", "template"):  # the others change nothing where nothing is read
            if getattr(self, key) and self.parts and not any(key in _fields(part) for part in self.parts):
                raise ValueError(f"{key}: no part ({', '.join(titles)}) has such an option")
        return self

    def own(self, part: PartOptions) -> dict[str, Any]:
        """Return the options of a part: its own, and those given to all parts that have them."""
        given = {key: getattr(self, key) for key in _SHARED if getattr(self, key) and key in _fields(part)}
        return {**given, **part.options}


def _fields(part: PartOptions) -> Mapping[str, Any]:
    return stream_options(part.name).model_fields


@dataclass(frozen=True)
class _Part:
    """A part with its stream, and those edits of it that it takes, in order."""

    told: PartOptions
    key: str
    stream: Stream
    edits: tuple[Edit, ...]


def load(options: Options, *, edits: int, seed: int, watch: Callable[[int, int], None] | None = None) -> Stream:
    """Return the mix of at most so many edits; raises `StreamError`, also for what a part raises."""
    if not options.parts:
        raise StreamError("stream=mixed: of which streams? Say stream.parts=evqa,eic (and stream.root=FOLDER).")
    pattern = options.pattern or (1,) * len(options.parts)
    rounds = -(-edits // sum(pattern))
    parts = _loaded(options, [rounds * turn for turn in pattern], edits, seed, watch)
    order = [place for _ in range(rounds) for place, turn in enumerate(pattern) for _ in range(turn)][:edits]
    home: dict[str, tuple[Stream, Edit]] = {}
    mixed: list[Edit] = []
    left = [iter(part.edits) for part in parts]
    for place in order:
        edit = next(left[place], None)
        if edit is None:
            break
        home[edit.id] = (parts[place].stream, edit)
        mixed.append(_labelled(edit, parts[place].told.title))
    streams = list({part.key: part.stream for part in parts}.values())
    notes = [note for stream in streams for note in stream.notes]
    if len(mixed) < edits:
        ended = parts[order[len(mixed)]].told.title
        notes.append(f"mixed: {ended} has no more edits after {len(mixed):,} of the mix ({edits:,} were asked for)")
    general = {probe.id: probe for stream in streams for probe in stream.general}
    shares = {part.key: sum(t for p, t in zip(parts, pattern, strict=True) if p.key == part.key) for part in parts}
    taken = [repr((p.told.title, p.told.only, p.told.without)) for p in parts]
    return Stream(
        "mixed",
        digest_of(_VERSION, repr(pattern), *taken, *(part.stream.digest for part in parts)),
        tuple(mixed),
        tuple(general.values()),
        Source(
            lambda edit: home[edit.id][0].probes(edit.id),
            lambda n, seed: _pooled_of(streams, list(shares.values()), n, seed),
            lambda edit: home[edit.id][0].truths(edit.id),
        ),
        tuple(notes),
        _reading(streams),
    )


def _loaded(
    options: Options, wanted: Sequence[int], edits: int, seed: int, watch: Callable[[int, int], None] | None
) -> list[_Part]:
    """Return the parts with as many edits as are wanted of each, or all there are; one stream is loaded once."""
    keys = [repr((part.name, sorted(options.own(part).items()))) for part in options.parts]
    found: dict[str, Stream] = {}
    for part, key in zip(options.parts, keys, strict=True):
        if key in found:
            continue
        needs = [(p, n) for p, k, n in zip(options.parts, keys, wanted, strict=True) if k == key]
        ask = sum(n for _, n in needs)
        for _ in range(_LONGEST_SEARCH):
            stream = load_stream(part.name, edits=ask, seed=seed, watch=watch, **options.own(part))
            enough = all(sum(map(p.takes, stream.edits)) >= n for p, n in needs)
            if enough or len(stream) < ask:
                break
            ask *= 2
        found[key] = stream
    parts = []
    for part, key in zip(options.parts, keys, strict=True):
        mine = tuple(edit for edit in found[key].edits if part.takes(edit))
        if not mine:
            known = sorted({edit.relation for edit in found[key].edits if edit.relation})
            said = next((r for r in (*part.only, *part.without) if r not in known), "")
            raise StreamError(f"stream.parts: no edit of {part.title} is left.{near(said, known) if said else ''}")
        parts.append(_Part(part, key, found[key], mine))
    return parts


def _labelled(edit: Edit, label: str) -> Edit:
    rest = edit.source if edit.source.split("/")[0] != label else edit.source.removeprefix(label).removeprefix("/")
    return replace(edit, source=f"{label}/{rest}" if rest else label)


def _pooled_of(streams: Sequence[Stream], shares: Sequence[int], n: int, seed: int) -> Pool:
    """Return training items of the streams' pools, as many of each as its share; raises what a pool raises."""
    items: list[PoolItem] = []
    digests = []
    for place, stream in enumerate(streams):
        count = n * sum(shares[: place + 1]) // sum(shares) - n * sum(shares[:place]) // sum(shares)
        if count:
            pool = stream.pool(count, seed)
            items += pool.items
            digests.append(pool.digest)
    return Pool(tuple(items), digest_of(_VERSION, "pool", *digests), seed)


def _reading(streams: Sequence[Stream]) -> FilesRead:
    all_read = [stream.reading for stream in streams]
    problems = tuple(line for read in all_read for line in read.problems)
    return FilesRead(sum(r.records for r in all_read), sum(r.bad for r in all_read), problems)
