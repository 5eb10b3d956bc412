"""Your own stream from a file of JSON lines, with pictures below one folder. Knows no other dataset.

One record a line; empty lines are allowed. A record is

    {"prompt": "What is this?", "image": "img/1.jpg", "target": "a heron", "probes": [...]}

| field | type | meaning |
|---|---|---|
| prompt, target | text, required | the question, and the answer from now on |
| image | text | a path below `stream.root` (default: the folder of the file) |
| id | text | unique; by default made of the content |
| subject, relation, source, prompt_kind | text | for grouping and splitting curves |
| supersedes | text | the id of an earlier record that this one replaces |
| split | "edit" (default), "fit", "general" | `fit`: for training editors only; `general`: one untouched question |
| probes | list | each an object: axis, prompt, target; also variant, image, reference, accepted (texts), hops |

The `reference` of a probe is "target" or "baseline". Without it a probe compares with the frozen model ("baseline")
on axis locality and with its target elsewhere. A reliability probe is added where none is given.
"""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, get_args

from streams.images import file_ref
from streams.near import near
from streams.order import PERMUTING, generator, ordered, with_id
from streams.settings import PathText
from streams.stream import Source, Stream, StreamError, StreamOptions
from streams.types import Axis, Edit, ImageError, ImageRef, Pool, PoolItem, Probe, Query, digest_of, modality_of

_VERSION = "jsonl-1"
_EDIT_FIELDS = frozenset(
    (
        "id",
        "prompt",
        "target",
        "image",
        "subject",
        "relation",
        "source",
        "prompt_kind",
        "supersedes",
        "split",
        "probes",
    )
)
_PROBE_FIELDS = frozenset(("axis", "prompt", "target", "variant", "image", "reference", "accepted", "hops"))


class Options(StreamOptions):
    """`path`: the file; `root`: the folder of the pictures; `order`: file (as it stands) or one of `order.PERMUTING`.

    Near-duplicates are alike in their subjects; bursts and drift are of relations.
    """

    path: PathText
    root: PathText = ""
    order: str = "file"


@dataclass(frozen=True)
class _Where:
    """The place of a value, for error messages, the folder of its pictures and those that were read before."""

    file: str
    line: int
    root: str
    seen: dict[str, ImageRef]

    def error(self, field: str, problem: str) -> StreamError:
        return StreamError(f"{self.file}, line {self.line}, field {field!r}: {problem}")


def load(options: Options, *, edits: int, seed: int) -> Stream:
    """Return the stream of a file, its first `edits` edits; raises `StreamError` with file, line and field."""
    path = Path(options.path)
    try:
        lines = path.read_text(encoding="utf-8").splitlines()
    except (OSError, UnicodeDecodeError) as error:
        raise StreamError(f"stream.path={options.path}: cannot read it ({error}).") from error
    root = options.root or str(path.parent)
    items: dict[str, list[PoolItem]] = {"edit": [], "fit": [], "general": []}
    lines_of: dict[str, int] = {}
    seen: dict[str, ImageRef] = {}
    for number, line in enumerate(lines, 1):
        if not line.strip():
            continue
        where = _Where(str(path), number, root, seen)
        split, item = _record(line, where)
        _check_id(item.edit, lines_of, where)
        items[split].append(item)
    chosen = items["edit"]
    if options.order != "file":
        try:
            places = {item.edit.id: item for item in chosen}
            edits_given = [item.edit for item in chosen]
            chosen = [places[e.id] for e in ordered(edits_given, options.order, seed, known=PERMUTING)]
        except ValueError as error:
            raise StreamError(f"stream.{error} Or file: as it stands.") from error
    chosen = chosen[:edits]
    digest = digest_of(
        _VERSION, _content(items["fit"] + items["general"]), _content(chosen), options.order, str(seed)
    )
    table = {item.edit.id: item.probes for item in chosen}
    source = Source(lambda edit: table[edit.id], lambda n, s: _pool(items["fit"], n, s, path))
    general = tuple(_general(item) for item in items["general"])
    if not chosen:
        raise StreamError(
            f"{path}: no record of split 'edit' ({len(lines)} lines were read). Expected lines such as "
            '{"prompt": "What is this?", "target": "a heron"}.'
        )
    return Stream("jsonl", digest, tuple(item.edit for item in chosen), general, source)


def _record(line: str, where: _Where) -> tuple[str, PoolItem]:
    try:
        data = json.loads(line)
    except json.JSONDecodeError as error:
        raise StreamError(
            f"{where.file}, line {where.line}, column {error.colno}: no JSON ({error.msg}). One object a line."
        ) from error
    if not isinstance(data, dict):
        raise StreamError(f"{where.file}, line {where.line}: expected an object, got {type(data).__name__}.")
    _only(data, _EDIT_FIELDS, "", where)
    split = _text(data, "split", where, default="edit")
    if split not in ("edit", "fit", "general"):
        raise where.error("split", f"expected edit, fit or general, got {split!r}.")
    query = Query(_text(data, "prompt", where), _image(data, "", where))
    kind = _text(data, "prompt_kind", where, default="generic" if query.image else "text")
    edit = Edit(
        _text(data, "id", where, default=""),
        query,
        _text(data, "target", where),
        _text(data, "subject", where, default=""),
        _text(data, "relation", where, default=""),
        _text(data, "source", where, default="jsonl"),
        _text(data, "supersedes", where, default="") or None,
        kind,
    )
    edit = edit if edit.id else with_id(edit)
    given = data.get("probes", [])
    if not isinstance(given, list):
        raise where.error("probes", f"expected a list, got {type(given).__name__}.")
    probes = [_probe(p, edit, f"probes[{i}]", where) for i, p in enumerate(given)]
    if not any(p.axis == "reliability" for p in probes):
        probes.insert(0, _make("reliability", "edit", edit, edit.query, edit.target, "target"))
    return split, PoolItem(edit, tuple(probes))


