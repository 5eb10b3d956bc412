"""The files of a benchmark as drafts of edits, and their pictures as references: what is wrong is gathered.

Knows records, fields and files; nothing of which edits a stream takes.
"""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from itertools import islice
from pathlib import Path
from typing import Any

from streams.files.fields import RecordFields
from streams.files.records import RecordsError, read_records
from streams.near import near
from streams.pictures.drawn import pattern_ref
from streams.pictures.files import Watch, read_pictures
from streams.pictures.images import unread_ref
from streams.pictures.places import is_missing
from streams.published.case import BLANK, Case, Pictured, Wordings
from streams.published.files import FilePart, PartFile, find_parts, picture_root
from streams.stream import FilesRead, StreamError
from streams.text import printable
from streams.types import ImageError, ImageRef, Query, modality_of

_EXAMPLES = 20  # records whose pictures tell where paths begin
_TOGETHER = 512  # edits whose pictures are looked for at once, where some may be missing
_Found = Mapping[tuple[str, str], ImageRef | ImageError]


@dataclass(frozen=True)
class Benchmark:
    """What is particular to a benchmark: its files, where pictures lie, its templates, and what a record says.

    `parts` are read one after another where they are `together`; else they are alternatives, of which the first that
    is there is taken. `read` turns one record into edits by the methods of `Case`. `pictures` are folders below the
    root that its paths may begin at.
    """

    name: str
    parts: tuple[FilePart, ...]
    read: Callable[[Case], None]
    train: tuple[FilePart, ...] = ()
    templates: Mapping[str, Wordings] = field(default_factory=lambda: {"published": Wordings()})
    pictures: tuple[str, ...] = ()
    together: bool = False

    def without_training(self, root: str) -> str:
        """Return why there is nothing to learn from, and what to do: the end of an error's sentence."""
        names = ", ".join(part.files[0] for part in self.train)
        lack = f"its training split ({names}) is not below {root or 'stream.root'}"
        return (
            f"{lack if names else 'it has no training split'}. Say stream.held_out=200 to keep the last records of "
            "its file for learning, or stream.train=FILE."
        )


