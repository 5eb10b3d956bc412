"""The contract of an editor: what it must do, what it usually does, and what the rest may be left at.

Knows nothing about particular editors, streams, panels, clocks or logs. Only `edit` is abstract; every other
method has a default that is right for an editor that does not route.
"""

from __future__ import annotations

import hashlib
from abc import ABC, abstractmethod
from collections.abc import Callable, Hashable, Iterator, Mapping, Sequence
from contextlib import AbstractContextManager, contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, ClassVar, Protocol, TypeVar

import numpy as np
from pydantic import BaseModel, ConfigDict, Field, field_validator

from lifelong.bank.search.spec import IndexSpec
from lifelong.log.checkpoint import State
from streams.problems import IsPath
from streams.types import Edit, Pool, Probe, Query

if TYPE_CHECKING:
    from lifelong.bank import Bank
    from lifelong.models.vlm import VLM, Scored


EncoderName = Annotated[str, IsPath("path:")]
"""An option that names a frozen encoder: the folder after `path:` is made absolute, and its content counts."""
StoragePlace = Annotated[str, IsPath("disk:", read=False)]
"""An option that says where payloads are kept: the folder after `disk:` is made absolute."""


class UnsupportedError(RuntimeError):
    """The editor's algorithm cannot do what was asked (say, take an edit back)."""


class CollapseError(FloatingPointError):
    """An edit's result is not finite: the run logs a collapse and goes on with what was there before."""


class EditorOptions(BaseModel):
    """Base of every editor's options: frozen, and an unknown key is an error."""

    model_config = ConfigDict(frozen=True, extra="forbid", allow_inf_nan=False)


_Options = TypeVar("_Options", bound=EditorOptions)


@dataclass(frozen=True)
class Keys:
    """What routing sees of n queries: named arrays, each with n rows, from frozen weights only.

    `memos` is for speed and may be left alone: either None or a place where `Bank` remembers, by array name, what it
    has compared these rows with. An editor only passes it on (`bank.search(keys["text"], 1, keys.memo("text"))`).
    """

    arrays: Mapping[str, np.ndarray]
    memos: dict[str, Any] | None = field(default=None, compare=False)

    def __len__(self) -> int:
        return len(next(iter(self.arrays.values()))) if self.arrays else 0

    def __getitem__(self, name: str) -> np.ndarray:
        return self.arrays[name]

    def memo(self, name: str) -> dict[str, Any] | None:
        """Return the memory of comparisons of array `name`, or None where nothing is remembered."""
        return None if self.memos is None else self.memos.setdefault(name, {})

    def take(self, rows: Sequence[int] | np.ndarray) -> Keys:
        """Return the keys of some rows (without memories)."""
        return Keys({name: a[np.asarray(rows, dtype=np.int64)] for name, a in self.arrays.items()})

    @classmethod
    def concat(cls, parts: Sequence[Keys]) -> Keys:
        """Return the rows of several keys one after another."""
        if not parts:
            return cls({})
        return cls({name: np.concatenate([p.arrays[name] for p in parts]) for name in parts[0].arrays})


@dataclass(frozen=True)
class Route:
    """Which experts serve one query: edit ids, best first, with scores and mixing weights.

    Ids and scores are enough: weights that are not given are 1 each, revisions 0 each. `group` is true when one
    expert serves several edits and `ids` are all its members. `revisions` are those of the routed payloads, in the
    order of `ids`, where a stored payload may be replaced in place (a reuse of an answer needs them unchanged).
    `best` is how near the nearest stored expert is, on the scale that decides scope (higher is nearer), also where
    that was not near enough and the route is empty; None where nothing is stored or searched. It decides no answer:
    routes are equal whatever it is.
    """

    ids: tuple[str, ...] = ()
    scores: tuple[float, ...] = ()
    weights: tuple[float, ...] = ()
    revisions: tuple[int, ...] = ()
    group: bool = False
    best: float | None = field(default=None, compare=False)

    def __post_init__(self) -> None:
        """Write out what was not given, so that equality and `digest` are those of the whole form."""
        if self.ids and not self.weights:
            object.__setattr__(self, "weights", (1.0,) * len(self.ids))
        if self.ids and not self.revisions:
            object.__setattr__(self, "revisions", (0,) * len(self.ids))

    @property
    def in_scope(self) -> bool:
        """Whether any expert serves the query."""
        return bool(self.ids)

    @property
    def digest(self) -> str:
        """16 hexadecimal digits of everything that decides the answer: ids, weights and revisions."""
        weights = np.asarray(self.weights, dtype=np.float32).tobytes()
        text = "\x1f".join(self.ids) + "\x1e" + ",".join(map(str, self.revisions))
        return hashlib.sha256(text.encode() + b"\x1e" + weights).hexdigest()[:16] if self.ids else ""


