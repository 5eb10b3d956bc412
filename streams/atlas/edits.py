"""The atlas stream: thousands of edits of facts about real pictures, free of contradictions. Knows no model.

Counterfactual edits (another entity's answer of the same relation) with a slice of real updates. A real update sets a
fact to the answer of the older of two real sources; the model knows the newer one, so the change is real but goes
back in time (source `real-update:to-older`): the other direction would teach the model what it already knows.

Edits and probes are of split 'edit', unless options are to be chosen, on split 'tune'; pools for training come from
the entities of split 'train' (or of the one that `learnt` names) and use training's wordings and drawings. No entity
is of two splits. A stream longer than the world's facts goes on with re-edits, each with `supersedes` set. A shorter
stream is the beginning of a longer one: the same edits with the same probes; only beyond some nine thousand edits
(`streams.atlas.agenda`) are fewer second steps asked.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Set
from dataclasses import replace
from functools import partial
from typing import Annotated, Literal

import numpy as np
from pydantic import Field, model_validator

from streams.atlas.agenda import agenda
from streams.atlas.catalogue import Catalogue, WorldFact
from streams.atlas.choose import COUNTERFACTUAL, REAL_UPDATE, Shares, choose_facts
from streams.atlas.general import general_set
from streams.atlas.hops import HOPS
from streams.atlas.known import Known, read_known
from streams.atlas.pairs import PAIRS, edit_pairs
from streams.atlas.probes import Scene, probes_of
from streams.atlas.prompts import SHARES, Wording, gives_away, word
from streams.atlas.relations import RELATIONS
from streams.atlas.targets import target
from streams.atlas.world import World, load_world
from streams.orders.order import (
    ADDING,
    MODAL_CONFLICTS,
    NEAR_MISSES,
    ORDERS,
    check_order,
    generator,
    with_disputes,
    with_id,
    with_reedits,
)
from streams.problems import IsPath
from streams.stream import Source, Stream, StreamError, StreamOptions
from streams.types import Edit, MadeOnce, Pool, PoolItem, Probe, digest_of

_VERSION = "atlas-5"
REVERSAL = "reversal"  # the source of an edit back to the first truth
DISPUTE = "modal-conflict"  # the source of the second edit of a fact, in the other modality
POOL_VERSION = ("atlas-1", "pool 3")  # what trained parts were learnt from: shipped ones are found by it


class Options(StreamOptions):
    """The embedded world: thousands of edits of real facts about real drawings."""

    known: Annotated[str, IsPath(words=("all",))] = Field(
        "", description="table of what the model knows: a file, all (everything), or '' for the shipped model's"
    )
    order: str = Field("shuffled", description=f"the order of the edits: one of {', '.join((*ORDERS, PAIRS))}")
    reedits: float = Field(
        0.2,
        ge=0,
        lt=1,
        description="share of edits that replace or (at most half) dispute an earlier one, if such an order",
    )
    identity: float = Field(
        0.05, ge=0, le=1, description="share of edits of what a thing is, among the first thousand; no more later"
    )
    updates: float = Field(
        0.05, ge=0, le=1, description="share of real updates, until the world's few (some 15) are told; no more later"
    )
    translations: float = Field(
        0.25, ge=0, le=0.5, description="share of names in other languages among the rest; up to half in long streams"
    )
    split: Literal["edit", "tune", "train"] = Field(
        "edit", description="whose facts: edit; tune, to choose options on; train, those that editors learn from"
    )
    learnt: Literal["train", "edit"] = Field(
        "train", description="whose facts editors learn from; edit: nine times as many, where split is another"
    )

    grid: bool = Field(
        False, description="ask every edit all of the grid, paired and negated questions; else they take turns"
    )

    @property
    def shares(self) -> Shares:
        """The shares of the kinds of facts."""
        return Shares(self.identity, self.updates, self.translations)

    @model_validator(mode="after")
    def _learnt_from_others(self) -> Options:
        if self.learnt == self.split == "edit":
            raise ValueError(
                "learnt=edit: the facts of split 'edit' are edited in this stream, and would be learnt from as well."
                " Give split=tune, too."
            )
        return self


def load(options: Options, *, edits: int, seed: int) -> Stream:
    """Return a stream of `edits` edits; raises `StreamError`."""
    world = load_world()
    known = read_known(options.known, world)
    catalogue = Catalogue(world, known, options.split)
    general, keep = general_set(catalogue)
    try:
        check_order(options.order, (*ORDERS, PAIRS))
    except ValueError as error:
        raise StreamError(f"stream.{error}") from error
    if options.order == PAIRS:
        return _in_pairs(options, catalogue, general, keep, edits, seed)
    plan = agenda(catalogue, options.order, options.shares, keep, seed)
    book = _Book(plan.shown, seed, edited={fact for fact, _ in plan.facts})
    share = options.reedits if options.order in ADDING else 0.0
    if options.order == MODAL_CONFLICTS:
        order = with_disputes(book.worded(plan.facts), edits, share, seed, book.other)
    else:
        again = book.back if options.order == "reversals" else book.again
        order = with_reedits(book.worded(plan.facts), edits, share, seed, again)

    # Second steps rest on the facts of the agenda's body, or on all where the stream goes beyond it.
    reach = plan.body if book.looked_at <= plan.body else len(plan.facts)
    scene = Scene(
        catalogue,
        seed,
        frozenset(fact for fact, _ in plan.facts[:reach]),
        near_misses=options.order == NEAR_MISSES,
        every=options.grid,
    )
    made_of = digest_of(
        _VERSION,
        _world_digest(world),
        known.digest,
        options.model_dump_json(exclude={"known", "learnt"}),
        str(reach),
        str(seed),
    )
    source = Source(
        lambda edit: probes_of(edit, book.wordings[edit.id], scene, disputed=edit.id in book.disputed),
        partial(fit_pool, world, known, options.learnt),
        lambda edit: world.by_id[edit.subject].facts[edit.relation],
    )
    return Stream("atlas", made_of, order, general, source)


def _in_pairs(
    options: Options,
    catalogue: Catalogue,
    general: tuple[Probe, ...],
    keep: Set[WorldFact],
    edits: int,
    seed: int,
) -> Stream:
    """Return a stream of pairs of a visual and a textual edit; fewer come back where there are no more pairs."""
    world = catalogue.world
    plan = agenda(catalogue, "shuffled", Shares(0.5, 0.0, options.translations), keep, seed)
    pairs = edit_pairs(catalogue, (fact for fact, _ in plan.facts), seed)
    scene = Scene(catalogue, seed, frozenset(f for pair in pairs for f in pair.facts), every=options.grid)
    pair_of = {edit.id: pair for pair in pairs for edit in (pair.visual, pair.textual)}

    def probes(edit: Edit) -> tuple[Probe, ...]:
        pair = pair_of[edit.id]
        wording = pair.wordings[edit.id == pair.textual.id]
        return probes_of(edit, wording, scene) + ((pair.probe(),) if edit.id == pair.textual.id else ())

    source = Source(
        probes,
        partial(fit_pool, world, catalogue.known, options.learnt),
        lambda edit: world.by_id[edit.subject].facts[edit.relation],
    )
    made_of = digest_of(
        _VERSION,
        _world_digest(world),
        catalogue.known.digest,
        options.model_dump_json(exclude={"known", "learnt"}),
        str(seed),
    )
    told = tuple(edit for pair in pairs for edit in (pair.visual, pair.textual))
    return Stream("atlas", made_of, told[:edits], general, source)


def fit_pool(world: World, known: Known, split: str, n: int, seed: int) -> Pool:
    """Return n training items of the entities of a split, 'train' or 'edit'; facts may recur, each stands by itself.

    They are drawn when they are looked at, which raises `StreamError` where the atlas has fewer.
    """
    others = () if split == "train" else (split,)
    digest = digest_of(*POOL_VERSION, _world_digest(world), known.digest, str(n), str(seed), *others)
    return Pool(MadeOnce(n, partial(_fit_items, world, known, n, seed, split)), digest, seed)


def _fit_items(world: World, known: Known, n: int, seed: int, split: str) -> tuple[PoolItem, ...]:
    catalogue = Catalogue(world, known, split)
    items: list[PoolItem] = []
    taken: set[str] = set()
    round_ = 0
    while len(items) < n:
        rng = generator(seed, "atlas", "pool", str(round_))
        book = _Book(catalogue, seed, round_)
        chosen = choose_facts(catalogue, n - len(items), Shares(0.1, 0.0, 0.25), frozenset(), rng)
        new = [e for e in book.worded(chosen) if e.id not in taken]
        if not new:
            raise StreamError(f"The atlas has only {len(items)} different training items; {n} were asked for.")
        for edit in new:
            taken.add(edit.id)
            scene = Scene(catalogue, seed, frozenset({(edit.subject, edit.relation)}), held_out=False)
            items.append(PoolItem(edit, probes_of(edit, book.wordings[edit.id], scene)))
        round_ += 1
    return tuple(items)


class _Book:
    """Edits as they are worded: no question is used twice, and the kinds of prompts keep their shares."""

    def __init__(
        self, catalogue: Catalogue, seed: int, version: int = 0, edited: Set[WorldFact] = frozenset()
    ) -> None:
        self.catalogue, self.seed, self.version = catalogue, seed, version
        self.edited = edited
        self.wordings: dict[str, Wording] = {}
        self.disputed: set[str] = set()  # both edits of each fact that has two
        self._taken: set[tuple[str, str]] = set()
        self._counts = dict.fromkeys(SHARES, 0)
        self.looked_at = 0

    def worded(self, chosen: Iterable[tuple[WorldFact, str]]) -> Iterator[Edit]:
        """Yield edits of chosen facts; one that cannot be asked without telling the answer is left out.

        `looked_at` is the number of facts that were worded or left out.
        """
        for fact, source in chosen:
            self.looked_at += 1
            edit = self._add(fact, source)
            if edit is not None:
                yield edit

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

    def other(self, old: Edit, rng: np.random.Generator) -> Edit | None:
        """Return an edit of the same fact in the other modality with another answer, or None."""
        fact = (old.subject, old.relation)
        kinds = ("partial", "generic") if old.prompt_kind == "text" else ("text",)
        if rng.random() < 0.5:
            kinds = kinds[::-1]
        for _ in range(8):
            answer = target(self.catalogue, fact, self.seed, 1 + int(rng.integers(1 << 30)))
            if answer is None or answer.casefold() == old.target.casefold():
                continue
            worded = word(self.catalogue, fact, answer, kinds, self.edited, self._taken, rng)
            if worded is not None:
                wording, query = worded
                new = with_id(Edit("", query, answer, *fact, DISPUTE, None, wording.kind))
                self._take(new, wording)
                self.disputed |= {old.id, new.id}
                return new
        return None

    def _take(self, edit: Edit, wording: Wording) -> None:
        self._taken.add((edit.query.image.digest if edit.query.image else "", edit.query.prompt))
        self.wordings[edit.id] = wording

    def _add(self, fact: WorldFact, source: str) -> Edit | None:
        entity, relation = self.catalogue.world.by_id[fact[0]], fact[1]
        older = source == REAL_UPDATE
        answer = entity.older[relation] if older else target(self.catalogue, fact, self.seed, -self.version)
        total = sum(self._counts.values()) + 1
        kinds = sorted(SHARES, key=lambda k: self._counts[k] - SHARES[k] * total)
        rng = generator(self.seed, "atlas", "prompt", str(self.version), *fact)
        worded = word(self.catalogue, fact, answer, kinds, self.edited, self._taken, rng) if answer else None
        if answer is None or worded is None:
            return None
        wording, query = worded
        edit = with_id(Edit("", query, answer, entity.id, relation, source, None, wording.kind))
        self._take(edit, wording)
        self._counts[wording.kind] += 1
        return edit


def _world_digest(world: World) -> str:
    return digest_of(world.digest, repr(tuple(RELATIONS.values())), repr(HOPS))
