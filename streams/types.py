"""The plain data of a stream: images, queries, edits, probes and arrivals, and the identity of each.

Knows nothing about models, editors, time keeping or files. Every class is frozen and hashable, so that a set or a
dictionary key can be made of it. An identity is made of every field that equality compares (`identity_of`), so that
a field that is added later cannot be forgotten.
"""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field, fields, is_dataclass, replace
from functools import cache, cached_property
from typing import Literal, get_args, overload

Axis = Literal[
    "reliability",
    "generality",
    "locality",
    "portability",
    "specificity",
    "paired",
    "grid",
    "negation",
    "conflict",
    "compositional",
    "general",
]
AXES: tuple[Axis, ...] = get_args(Axis)
Modality = Literal["text", "image"]
Reference = Literal["target", "baseline"]


def digest_of(*parts: str) -> str:
    """Return 16 hexadecimal digits that identify a sequence of strings.

    >>> digest_of("a", "b") == digest_of("ab")
    False
    """
    h = hashlib.sha256()
    for part in parts:
        raw = part.encode("utf-8", "surrogatepass")
        h.update(len(raw).to_bytes(8, "big"))
        h.update(raw)
    return h.hexdigest()[:16]


def identity_of(thing: object) -> str:
    """Return 16 hexadecimal digits of everything that a plain value is made of, called wherever one names it.

    Of a dataclass every field that equality compares counts, with its name; what is inside counts by its own fields.
    Raises `TypeError` for a value that is neither a dataclass, a tuple, a text, a number nor None.

    >>> identity_of(Query("Who?")) == identity_of(Query("Who?")) != identity_of(Query("Who"))
    True
    """
    return digest_of(*_parts(thing))


def _parts(value: object) -> Iterator[str]:
    if isinstance(value, str | int | float | None):
        yield f"{type(value).__name__}:{value}"
    elif isinstance(value, tuple | MadeOnce):
        yield f"tuple:{len(value)}"
        for one in value:
            yield from _parts(one)
    elif is_dataclass(value):
        yield type(value).__name__
        for name in _compared(type(value)):
            yield name
            yield from _parts(getattr(value, name))
    else:
        raise TypeError(f"a {type(value).__name__} has no identity: dataclasses, tuples, texts and numbers have one.")


@cache
def _compared(kind: type) -> tuple[str, ...]:
    return tuple(f.name for f in fields(kind) if f.compare)


@dataclass(frozen=True)
class ImageRef:
    """A picture by name and content; opened only when a model needs it (`streams.pictures.images.open_image`).

    `uri` is `atlas:ENTITY/SET`, several of them joined by `+` (drawn side by side, left to right), or
    `file:RELATIVE/PATH` below `root`: how the picture was found. `digest` identifies the content, and alone decides
    which pictures are equal. Where it is not known ('') it is made of the place, so that two places are two pictures.
    """

    uri: str = field(compare=False)
    digest: str
    root: str = field(default="", compare=False)

    def __post_init__(self) -> None:
        if not self.digest:
            object.__setattr__(self, "digest", digest_of("place", self.uri, self.root))


@dataclass(frozen=True)
class Query:
    """What somebody asks: a prompt and at most one image. It has no field for an answer, on purpose."""

    prompt: str
    image: ImageRef | None = None

    @cached_property
    def digest(self) -> str:
        """16 hexadecimal digits of prompt and image content."""
        return identity_of(self)


@dataclass(frozen=True)
class Control:
    """A tokenizer's own tokens in a prompt, such as an editor writes; text that looks like them is just text."""

    text: str


Part = str | ImageRef | Control


@dataclass(frozen=True)
class Prompt:
    """What an editor turns a query into: text and images, in order (several images are allowed)."""

    parts: tuple[Part, ...]

    @property
    def images(self) -> tuple[ImageRef, ...]:
        """The images in order."""
        return tuple(p for p in self.parts if isinstance(p, ImageRef))

    @property
    def text(self) -> str:
        """The text parts joined by one space."""
        return " ".join(p for p in self.parts if isinstance(p, str))

    @classmethod
    def of(cls, query: Query) -> Prompt:
        """The prompt that asks a query as it is: its image first, then its text."""
        return cls(((query.image,) if query.image else ()) + (query.prompt,))

    @cached_property
    def digest(self) -> str:
        """16 hexadecimal digits of all parts."""
        return identity_of(self)


