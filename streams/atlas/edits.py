"""The atlas stream: thousands of edits of facts about real pictures, free of contradictions. Knows no model.

Counterfactual edits (another entity's answer of the same relation) with a slice of real updates. A real update sets a
fact to the answer of the older of two real sources; the model knows the newer one, so the change is real but goes
back in time (source `real-update:to-older`): the other direction would teach the model what it already knows.

Edits and probes are of split 'edit', unless options are to be chosen on split 'fit'; pools for training come from the
entities of split 'fit' and use training's wordings and drawings. Without conflicts asked for, a stream longer than
the world's facts goes on with re-edits, each with `supersedes` set.
"""

from __future__ import annotations

from collections.abc import Iterable, Set
from dataclasses import replace
from functools import partial
from typing import Annotated, Literal

import numpy as np
from pydantic import Field

from streams.atlas.catalogue import Catalogue, WorldFact
from streams.atlas.choose import COUNTERFACTUAL, REAL_UPDATE, Shares, choose_facts
from streams.atlas.choose_hard import choose_alike, choose_pictured
from streams.atlas.general import general_set
from streams.atlas.hops import HOPS
from streams.atlas.known import Known, read_known
from streams.atlas.probes import Scene, probes_of
from streams.atlas.prompts import SHARES, Wording, gives_away, word
from streams.atlas.relations import RELATIONS
from streams.atlas.targets import target
from streams.atlas.world import World, load_world
from streams.order import ADDING, NEAR_MISSES, generator, ordered, reedited, with_id
from streams.problems import IsPath
from streams.stream import Source, Stream, StreamError, StreamOptions
from streams.types import Edit, Pool, PoolItem, digest_of

_VERSION = "atlas-2"
REVERSAL = "reversal"  # the source of an edit back to the first truth
POOL_VERSION = ("atlas-1", "pool 2")  # what trained parts were learnt from: shipped ones are found by it


class Options(StreamOptions):
    """What the stream is made of.

    `known`: the table of what the model knows ('' = the shipped model's, 'all' = everything); `order`: one of
    `order.ORDERS`; `reedits`: share of re-edits where the order has such; `identity`, `updates`, `translations`:
    shares of identity edits (at most 100), real updates, and names in other languages (more, up to half, in long
    streams; near-duplicates and edits of one image keep to their own choice of facts);
    `split`: edit, or fit: the entities that trained editors learn from, for choosing options on.
    """

    known: Annotated[str, IsPath(words=("all",))] = ""
    order: str = "shuffled"
    reedits: float = Field(0.2, ge=0, lt=1)
    identity: float = Field(0.05, ge=0, le=1)
    updates: float = Field(0.05, ge=0, le=1)
    translations: float = Field(0.25, ge=0, le=0.5)
    split: Literal["edit", "fit"] = "edit"

    @property
    def shares(self) -> Shares:
        """The shares of the kinds of facts."""
        return Shares(self.identity, self.updates, self.translations)


def load(options: Options, *, edits: int, seed: int) -> Stream:
    """Return a stream of `edits` edits; raises `StreamError`."""
    world = load_world()
    known = read_known(options.known, world)
    catalogue = Catalogue(world, known, options.split)
    general, keep = general_set(catalogue)
    adds = options.order in ADDING
    fresh = max(1, round(edits * (1 - options.reedits))) if adds else edits
    book = _filled(catalogue, seed, fresh, options, keep)
    arrange = partial(ordered, order=options.order, seed=seed, name_of=book.name_of, kind_of=book.kind_of)
    try:
        order = arrange(book.edits)
        if adds:
            order = reedited(order, edits - fresh, seed, book.again if options.order == "reedits" else book.back)
    except ValueError as error:
        raise StreamError(f"stream.{error}") from error
    while order and len(order) < edits:
        latest = _latest(order)[: edits - len(order)]
        more = [e for e in (book.again(old, generator(seed, "atlas", "again", old.id)) for old in latest) if e]
        if not more:
            break
        order += arrange(more)
    touched = frozenset((e.subject, e.relation) for e in order)
    scene = Scene(catalogue, seed, touched, near_misses=options.order == NEAR_MISSES)
    made_of = options.model_dump_json(exclude={"known"} | ({"split"} if options.split == "edit" else set()))
    digest = digest_of(_VERSION, _world_digest(world), known.digest, made_of, str(edits), str(seed))
    source = Source(lambda edit: probes_of(edit, book.wordings[edit.id], scene), partial(fit_pool, world, known))
    return Stream("atlas", digest, order, general, source)


def fit_pool(world: World, known: Known, n: int, seed: int) -> Pool:
    """Return n training items of the entities of split 'fit'; each stands by itself, so facts may recur."""
    catalogue = Catalogue(world, known, "fit")
    items: list[PoolItem] = []
    taken: set[str] = set()
    round_ = 0
    while len(items) < n:
        rng = generator(seed, "atlas", "pool", str(round_))
        book = _Book(catalogue, seed, round_, set())
        book.fill(choose_facts(catalogue, n - len(items), Shares(0.1, 0.0, 0.25), frozenset(), rng), n - len(items))
        new = [e for e in book.edits if e.id not in taken]
        if not new:
            raise StreamError(f"The atlas has only {len(items)} different training items; {n} were asked for.")
        for edit in new:
            taken.add(edit.id)
            scene = Scene(catalogue, seed, frozenset({(edit.subject, edit.relation)}), held_out=False)
            items.append(PoolItem(edit, probes_of(edit, book.wordings[edit.id], scene)))
        round_ += 1
    digest = digest_of(*POOL_VERSION, _world_digest(world), known.digest, str(n), str(seed))
    return Pool(tuple(items), digest, seed)


