"""Your own stream from a file of JSON records, with pictures below one folder. Knows no other dataset.

One record a line, or all in one array. A record is

    {"prompt": "What is this?", "image": "img/1.jpg", "target": "a heron", "probes": [...]}

| field | type | meaning |
|---|---|---|
| prompt, target | text, required | the question, and the answer from now on |
| image | text | a path below `stream.root` (default: the folder of the file) |
| id | text | unique; by default made of the content |
| subject, relation, source, prompt_kind | text | for grouping and splitting curves |
| truths | list of texts | what was right before any edit: whether the model knew it is then noted |
| supersedes | text | the id of an earlier record that this one replaces; by default that of the same question |
| split | "edit" (default), "fit", "general" | `fit`: for training editors only; `general`: one untouched question |
| probes | list | each an object: axis, prompt, target; also variant, image, reference, accepted (texts), hops |

The `reference` of a probe is "target" or "baseline". Without it a probe compares with the frozen model ("baseline")
on the axes locality, negation and grid, and with its target elsewhere and in the grid's cell `text-edit/image-edit`.
A `variant` is free text, but a cell's name on axis grid (`streams.axes`). `hops` is 1 on axis portability and 0
elsewhere, if it is not given. A reliability probe is added where none is given. A field that is
null is left out. What one record repeats of another is joined with it (`streams.files.joining`).
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

from pydantic import Field

from streams.axes import GRID_CELLS, RETIRED_VARIANTS, usual_reference
from streams.files.bad_records import left_out
from streams.files.fields import RecordFields
from streams.files.joining import Draft, joined, settled
from streams.files.records import RawRecord, RecordsError, read_records
from streams.orders.order import PERMUTING, generator, ordered
from streams.pictures.files import Watch, read_pictures
from streams.settings import PathText
from streams.stream import FilesRead, Source, Stream, StreamError, StreamOptions
from streams.types import (
    AXES,
    Edit,
    ImageError,
    ImageRef,
    Pool,
    PoolItem,
    Probe,
    Query,
    digest_of,
    identity_of,
    modality_of,
    probe_with_id,
)

_VERSION = "jsonl-2"
_EDIT_FIELDS = (
    "id", "prompt", "target", "image", "subject", "relation", "source", "prompt_kind", "supersedes",
    "split", "probes", "truths",
)  # fmt: skip
_PROBE_FIELDS = ("axis", "prompt", "target", "variant", "image", "reference", "accepted", "hops")
_MOST_HOPS = 1000


class Options(StreamOptions):
    """Your own edits: a file of JSON records, with pictures below one folder."""

    path: PathText = Field(description="the file: one JSON object a line, or all in one array")
    root: PathText = Field("", description="the folder of the pictures; by default that of the file")
    order: str = Field("file", description=f"file (as it stands), or one of {', '.join(PERMUTING)}")
    skip_bad: bool = Field(False, description="leave out records that cannot be used, and say which")


def load(options: Options, *, edits: int, seed: int, watch: Watch | None = None) -> Stream:
    """Return the stream of a file, its first `edits` edits in the order asked for; `watch` is told of pictures read.

    Raises `StreamError` that lists all bad records with file, line and field, unless they are to be left out.
    """
    path = Path(options.path)
    try:
        raws = read_records(path)
    except RecordsError as error:
        head = "" if str(error).startswith(f"{path}, ") else f"stream.path={options.path}: "
        raise StreamError(f"{head}{error}") from error
    # Every record by itself, then what it says of others: all problems are known before any is told.
    root = options.root or str(path.parent)
    named = dict.fromkeys(name for raw in raws for name in _pictures_of(raw.value))
    pictures = read_pictures([(root, name) for name in named], decoded=True, watch=watch)
    reader = _Reader({name: found for (_, name), found in pictures.items()})
    drafts = [draft for draft in map(reader.draft, raws) if draft is not None]
    problems = dict(reader.problems)
    kept, repeats = joined(drafts, problems)
    items, truths = settled(kept, problems)
    lines = tuple(f"{path}, {line}" for found in problems.values() for line in found)
    reading = FilesRead(len(raws), len(problems), lines)
    notes = left_out(str(path), reading, skip=options.skip_bad)

    chosen = _in_order(items["edit"], options.order, seed)[:edits]
    if not chosen:
        raise StreamError(
            f"{path}: no record of split 'edit' is left ({len(raws)} were read, {len(problems)} left out). Expected "
            'records such as {"prompt": "What is this?", "target": "a heron"}.',
            reading,
        )
    bad = tuple(raw.text for raw in raws if raw.place in problems)
    probes = tuple(probe for item in chosen for probe in item.probes)
    known = [identity_of((item.edit.id, truths[item.edit.id])) for item in chosen if item.edit.id in truths]
    made_of = digest_of(_VERSION, identity_of(probes), identity_of(tuple(items["fit"])), *bad, *known)
    table = {item.edit.id: item.probes for item in chosen}
    source = Source(
        lambda edit: table[edit.id],
        lambda n, s: _pool(items["fit"], n, s, path),
        lambda edit: truths.get(edit.id, ()),
    )
    general = tuple(_general(item) for item in items["general"])
    notes += _notes(path, chosen, repeats)
    chosen_edits = tuple(item.edit for item in chosen)
    return Stream("jsonl", made_of, chosen_edits, general, source, tuple(notes), reading)


def _pictures_of(record: Any) -> Iterator[str]:
    """Yield the paths of pictures that a record names, as far as it is one."""
    if isinstance(record, dict):
        probes = record.get("probes")
        for one in (record, *(probes if isinstance(probes, list) else ())):
            if isinstance(one, dict) and isinstance(one.get("image"), str):
                yield one["image"]


class _Reader:
    """Reads records one by one; `problems` are what is wrong, by the place of the record."""

    def __init__(self, pictures: Mapping[str, ImageRef | ImageError]) -> None:
        self._pictures = pictures
        self.problems: dict[str, list[str]] = {}

    def draft(self, raw: RawRecord) -> Draft | None:
        """Return what a record says, or None with its problems noted."""
        problems: list[str] = [f"{raw.place}, {raw.problem}"] if raw.problem else []
        if not raw.problem:
            found = self._record(RecordFields(raw.value, _EDIT_FIELDS, raw.place, problems), raw.place)
            if not problems:
                return found
        self.problems[raw.place] = problems
        return None

    def _record(self, fields: RecordFields, place: str) -> Draft:
        query = Query(fields.text("prompt", asked=True), self._picture(fields))
        edit = Edit(
            fields.text("id", ""),
            query,
            fields.text("target", asked=True),
            fields.text("subject", ""),
            fields.text("relation", ""),
            fields.text("source", "jsonl"),
            fields.text("supersedes", "") or None,
            fields.text("prompt_kind", "generic" if query.image else "text"),
        )
        said = frozenset(n for n in ("subject", "relation", "source", "prompt_kind", "truths") if fields.given(n))
        probes = tuple(self._probe(one, edit) for one in fields.objects("probes", _PROBE_FIELDS))
        split = fields.choice("split", ("edit", "fit", "general"), "edit")
        return Draft(place, split, edit, said, probes, fields.texts("truths"))

    def _probe(self, fields: RecordFields, edit: Edit) -> Probe:
        axis = fields.choice("axis", [a for a in AXES if a != "general"])
        variant = self._variant(fields, axis)
        reference = fields.choice("reference", ("target", "baseline"), usual_reference(axis, variant))
        query = Query(fields.text("prompt", asked=True), self._picture(fields))
        return Probe(
            "",
            "",
            axis,  # pyright: ignore[reportArgumentType]
            variant,
            modality_of(axis, query, edit.query),
            query,
            fields.text("target", asked=True),
            reference,  # pyright: ignore[reportArgumentType]
            fields.texts("accepted"),
            fields.whole("hops", 1 if axis == "portability" else 0, _MOST_HOPS),
        )

    def _variant(self, fields: RecordFields, axis: str) -> str:
        if axis == "grid":
            return fields.choice("variant", GRID_CELLS)
        variant = fields.text("variant", "")
        if variant in RETIRED_VARIANTS:
            fields.note(
                "variant", f"{variant!r} is what the log says of an edit that holds no more; call it otherwise."
            )
        return variant

    def _picture(self, fields: RecordFields) -> ImageRef | None:
        if not fields.given("image"):
            return None
        before = len(fields.problems)
        relative = fields.text("image")
        if len(fields.problems) > before:
            return None
        found = self._pictures[relative]
        if isinstance(found, ImageRef):
            return found
        fields.note("image", f"{found}")
        return None


def _notes(path: Path, chosen: Sequence[PoolItem], repeats: int) -> list[str]:
    """Return what a user should know of data that was read: what was joined, replaced, or rephrased by nothing."""
    found = []
    if repeats:
        found.append(f"{path}: records that repeat another one, joined to it with their probes: {repeats}.")
    asked: set[str] = set()
    again = 0
    for item in chosen:
        again += item.edit.query.digest in asked
        asked.add(item.edit.query.digest)
    if again:
        found.append(f"{path}: edits that ask the question of an earlier one, and replace it: {again}.")
    blind = sum(_hides_false_fires(i.edit, p) for i in chosen for p in i.probes)
    if blind:
        found.append(
            f"{path}: probes of what should stay whose answer is their edit's, so that no error shows: {blind}."
        )
    same = sum(p.axis == "generality" and p.query == i.edit.query for i in chosen for p in i.probes)
    if same:
        found.append(f"{path}: generality probes that repeat their edit's question, counted as T-Gen: {same}.")
    return found


def _hides_false_fires(edit: Edit, probe: Probe) -> bool:
    told = edit.target.casefold() in {a.casefold() for a in probe.answers}
    return told and probe.reference == "baseline"


def _in_order(items: Sequence[PoolItem], order: str, seed: int) -> list[PoolItem]:
    if order == "file":
        return list(items)
    try:
        places = {item.edit.id: item for item in items}
        return [places[e.id] for e in ordered([i.edit for i in items], order, seed, known=PERMUTING)]
    except ValueError as error:
        raise StreamError(f"stream.{error} Or file: as it stands.") from error


def _general(item: PoolItem) -> Probe:
    edit, modality = item.edit, "image" if item.edit.query.image else "text"
    return probe_with_id(Probe("", "", "general", modality, modality, edit.query, edit.target, "baseline"))


def _pool(items: list[PoolItem], n: int, seed: int, path: Path) -> Pool:
    if not items:
        raise StreamError(f'{path}: no record has "split": "fit". Mark some so to learn from them.')
    order = generator(seed, "jsonl", "pool").permutation(len(items))[:n]
    chosen = tuple(items[i] for i in order)
    return Pool(chosen, identity_of(chosen), seed)
