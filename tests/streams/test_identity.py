"""Claims about identity: it is made of every field that equality compares, and a picture is its content."""

from __future__ import annotations

import dataclasses
import types
import typing
from collections.abc import Sequence

import pytest

import streams.types
from streams.orders.order import edit_id
from streams.stream import Source, Stream, load_stream
from streams.types import (
    Edit,
    ImageRef,
    Pool,
    PoolItem,
    Probe,
    Prompt,
    Query,
    identity_of,
    modality_of,
    probe_with_id,
)

KINDS = [kind for kind in vars(streams.types).values() if isinstance(kind, type) and dataclasses.is_dataclass(kind)]


def made(hint: object, mark: str) -> typing.Any:
    """Return a value of a type hint; another mark gives another value."""
    origin, of = typing.get_origin(hint), typing.get_args(hint)
    if dataclasses.is_dataclass(hint):
        hints = typing.get_type_hints(hint)
        return hint(**{f.name: made(hints[f.name], mark) for f in dataclasses.fields(hint)})  # type: ignore[operator]
    if origin is typing.Literal:
        return of[0] if mark == "a" else of[1]
    if origin in (typing.Union, types.UnionType):
        return made(next(one for one in of if one is not type(None)), mark)
    if origin in (tuple, Sequence):
        return (made(of[0], mark),)
    return {str: mark, int: len(mark) + ord(mark), float: float(ord(mark)), bool: mark == "a"}[hint]  # type: ignore[index]


FIELDS = [(kind, field.name) for kind in KINDS for field in dataclasses.fields(kind)]


@pytest.mark.parametrize(("kind", "name"), FIELDS, ids=lambda value: getattr(value, "__name__", value))
def test_every_field_that_is_compared_is_part_of_the_identity(kind: type, name: str) -> None:
    whole, hints = made(kind, "a"), typing.get_type_hints(kind)
    other = dataclasses.replace(whole, **{name: made(hints[name], "b")})
    compared = next(f.compare for f in dataclasses.fields(kind) if f.name == name)
    assert (other != whole) == (identity_of(other) != identity_of(whole)) == compared
    assert compared or kind is ImageRef  # only how a picture is found is left out


@pytest.mark.parametrize("name", [f.name for f in dataclasses.fields(Edit) if f.name != "id"])
def test_an_edits_id_and_its_streams_digest_follow_every_field(name: str) -> None:
    edit = made(Edit, "a")
    other = dataclasses.replace(edit, **{name: made(typing.get_type_hints(Edit)[name], "b")})
    assert edit_id(edit) != edit_id(other)
    digests = {Stream("s", "", (one,), (), Source(lambda e: (), None)).digest for one in (edit, other)}  # type: ignore[arg-type]
    assert len(digests) == 2


@pytest.mark.parametrize("name", [f.name for f in dataclasses.fields(Probe) if f.name != "id"])
def test_a_probes_id_follows_every_field_and_so_does_the_digest_of_a_general_set(name: str) -> None:
    probe, edit = made(Probe, "a"), made(Edit, "a")
    other = dataclasses.replace(probe, **{name: made(typing.get_type_hints(Probe)[name], "b")})
    assert probe_with_id(probe).id != probe_with_id(other).id
    digests = {Stream("s", "", (edit,), (p,), Source(lambda e: (), None)).digest for p in (probe, other)}  # type: ignore[arg-type]
    assert len(digests) == 2


def test_a_picture_is_its_content_wherever_it_was_found() -> None:
    here, there = ImageRef("file:a.png", "d", "/here"), ImageRef("file:./a.png", "d", "/there")
    assert here == there and len({here, there}) == 1 and Query("Who?", here).digest == Query("Who?", there).digest
    assert modality_of("generality", Query("Name it.", there), Query("What is it?", here)) == "text"
    assert ImageRef("file:a.png", "") != ImageRef("file:b.png", "") != ImageRef("file:b.png", "", "/else")


def test_only_another_picture_makes_a_rephrase_a_picture_one() -> None:
    one, other = ImageRef("file:a.png", "a"), ImageRef("file:b.png", "b")
    edited = Query("What is it?", one)
    assert modality_of("generality", edited, edited) == "text"  # the same words again
    assert modality_of("generality", Query("What is it?", other), edited) == "image"
    assert modality_of("generality", Query("What is it?"), edited) == "text"
    assert modality_of("locality", edited, edited) == "image"


def test_texts_that_run_together_are_told_apart_and_half_characters_have_an_identity() -> None:
    assert identity_of(("ab", "c")) != identity_of(("a", "bc")) != identity_of((("a",), "bc"))
    assert identity_of("1") != identity_of(1) != identity_of(True) and identity_of(None) != identity_of("None")
    assert identity_of("\ud83d") != identity_of("\ud83e")
    with pytest.raises(TypeError, match="a list has no identity"):
        identity_of(Prompt(["x"]))  # type: ignore[arg-type]


@pytest.mark.parametrize("name", ["toy", "atlas"])
def test_probes_of_a_stream_have_ids_of_their_own(name: str) -> None:
    stream = load_stream(name, edits=60, seed=0)
    probes = stream.every_probe()
    assert len({p.id for p in probes}) == len(probes)
    assert all(p.id == probe_with_id(p).id for p in probes) and all(e.id == edit_id(e) for e in stream.edits)


def test_the_pool_of_the_atlas_is_the_one_that_shipped_fits_were_learnt_from() -> None:
    """Its digest names how it is drawn: whoever changes what is drawn has to change `POOL_VERSION` and fit anew."""
    pool = load_stream("atlas", edits=1, seed=0).pool(40, 1)
    bare = [
        PoolItem(
            dataclasses.replace(item.edit, id=""),
            tuple(dataclasses.replace(p, id="", edit_id="") for p in item.probes),
        )
        for item in pool.items
    ]
    assert pool.digest == "363c7cf6d1eb19c9" and isinstance(pool, Pool)
    assert identity_of(tuple(bare)) == "fdf2a765d01532e8"