def _filled(catalogue: Catalogue, seed: int, n: int, options: Options, keep: Set[WorldFact]) -> _Book:
    """Return n worded edits; some more facts are chosen where a few cannot be asked without telling the answer."""
    spare = 0
    while True:
        rng, shown = generator(seed, "atlas", "choose"), catalogue
        if options.order == "near_duplicates":
            chosen = choose_alike(catalogue, n + spare, options.translations, keep, rng)
        elif options.order == "same_image":
            chosen, shown = choose_pictured(catalogue, n + spare, keep, rng)
        else:
            chosen = choose_facts(catalogue, n + spare, options.shares, keep, rng)
        book = _Book(shown, seed)
        book.fill(chosen, n)
        missing = n - len(book.edits)
        if missing <= 0 or len(chosen) < n + spare:
            return book
        spare += 2 * missing + 8


class _Book:
    """Edits as they are worded: no question is used twice, and the kinds of prompts keep their shares."""

    def __init__(
        self, catalogue: Catalogue, seed: int, version: int = 0, edited: set[WorldFact] | None = None
    ) -> None:
        self.catalogue, self.seed, self.version = catalogue, seed, version
        self.edited = edited
        self.edits: list[Edit] = []
        self.wordings: dict[str, Wording] = {}
        self._taken: set[tuple[str, str]] = set()
        self._counts = dict.fromkeys(SHARES, 0)

    def fill(self, chosen: Iterable[tuple[WorldFact, str]], most: int) -> None:
        """Word chosen facts, at most `most`; one that cannot be asked without telling the answer is left out."""
        chosen = list(chosen)
        self.edited = {fact for fact, _ in chosen} if self.edited is None else self.edited
        for fact, source in chosen:
            if len(self.edits) < most:
                self._add(fact, source)

    def again(self, old: Edit, rng: np.random.Generator) -> Edit | None:
        """Return the next version of an edit, in the same words and with another answer, or None."""
        fact = (old.subject, old.relation)
        for _ in range(8):
            answer = target(self.catalogue, fact, self.seed, 1 + int(rng.integers(1 << 30)))
            if answer and answer != old.target and answer.casefold() not in old.query.prompt.casefold():
                new = with_id(replace(old, target=answer, source=COUNTERFACTUAL, supersedes=old.id))
                self.wordings[new.id] = self.wordings[old.id]
                return new
        return None

    def back(self, old: Edit, rng: np.random.Generator) -> Edit | None:
        """Return the edit back to what was true at first; where that is what holds now, another answer."""
        truth = self.catalogue.world.by_id[old.subject].facts[old.relation][0]
        if old.target == truth:
            return self.again(old, rng)
        if gives_away(old.query.prompt, [truth]):
            return None
        new = with_id(replace(old, target=truth, source=REVERSAL, supersedes=old.id))
        self.wordings[new.id] = self.wordings[old.id]
        return new

    def name_of(self, edit: Edit) -> str:
        """Return what near-duplicates share: the relation, and a name in English."""
        return f"{edit.relation} of {self.catalogue.world.name(self.catalogue.world.by_id[edit.subject])}"

    def kind_of(self, edit: Edit) -> str:
        """Return the domain of an edit, for emojis their group."""
        entity = self.catalogue.world.by_id[edit.subject]
        return entity.facts.get("group", (entity.domain,))[0]

    def _add(self, fact: WorldFact, source: str) -> None:
        entity, relation = self.catalogue.world.by_id[fact[0]], fact[1]
        older = source == REAL_UPDATE
        answer = entity.older[relation] if older else target(self.catalogue, fact, self.seed, -self.version)
        total = len(self.edits) + 1
        kinds = sorted(SHARES, key=lambda k: self._counts[k] - SHARES[k] * total)
        rng = generator(self.seed, "atlas", "prompt", str(self.version), *fact)
        worded = word(self.catalogue, fact, answer, kinds, self.edited or set(), self._taken, rng) if answer else None
        if answer is None or worded is None:
            return
        wording, query = worded
        edit = with_id(Edit("", query, answer, entity.id, relation, source, None, wording.kind))
        self._taken.add((query.image.digest if query.image else "", query.prompt))
        self._counts[wording.kind] += 1
        self.wordings[edit.id] = wording
        self.edits.append(edit)


def _latest(edits: Iterable[Edit]) -> list[Edit]:
    latest: dict[tuple[str, str], Edit] = {}
    for edit in edits:
        latest[edit.subject, edit.relation] = edit
    return list(latest.values())


def _world_digest(world: World) -> str:
    return digest_of(world.digest, repr(tuple(RELATIONS.values())), repr(HOPS))