class Answerer(Protocol):
    """What answers queries while an editor is applied; row i of every call is query i of `applied`."""

    def score(self, targets: Sequence[str], *, top: int = 0) -> list[Scored]:
        """Teacher-force one target per query; `top` > 0 also returns ordered top ids at every position."""
        ...

    def generate(self, rows: Sequence[int] | None = None, *, max_tokens: int = 16) -> list[str]:
        """Decode greedily for some rows (all by default)."""
        ...


class Editor(ABC):
    """One way of editing a model while it is in use; only `edit` must be written.

    - Must: `edit`.
    - Usually: `encode`, `route`, `applied`, `remove`, `state` and `load`, `nbytes`, `bank_len`.
    - If it trains: `fit`, `fitted`, `load_fitted`, `fit_options`, `pool_wanted`.
    - What it promises: `turn`, `routed` (with `revision`), `removes`, `replaces`, `trains`, `append_only`,
      `changes_nothing`.
    - How it is tuned: `searched`, `published`, `depths`, `settles`.
    - What a dry run tells: `acts_on`, `bytes_for`.
    - Speed, leave it: all others.

    `Options` are its settings. An editor that can show what it learnt as points is a `HasSpaces` too, one that must
    see the probes (only a reference may) is `Privileged`.
    """

    Options: ClassVar[type[EditorOptions]] = EditorOptions

    def __init__(self, vlm: VLM, options: EditorOptions | None = None, *, seed: int = 0) -> None:
        self.vlm = vlm
        self.options = options if options is not None else self.Options()
        self.seed = seed
        self.turn = self.turn_of(self.options)
        self.routed = self.routed_by(self.options)
        self.revision = 0
        self.unfinished: Path | None = None  # where `fit` keeps what it has so far, if anywhere

    # Must.

    @abstractmethod
    def edit(self, edits: Sequence[Edit]) -> Mapping[str, str] | None:
        """Take in one batch of edits (never more than `turn`); raises `CollapseError` on a non-finite result.

        Returns None, or by id why it passes over those that its method does not take; the run notes them as skipped.
        """

    # Usually. The defaults are right for an editor that does not route, cannot take an edit back and stores nothing.

    def encode(self, queries: Sequence[Query]) -> Keys:
        """Return the routing keys of queries: a function of frozen weights only, the same at any step."""
        return Keys({"none": np.zeros((len(queries), 0), dtype=np.float32)})

    def route(self, keys: Keys) -> list[Route]:
        """Return one route per key row: bank search and arithmetic on keys, nothing else."""
        return [Route()] * len(keys)

    def best_scores(self, keys: Keys, routes: Sequence[Route]) -> list[float | None]:
        """Return `Route.best` of key rows, given their routes; asked for facts, never where a query is timed.

        For an editor whose `route` does not meet the nearest expert of a query that it refuses, and would be slower
        for it.
        """
        return [route.best for route in routes]

    def applied(self, queries: Sequence[Query], routes: Sequence[Route]) -> AbstractContextManager[Answerer]:
        """Return a context in which queries are answered as edited; outside it the model is the frozen base."""
        return self._unedited(queries)

    @contextmanager
    def _unedited(self, queries: Sequence[Query]) -> Iterator[Answerer]:
        yield self.vlm.answerer(queries)

    def remove(self, ids: Sequence[str]) -> None:
        """Forget edits; raises `UnsupportedError` where the algorithm cannot."""
        raise UnsupportedError(f"{type(self).__name__} cannot take edits back ({len(ids)} were given).")

    def state(self) -> State:
        """Return everything `load` needs to go on exactly from here (trained parts of `fit` excluded)."""
        return State({}, {"revision": self.revision})

    def load(self, state: State) -> None:
        """Go on exactly from a state returned by `state` of an editor with equal options."""
        self.revision = int(state.meta["revision"])

    def nbytes(self) -> int:
        """Return the bytes that grow with the edits: keys and payloads, or changed weights."""
        return 0

    def bank_len(self) -> int:
        """Return how many entries the bank holds (0 for an editor without one)."""
        return 0

    def acts_on(self) -> Sequence[str]:
        """Return the names of the model's parts that edits act on, for a dry run; () where they are in the prompt."""
        return ()

    def bytes_for(self, edits: int) -> int | None:
        """Return about what `nbytes` will be after so many edits, for a dry run; None where only edits tell.

        Asked of a new editor, whose model may be without its weights.
        """
        return 0 if self.changes_nothing else None

    def mark(self) -> Hashable:
        """Return what is another after each change of the state: asked before and after an edit, to notice a no-op.

        By default the counts of the banks that `route` searches; without one a digest of `state`, which takes as long
        as that is large: an editor that can count its changes overrides it. Where there is no state to look at
        either, an edit is taken to have changed something.
        """
        if self.changes_nothing:
            return ()
        counts, banks = (self.revision, self.bank_len()), self.routing_banks()
        if banks:
            return (*counts, *(bank.changes for bank in banks))
        return (*counts, object() if type(self).state is Editor.state else self.state().digest())

    # If it trains.

    def fit(self, pool: Pool) -> None:
        """Learn trained parts from a pool disjoint from every stream; the default learns nothing."""

    def fitted(self) -> State:
        """Return what `fit` learnt, so that it can be cached by content and shipped."""
        return State({}, {})

    def load_fitted(self, state: State) -> None:
        """Take over what an equal `fit` learnt earlier."""

    @classmethod
    def fit_options(cls, options: EditorOptions) -> Mapping[str, Any]:
        """Return the options that decide what `fit` learns: part of a fit's identity; all of them by default."""
        return options.model_dump(mode="json")

    @classmethod
    def pool_wanted(cls, options: EditorOptions) -> str:
        """Return what `fit` needs a pool for under these options, '' where an editor can do without being fitted.

        Told to who has no pool, after "editor=NAME": a clause that names the options that would make do without, if
        there are any.
        """
        return "is trained before its first edit" if cls.trains else ""

    # What it promises. The contract's checks hold an editor to each of these.

    turn: int = 1
    """Edits per batch; the simulator forms the batches."""
    routed: bool = True
    """Only a query with a route is answered in another way than by the base; False where an edit may change any
    answer, as in weight editors. `revision` must then change whenever an answer may."""
    removes: ClassVar[bool] = False
    """`remove` works."""
    replaces: ClassVar[bool] = False
    """A newer edit of the same question takes the older one's place: it is answered as if that had never been. Not
    where answers are written over each other in one memory, as in weight editors: there traces of the older stay."""
    trains: ClassVar[bool] = False
    """`fit` learns something."""
    append_only: ClassVar[bool] = False
    """Edits never touch each other, so that their order does not matter."""
    changes_nothing: ClassVar[bool] = False
    """`edit` changes nothing, on purpose."""

    # How it is tuned.

    searched: ClassVar[Mapping[str, tuple[Any, ...]]] = {}
    """The values that `lifelong tune` tries, by option, numbers in their order; few of what `fit` depends on."""
    published: ClassVar[Mapping[str, Any] | None] = None
    """The options as in the paper where the defaults are not, but for what is scaled to the model. None: it is no
    published method. `editor.setting=published` stands for them."""
    depths: ClassVar[tuple[str, ...]] = ()
    """The options that say a decoder layer as a fraction of the depth: those that round to one layer are the same."""

    @classmethod
    def settles(cls, options: _Options, vlm: VLM) -> _Options:
        """Return the options in the one form of all that come to the same on a model.

        `lifelong tune` asks it, so that no setting is tried twice. What another option switches off is at its default
        (`editing.settled.unused`), and depths are those of their layers. Nothing is computed with the result.
        """
        return options.model_copy(update={k: vlm.layer_at(getattr(options, k)) / vlm.layers for k in cls.depths})

    # Speed: leave it.

    lasting: bool = False
    """What an edit stored never changes until it is superseded or taken back, and routes say all else that decides an
    answer: one may be given later, and several edits' together."""

    @classmethod
    def turn_of(cls, options: EditorOptions) -> int:
        """Return the `turn` of an editor with these options, asked before one is made."""
        return cls.turn

    @classmethod
    def routed_by(cls, options: EditorOptions) -> bool:
        """Return whether an editor with these options is `routed`, asked before one is made."""
        return cls.routed

    def weight_drift(self) -> tuple[float, int] | None:
        """Return how far the matrices that edits change are from the base's, and how many they are; None for others.

        The Frobenius norm of their change over their own.
        """
        return None

    def routing_banks(self) -> Sequence[Bank]:
        """Return the banks that `route` searches, so that the recall of their indexes can be measured."""
        return ()

    def holds(self, edit_id: str) -> bool:
        """Return whether an edit is stored: whether a bank has an entry of its id; without banks, always."""
        return not self.routing_banks() or any(edit_id in bank for bank in self.routing_banks())

    def close(self) -> None:
        """Leave the model as it was found; called once, also after an error."""


class Privileged(ABC):
    """Beside `Editor`: an editor that is shown the probes, as no method may be. Only shipped references are."""

    @abstractmethod
    def reveal(self, probes_of: Callable[[str], Sequence[Probe]]) -> None:
        """Take the table of probes by edit id; whoever asks probes calls it once, before or after edits."""


class IndexOptions(EditorOptions):
    """Options of an editor that finds its edits in a bank."""

    index: str = Field(
        default="flat",
        description="flat (exact), flat16, ivf or hnsw; more behind colons: ivf:probes=32, flat:engine=torch",
    )

    @field_validator("index")
    @classmethod
    def _readable(cls, value: str) -> str:
        IndexSpec.parse(value)
        return value


class EncoderOptions(EditorOptions):
    """Options of an editor that routes by the words of questions."""

    encoder: EncoderName = Field(
        default="base",
        description="frozen encoder of texts: base (the model's own states), minilm (a sentence encoder, which needs "
        "the extra `minilm`) or path:FOLDER",
    )
