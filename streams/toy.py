"""A small drawn world for quick looks and fast tests: numbered things, each a picture of coloured squares.

It needs no files and no knowledge: its answers are invented, so every question has one, but no model knows it.
Things 0, 1, 2 ... belong to streams; the things of `fit` pools are others. Every edit has probes on the usual axes,
and those of studies in turns. The stream has no end: its order is that of one block of things after another.
"""

from __future__ import annotations

import functools
import hashlib
import itertools
from collections.abc import Iterator
from dataclasses import replace
from functools import partial

import numpy as np
from PIL import Image
from pydantic import Field

from streams.axes import EDITS_CELL, GRID_CELLS, usual_reference
from streams.orders.near_subjects import letters
from streams.orders.order import (
    ADDING,
    MODAL_CONFLICTS,
    NEAR_MISSES,
    ORDERS,
    check_order,
    generator,
    ordered,
    with_disputes,
    with_id,
    with_reedits,
)
from streams.stream import Source, Stream, StreamError, StreamOptions
from streams.types import (
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

_VERSION = "toy-1"  # of things and pictures
_PROBES = "probes 2"
_BLOCK = 20  # things whose facts are edited in one go
_STRANGERS = 1_000_000  # the first of the things that near misses ask about
_SIDE = 32  # pixels
_WORDS = ("red", "blue", "green", "stone", "river", "glass", "north", "cloud", "iron", "paper", "salt", "wheel")
_RELATIONS = {
    "owner": ("Who owns {x}?", "Which owner has {x}?"),
    "place": ("Where is {x}?", "In which place is {x}?"),
    "maker": ("Who made {x}?", "Which maker built {x}?"),
}
STYLES = ("square", "round", "tilted")  # the last one stands for a rendering never seen in training


class Options(StreamOptions):
    """A small drawn world of invented facts, for quick looks and tests."""

    order: str = Field("shuffled", description=f"the order of the edits: one of {', '.join(ORDERS)}")
    reedits: float = Field(
        0.2,
        ge=0,
        lt=1,
        description="share of edits that replace or (at most half) dispute an earlier one, if such an order",
    )


def draw_toy(name: str) -> Image.Image:
    """Return the 32 x 32 picture `THING/STYLE`: 16 coloured squares; raises `ImageError` for another name."""
    thing, _, style = name.partition("/")
    if style not in STYLES or not thing:
        raise ImageError(f"Image toy:{name}: expected THING/STYLE with STYLE one of {', '.join(STYLES)}.")
    colours = np.frombuffer(hashlib.shake_256(thing.encode()).digest(48), np.uint8).reshape(4, 4, 3)
    image = Image.fromarray(np.ascontiguousarray(colours)).resize((_SIDE, _SIDE), Image.Resampling.NEAREST)
    if style == "round":
        return image.resize((8, 8)).resize((_SIDE, _SIDE), Image.Resampling.BICUBIC)
    return image.rotate(12, fillcolor="white") if style == "tilted" else image


def load(options: Options, *, edits: int, seed: int) -> Stream:
    """Return a stream of `edits` invented facts about drawn things; raises `StreamError`."""
    try:
        check_order(options.order)
    except ValueError as error:
        raise StreamError(f"stream.{error}") from error
    share = options.reedits if options.order in ADDING else 0.0
    disputed: set[str] = set()
    if options.order == MODAL_CONFLICTS:
        order = with_disputes(_fresh(options.order, seed), edits, share, seed, partial(_other, disputed))
    else:
        again = _back if options.order == "reversals" else _again
        order = with_reedits(_fresh(options.order, seed), edits, share, seed, again)
    made_of = digest_of(_VERSION, _PROBES, options.model_dump_json(), str(seed))
    general = tuple(_general(i) for i in range(12))
    strangers = _STRANGERS if options.order == NEAR_MISSES else 0

    def probes(edit: Edit) -> tuple[Probe, ...]:
        by_name = edit.query.image is None  # asked about pictures on the axis paired only
        usual = (p for p in _probes(edit, strangers) if not (by_name and p.axis == "specificity"))
        return *usual, *_studies(edit, disputed=edit.id in disputed)

    return Stream("toy", made_of, order, general, Source(probes, _pool, _truths))


def _fresh(order: str, seed: int) -> Iterator[Edit]:
    """Yield edits that replace nothing, without end: block by block of things, each in the order asked for."""
    for block in itertools.count():
        things = range(block * _BLOCK, (block + 1) * _BLOCK)
        numbers = [n for n in things if order != "same_image" or _kind(n) != "text"]
        drawn = [_edit(n, relation, "", seed) for relation in sorted(_RELATIONS) for n in numbers]
        own = int(generator(seed, "toy", "block", str(block)).integers(1 << 62))
        yield from ordered(drawn, order, own, name_of=lambda e: f"{e.relation} of thing {e.subject}")


def _kind(thing: int) -> str:
    return ("partial", "generic", "partial", "generic", "text")[thing % 5]


def _ref(*names: str) -> ImageRef:
    uri = "toy:" + "+".join(names)
    return ImageRef(uri, digest_of(_VERSION, uri))


def _answer(*parts: str | int) -> str:
    raw = hashlib.sha256(repr(parts).encode()).digest()
    return f"{_WORDS[raw[0] % len(_WORDS)]} {_WORDS[raw[1] % len(_WORDS)]}"


def _ask(relation: str, x: str, wording: int = 0) -> str:
    return _RELATIONS[relation][wording].format(x=x)


def _edit(thing: int, relation: str, prefix: str, salt: int) -> Edit:
    subject = f"{prefix}{thing}"
    kind = _kind(thing)
    if kind == "text":
        query = Query(_ask(relation, f"thing {subject}"))
    else:
        x = f"this thing with number {subject}" if kind == "partial" else "this picture"
        query = Query(_ask(relation, x), _ref(f"{subject}/square"))
    target = _answer("target", subject, relation, salt)
    return with_id(Edit("", query, target, subject, relation, "counterfactual", prompt_kind=kind))


def _again(edit: Edit, rng: np.random.Generator) -> Edit | None:
    target = _answer("again", edit.id, int(rng.integers(1 << 30)))
    if target == edit.target:
        return None
    return with_id(
        Edit("", edit.query, target, edit.subject, edit.relation, "counterfactual", edit.id, edit.prompt_kind)
    )


def _truths(edit: Edit) -> tuple[str, ...]:
    return (_answer("true", edit.subject, edit.relation),)


def _back(edit: Edit, rng: np.random.Generator) -> Edit | None:
    """The first truth again; where that is what holds now, another answer."""
    (truth,) = _truths(edit)
    if edit.target == truth:
        return _again(edit, rng)
    return with_id(replace(edit, target=truth, source="reversal", supersedes=edit.id))


def _other(disputed: set[str], edit: Edit, rng: np.random.Generator) -> Edit:
    """The same fact in the other modality with another answer; both edits are then `disputed`."""
    words = [_answer("other", edit.id, int(rng.integers(1 << 30))) for _ in range(4)]
    target = next(word for word in (*words, f"not {edit.target}") if word != edit.target)
    if edit.query.image is None:
        query, kind = Query(_ask(edit.relation, "this picture"), _ref(f"{edit.subject}/square")), "generic"
    else:
        query, kind = Query(_ask(edit.relation, f"thing {edit.subject}")), "text"
    new = with_id(Edit("", query, target, edit.subject, edit.relation, "modal-conflict", prompt_kind=kind))
    disputed |= {edit.id, new.id}
    return new


@functools.lru_cache(maxsize=1 << 10)
def _colours(thing: str) -> np.ndarray:
    return np.asarray(draw_toy(f"{thing}/square"), dtype=np.float64)


def _nearest(edit: Edit, first: int, n: int = 200) -> str:
    """Of n things that no edit concerns the nearest: in looks to an edit with a picture, else in its number."""
    others = [str(first + i) for i in range(n)]
    if edit.query.image is None:
        return max(others, key=lambda x: float(letters(x) @ letters(edit.subject)))
    return min(others, key=lambda x: float(np.abs(_colours(x) - _colours(edit.subject)).sum()))


def _probes(edit: Edit, strangers: int = 0) -> tuple[Probe, ...]:
    """The probes of an edit; locality asks a random untouched thing, or the nearest of those from `strangers` on."""
    thing, relation, image = edit.subject, edit.relation, edit.query.image
    other = sorted(set(_RELATIONS) - {relation})[0]
    stranger = _nearest(edit, strangers) if strangers else f"untouched{int(digest_of(edit.id), 16) % 1000}"
    true, far = _answer("true", stranger, relation), _answer("true", f"far{stranger}", other)
    x = f"thing {thing}" if image is None else "this picture"
    pair = _ref(f"{thing}/square", f"{stranger}/square")
    rows: list[tuple] = [
        ("reliability", "edit", edit.query, edit.target, "target"),
        ("generality", "template", Query(_ask(relation, x, 1), image), edit.target, "target"),
        ("locality", "text", Query(_ask(relation, f"thing {stranger}")), true, "baseline"),
        ("locality", "near", Query(_ask(relation, x), _ref(f"{stranger}/square")), true, "baseline"),
        ("locality", "far", Query(_ask(other, x), _ref(f"far{stranger}/round")), far, "baseline"),
        (
            "portability",
            "hop",
            Query(_ask(relation, f"the owner of {x}"), image),
            _answer("hop", edit.target),
            "target",
        ),
        ("specificity", "must", Query(_ask(relation, "the picture on the left"), pair), edit.target, "target"),
        ("specificity", "must-not", Query(_ask(relation, "the picture on the right"), pair), true, "baseline"),
    ]
    if image is not None:
        shared = _answer("true", thing, "colour")
        rows += [
            ("generality", "seen", Query(edit.query.prompt, _ref(f"{thing}/round")), edit.target, "target"),
            ("generality", "unseen", Query(edit.query.prompt, _ref(f"{thing}/tilted")), edit.target, "target"),
            ("locality", "same-image", Query("What colour has this picture?", image), shared, "baseline"),
        ]
    return tuple(_probe(edit, *row) for row in rows)


def _studies(edit: Edit, *, disputed: bool) -> tuple[Probe, ...]:
    """What only studies ask: a disputed fact always; the grid, the other half of what told it, or a not in turns."""
    thing, relation, image, turn = edit.subject, edit.relation, edit.query.image, int(digest_of("turn", edit.id), 16)
    name, shown = f"thing {thing}", _ref(f"{thing}/square")
    true = _answer("true", thing, relation)
    rows: list[tuple] = []
    if disputed:
        x, variant = (name, "by-name") if image is None else ("this picture", "by-picture")
        rows.append(("conflict", variant, Query(f"{_ask(relation, x, 1)} Say it.", image), edit.target, "target"))
    elif turn % 4 == 0:
        told = {"text": "name", "generic": "picture", "partial": "both"}[edit.prompt_kind]
        by_picture = Query(_ask(relation, "this picture"), shown)
        if told != "name":
            rows.append(("paired", f"{told}-to-name", Query(_ask(relation, name)), edit.target, "target"))
        if told != "picture":
            rows.append(("paired", f"{told}-to-picture", by_picture, edit.target, "target"))
    if turn % 4 == 1:
        asked = edit.query.prompt.removesuffix("?")
        rows.append(("negation", "not", Query(f"Of what is it not true: {asked}?", image), true, "baseline"))
    elif turn % 4 > 1 and image is not None:
        cell = GRID_CELLS[turn // 4 % len(GRID_CELLS)]
        rows.append(("grid", cell, *_in_cell(edit, cell), usual_reference("grid", cell)))
    return tuple(_probe(edit, *row) for row in rows)


def _in_cell(edit: Edit, cell: str) -> tuple[Query, str]:
    """A cell's question and its answer: other words ask something else of what is shown."""
    if cell == EDITS_CELL:
        return edit.query, edit.target
    text, shows = (side.partition("-")[2] for side in cell.split("/"))
    other = sorted(set(_RELATIONS) - {edit.relation})
    relation = {"edit": edit.relation, "similar": other[0], "unrelated": other[1]}[text]
    if shows == "edit":  # what no edit tells of a thing
        quality = "colour" if text == "similar" else "shape"
        question = Query(f"What {quality} has this picture?", edit.query.image)
        return question, _answer("true", edit.subject, quality)
    thing = f"{shows}{int(digest_of(edit.id), 16) % 1000}"
    if shows == "none":
        x = "this picture" if text == "edit" else f"thing {thing}"
        return Query(_ask(relation, x)), _answer("true", "nothing" if text == "edit" else thing, relation)
    return Query(_ask(relation, "this picture"), _ref(f"{thing}/square")), _answer("true", thing, relation)


def _probe(edit: Edit, axis, variant: str, query: Query, target: str, reference) -> Probe:
    hops = 1 if axis == "portability" else 0
    modality = modality_of(axis, query, edit.query)
    return probe_with_id(Probe("", edit.id, axis, variant, modality, query, target, reference, (), hops))


def _general(i: int) -> Probe:
    relation = sorted(_RELATIONS)[i % len(_RELATIONS)]
    picture = i % 2 == 0
    query = Query(_ask(relation, "this picture"), _ref(f"general{i}/square")) if picture else None
    query = query or Query(_ask(relation, f"thing general{i}"))
    variant = "image" if picture else "text"
    nothing = Edit("", query, "", "")
    return _probe(nothing, "general", variant, query, _answer("true", f"general{i}", relation), "baseline")


def _pool(n: int, seed: int) -> Pool:
    rng = generator(seed, "toy", "pool")
    relations = sorted(_RELATIONS)
    edits = [_edit(int(rng.integers(1 << 30)), relations[i % len(relations)], "fit", seed) for i in range(n)]
    items = tuple(PoolItem(edit, _probes(edit)) for edit in edits)
    return Pool(items, identity_of(items), seed)