def _probe(data: Any, edit: Edit, name: str, where: _Where) -> Probe:
    if not isinstance(data, dict):
        raise where.error(name, f"expected an object, got {type(data).__name__}.")
    _only(data, _PROBE_FIELDS, name + ".", where)
    axis = _text(data, "axis", where, name)
    if axis not in get_args(Axis) or axis == "general":
        known = ", ".join(a for a in get_args(Axis) if a != "general")
        raise where.error(f"{name}.axis", f"expected one of {known}, got {axis!r}.")
    reference = _text(data, "reference", where, name, default="baseline" if axis == "locality" else "target")
    if reference not in ("target", "baseline"):
        raise where.error(f"{name}.reference", f"expected target or baseline, got {reference!r}.")
    accepted = data.get("accepted", [])
    if not isinstance(accepted, list) or not all(isinstance(a, str) for a in accepted):
        raise where.error(f"{name}.accepted", "expected a list of texts.")
    hops = data.get("hops", 1 if axis == "portability" else 0)
    if not isinstance(hops, int) or isinstance(hops, bool) or hops < 0:
        raise where.error(f"{name}.hops", f"expected a whole number >= 0, got {hops!r}.")
    query = Query(_text(data, "prompt", where, name), _image(data, name + ".", where))
    variant = _text(data, "variant", where, name, default="")
    target = _text(data, "target", where, name)
    return _make(axis, variant, edit, query, target, reference, tuple(accepted), hops)


def _make(axis, variant: str, edit: Edit, query: Query, target: str, reference, accepted=(), hops: int = 0) -> Probe:
    """Make a probe of an edit (of nothing when the edit's id is empty)."""
    name = "p" + digest_of(edit.id, axis, variant, query.digest, target)
    modality = modality_of(axis, query, edit.query)
    return Probe(name, edit.id, axis, variant, modality, query, target, reference, accepted, hops)


def _general(item: PoolItem) -> Probe:
    modality = "image" if item.edit.query.image else "text"
    return _make("general", modality, replace(item.edit, id=""), item.edit.query, item.edit.target, "baseline")


def _text(data: Mapping[str, Any], field: str, where: _Where, prefix: str = "", default: str | None = None) -> str:
    name = f"{prefix}.{field}" if prefix else field
    if field not in data:
        if default is None:
            raise where.error(name, "it is missing.")
        return default
    value = data[field]
    if not isinstance(value, str):
        raise where.error(name, f"expected a text, got {value!r}.")
    if default is None and not value.strip():
        raise where.error(name, "it is empty.")
    return value


def _only(data: Mapping[str, Any], fields: frozenset[str], prefix: str, where: _Where) -> None:
    for key in data:
        if key not in fields:
            raise where.error(prefix + key, f"no such field.{near(key, fields)}")


def _image(data: Mapping[str, Any], prefix: str, where: _Where) -> ImageRef | None:
    if data.get("image") is None:
        return None
    relative = _text(data, "image", where, prefix.rstrip("."))
    try:
        if relative not in where.seen:
            where.seen[relative] = file_ref(where.root, relative, check=True)
        return where.seen[relative]
    except ImageError as error:
        raise where.error(f"{prefix}image", f"{error}") from error


def _check_id(edit: Edit, lines_of: dict[str, int], where: _Where) -> None:
    if edit.id in lines_of:
        raise where.error("id", f"{edit.id!r} is already used in line {lines_of[edit.id]}.")
    if edit.supersedes is not None and edit.supersedes not in lines_of:
        raise where.error("supersedes", f"no record before this line has the id {edit.supersedes!r}.")
    lines_of[edit.id] = where.line


def _content(items: Sequence[PoolItem]) -> str:
    rows = [
        (i.edit.id, i.edit.target, i.edit.query.digest, [(p.id, p.accepted, p.hops) for p in i.probes]) for i in items
    ]
    return digest_of(repr(rows))


def _pool(items: list[PoolItem], n: int, seed: int, path: Path) -> Pool:
    if not items:
        raise StreamError(f'{path}: no record has "split": "fit", but this editor needs some to be fitted.')
    order = generator(seed, "jsonl", "pool").permutation(len(items))[:n]
    chosen = tuple(items[i] for i in order)
    return Pool(chosen, digest_of(_VERSION, "pool", _content(chosen)), seed)