class Reader:
    """Reads a benchmark's files; `reading` is what came of it so far."""

    def __init__(self, benchmark: Benchmark, template: str, images: str, pictures: str) -> None:
        self.benchmark, self._images, self._pictures = benchmark, images, pictures
        self.template = _template(benchmark, template)
        self._lines: dict[str, None] = {}  # in their order, each once
        self._bad: set[str] = set()  # places of records
        self._records = 0
        self._without = 0  # questions whose picture is not there
        self._drawn: set[tuple[str, str]] = set()  # pictures that a pattern stands for
        self._root = ""

    @property
    def reading(self) -> FilesRead:
        """How many records were read, and what is wrong with them."""
        return FilesRead(self._records, len(self._bad), tuple(self._lines))

    def files(
        self, root: str, path: str, part: str = "", *, train: bool = False, needed: bool = True
    ) -> list[PartFile]:
        """Return the files to read: the one that is named, or those of the benchmark that lie below the root.

        Raises `StreamError` where there is none and one is needed.
        """
        parts = self.benchmark.train if train else self.benchmark.parts
        wanted = [one for one in parts if part in ("", one.name)] or list(parts)
        self._root = root
        if path:
            return [PartFile(part or (wanted[0].name if wanted else ""), Path(path))]
        found = find_parts(root, wanted) if root else []
        if found or not needed:
            return found if self.benchmark.together or part else found[:1]
        key = "train" if train else "path"
        if Path(root).is_file():
            raise StreamError(f"stream.root={root}: it is a file; expected a folder. Say stream.{key}={root}.")
        names = ", ".join(name for one in wanted for name in one.files) or "nothing: it has no such split"
        if not root:
            raise StreamError(
                f"stream={self.benchmark.name}: say stream.root=FOLDER, where its files lie ({names}), or "
                f"stream.{key}=FILE."
            )
        raise StreamError(
            f"stream.root={root}: no file of {self.benchmark.name} is there, nor two levels below. Expected {names}; "
            f"another name is said by stream.{key}=FILE."
        )

    def where(self, files: Sequence[PartFile]) -> str:
        """Return the files in few words, for messages about all of them."""
        more = f" and {len(files) - 1} more files" if len(files) > 1 else ""
        return f"{files[0].path}{more}" if files else self.benchmark.name

    def drafts(self, file: PartFile) -> list[Pictured]:
        """Return the edits that a file's records ask for, in its order; what is wrong with a record is noted.

        Raises `StreamError` for a file that cannot be read at all.
        """
        try:
            raws = read_records(file.path)
        except RecordsError as error:
            head = "" if str(error).startswith(f"{file.path}, ") else f"{file.path}: "
            raise StreamError(f"{head}{error}") from error
        examples = [path for raw in raws[:_EXAMPLES] for path in _paths_in(raw.value)]
        root = self._images or picture_root(self._root, file.path, self.benchmark.pictures, examples)
        pictures: dict[str, ImageRef | ImageError] = {}
        found: list[Pictured] = []
        for raw in raws:
            self._records += 1
            problems = [f"{raw.place}, {raw.problem}"] if raw.problem else []
            if not problems:
                fields, place = RecordFields(raw.value, None, raw.place, problems), f"{file.path}, {raw.place}"
                case = Case(fields, self.template, root, place, raw.text, self.benchmark.name, file.part, pictures)
                if not fields.broken:
                    self.benchmark.read(case)
                found += case.drafts() if not problems else []
            if problems:
                self._note(f"{file.path}, {raw.place}", [f"{file.path}, {problem}" for problem in problems])
        return found

    def pictured(self, drafts: Sequence[Pictured], n: int, watch: Watch | None) -> list[Pictured]:
        """Return the first n drafts whose pictures are there, with references that know their content.

        What is wrong with the others is noted, each field of each; `watch` is told how many pictures are read.
        """
        good: list[Pictured] = []
        waiting = iter(drafts)
        while len(good) < n:
            batch = list(islice(waiting, n - len(good) if not good else max(n - len(good), _TOGETHER)))
            if not batch:
                break
            wanted = [(one.root, path) for one in batch for _, path in one.paths]
            found = self._found(wanted, watch)
            resolved = (self._resolved(one, found) for one in batch)
            good += [one for one in resolved if one is not None]
        return good[:n]

    def notes(self, where: str) -> list[str]:
        """Return what a user should read once about what was read, nothing mostly."""
        told = []
        if self._without:
            told += [f"questions left out whose picture is not there (stream.pictures=found): {self._without}"]
        if self._drawn:
            told += [f"pictures not there, a pattern stands for each (stream.pictures=drawn): {len(self._drawn)}"]
        return [f"{where}: {note}." for note in told]

    def _found(self, wanted: Sequence[tuple[str, str]], watch: Watch | None) -> _Found:
        """Return the references of pictures by root and path, or what is wrong with them."""
        if self._pictures == "unread":
            return {picture: unread_ref(*picture) for picture in set(wanted)}
        missing = {one for one in set(wanted) if is_missing(*one)} if self._pictures == "drawn" else set()
        self._drawn |= missing
        there = [one for one in wanted if one not in missing]
        found = read_pictures(there, decoded=self._pictures == "decoded", watch=watch)
        return {**found, **{one: pattern_ref(one[1]) for one in missing}}

    def _note(self, place: str, lines: Sequence[str]) -> None:
        self._bad.add(place)
        self._lines.update(dict.fromkeys(lines))

    def _resolved(self, one: Pictured, found: _Found) -> Pictured | None:
        edit = one.draft.edit
        own = edit.query.image.uri.partition(":")[2] if edit.query.image else ""
        errors = {path: error for _, path in one.paths if isinstance(error := found[one.root, path], ImageError)}
        refused = errors if self._pictures != "found" else {path: e for path, e in errors.items() if path == own}
        if refused:
            place = one.draft.place
            lines = [f"{place}, field '{printable(name)}': {errors[p]}" for name, p in one.paths if p in refused]
            self._note(place, lines)
            return None

        def known(query: Query) -> Query:
            if query.image is None:
                return query
            ref = found[one.root, query.image.uri.partition(":")[2]]
            return replace(query, image=ref) if isinstance(ref, ImageRef) else query

        query, probes = known(edit.query), []
        for probe in one.draft.probes:
            if probe.query.image is not None and probe.query.image.uri.partition(":")[2] in errors:
                self._without += 1
                continue
            asked = known(probe.query)
            probes.append(replace(probe, query=asked, modality=modality_of(probe.axis, asked, query)))
        draft = replace(one.draft, edit=replace(edit, query=query), probes=tuple(probes))
        return replace(one, draft=draft)


def file_digest(path: Path) -> str:
    """Return a digest of a file's bytes, that of nothing where it cannot be read."""
    try:
        with path.open("rb") as file:
            return hashlib.file_digest(file, "sha256").hexdigest()[:16]
    except OSError:
        return ""


def _template(benchmark: Benchmark, name: str) -> Wordings:
    """Return the template that is asked for; raises `StreamError` with the names there are."""
    if name in benchmark.templates:
        return benchmark.templates[name]
    if name == "plain":
        return Wordings()
    if name.count(BLANK) == 1:
        return Wordings(name, name)
    known = [*benchmark.templates, "plain"]
    raise StreamError(
        f"stream.template={printable(name)}: no template of {benchmark.name} is called so.{near(name, known)} Or "
        "a text with one {} where the question stands, such as 'Question: {} Short answer:'."
    )


def _paths_in(record: Any) -> list[str]:
    """Return the texts of a record that may be paths of pictures."""
    values = record.values() if isinstance(record, dict) else ()
    endings = (".jpg", ".jpeg", ".png", ".webp", ".bmp", ".gif")
    return [v for v in values if isinstance(v, str) and v.lower().endswith(endings)]