@dataclass(frozen=True)
class Edit:
    """One change of knowledge: from now on `query` is answered by `target`. It holds no probes.

    `subject` is what the fact is about, `relation` which fact of it. `supersedes` is the id of the edit that
    this one replaces. `prompt_kind` says how the prompt names its subject: partial, generic or text.
    """

    id: str
    query: Query
    target: str
    subject: str
    relation: str = ""
    source: str = ""
    supersedes: str | None = None
    prompt_kind: str = ""


@dataclass(frozen=True)
class Withdraw:
    """Take an edit back: the model should answer as it did before it."""

    edit_id: str


@dataclass(frozen=True)
class Probe:
    """One question that measures one axis of one edit.

    With `reference == "target"` the answer should be `target` (or any of `accepted`); with `"baseline"` it should
    be what the frozen model answers, and `target` is the true answer used as the teacher-forced text.
    `edit_id` is empty for the `general` set. `modality` is what the papers' T- and M- stand for: for generality
    which side was rephrased (the wording or the picture), else whether the question comes with a picture.
    `hops` is how many facts have to be followed from the edited one to the answer: 0 where that fact itself, or one
    that has nothing to do with it, is asked.
    """

    id: str
    edit_id: str
    axis: Axis
    variant: str
    modality: Modality
    query: Query
    target: str
    reference: Reference = "target"
    accepted: tuple[str, ...] = ()
    hops: int = 0

    @property
    def answers(self) -> tuple[str, ...]:
        """Every accepted answer, the target first."""
        return (self.target, *(a for a in self.accepted if a != self.target))


def probe_with_id(probe: Probe) -> Probe:
    """Return the probe under an id that is made of everything else in it; called by whoever makes probes."""
    return replace(probe, id="p" + identity_of(replace(probe, id="")))


def modality_of(axis: str, query: Query, edited: Query) -> Modality:
    """Return a probe's modality: for generality the side that was rephrased, else whether there is a picture.

    The picture counts as rephrased where it is another one; the same picture under the same words is a rephrasing of
    the words that changed none of them.

    >>> picture = ImageRef("file:a.png", "d")
    >>> modality_of("generality", Query("Name it.", picture), Query("What is it?", picture))
    'text'
    """
    reworded = axis == "generality" and query.image == edited.image
    return "text" if query.image is None or reworded else "image"


Scope = Literal["edited", "rephrased", "rendering", "near", "far"]
SCOPES: tuple[Scope, ...] = get_args(Scope)


@dataclass(frozen=True)
class Posed:
    """A question of the people who use the model, with what is known of it at the moment when they ask.

    `scope` is how it lies to the edit `edit_id`: that fact itself, in other words, with another picture, or near it
    but outside; `far` ones concern no edit ('' then). `before` is the answer that this edit replaced ('': what the
    frozen model says). `withdrawn`: the edit was taken back, so that what the frozen model says holds again, also
    where it had replaced another edit: that one is not brought back, in panels neither.
    """

    probe: Probe
    scope: Scope
    edit_id: str = ""
    before: str = ""
    withdrawn: bool = False


@dataclass(frozen=True)
class Arrival:
    """Something that reaches the system at a moment of simulated time, in seconds."""

    at_s: float
    item: Edit | Posed | Withdraw


@dataclass(frozen=True)
class PoolItem:
    """One training example for an editor's `fit`: an edit with its probes, disjoint from every stream."""

    edit: Edit
    probes: tuple[Probe, ...]


class MadeOnce(Sequence[PoolItem]):
    """So many items that are made when the first one is wanted: a fit that is there already needs none of them.

    Raises what making them raises.
    """

    def __init__(self, n: int, make: Callable[[], tuple[PoolItem, ...]]) -> None:
        self._n, self._make = n, make

    @cached_property
    def _items(self) -> tuple[PoolItem, ...]:
        return self._make()

    @overload
    def __getitem__(self, at: int) -> PoolItem: ...
    @overload
    def __getitem__(self, at: slice) -> tuple[PoolItem, ...]: ...
    def __getitem__(self, at):
        return self._items[at]

    def __len__(self) -> int:
        return self._n

    def __eq__(self, other: object) -> bool:
        return isinstance(other, Sequence) and self._items == tuple(other)

    def __hash__(self) -> int:
        return hash(self._items)


@dataclass(frozen=True)
class Pool:
    """What `fit` and `tune` may see: items made of `fit` entities only. `digest` is part of a fit's identity.

    It is made of the items (`identity_of`), except for the atlas: there it names how they are drawn, since shipped
    fits are found by it, and a test holds the items to it.
    """

    items: Sequence[PoolItem]
    digest: str
    seed: int = 0


class ImageError(ValueError):
    """A picture that cannot be had; the message names it and says why."""
