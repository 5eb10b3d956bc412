"""Which facts a stream edits and in which order: drawn once for the longest stream that there can be, and then cut.

So the beginning of a stream does not depend on its length. A few identities, the real updates and a share of names in
other languages are mixed in, in every `BLOCK` of places as many as are due. An identity edit excludes every other
edit of its entity, a real update those of the relations linked with it. A fact that an earlier edit's second step
rests on comes last. Knows no wording.
"""

from __future__ import annotations

from collections.abc import Sequence, Set
from dataclasses import dataclass

import numpy as np

from streams.atlas.catalogue import Catalogue, WorldFact, consequences
from streams.atlas.choose import COUNTERFACTUAL, REAL_UPDATE, Shares
from streams.atlas.choose_hard import choose_alike, choose_pictured
from streams.atlas.hops import HOPS, hop_answer
from streams.atlas.relations import RELATIONS
from streams.atlas.targets import linked, target
from streams.orders.order import ADDING, NEAR_MISSES, generator, ordered
from streams.types import Edit, Query

BLOCK = 20  # places that have their share of each kind of facts
FIRST_EDITS = 1000  # edits over which the share of identities is kept, or half of a smaller split's facts

Chosen = tuple[WorldFact, str]
"""A fact, and the kind of its source."""


@dataclass(frozen=True)
class Agenda:
    """All facts that streams of one seed and one set of options edit, in order; `shown` is what they are asked by.

    The first `body` facts leave every second step in place that a probe of one of them asks for; those after it,
    which only streams of some nine thousand edits reach, do not.
    """

    facts: tuple[Chosen, ...]
    body: int
    shown: Catalogue


def agenda(catalogue: Catalogue, order: str, shares: Shares, keep: Set[WorldFact], seed: int) -> Agenda:
    """Return the agenda of an order, in which no fact touches one of `keep`; called once when a stream is loaded."""
    rng, shown = generator(seed, "atlas", "choose"), catalogue
    if order == "near_duplicates":
        piles = choose_alike(catalogue, shares.translations, keep, rng)
        parts = [[(f, COUNTERFACTUAL) for f in pile] for pile in piles]
    elif order == "same_image":
        piles, shown = choose_pictured(catalogue, keep, rng)
        parts = [[(f, COUNTERFACTUAL) for f in pile] for pile in piles]
    else:
        parts = _mixed(catalogue, shares, keep, seed, rng)
    as_drawn = order in ("shuffled", "same_image", NEAR_MISSES, *ADDING)
    arranged = parts if as_drawn else [_arranged(catalogue, part, order, seed, i) for i, part in enumerate(parts)]
    late = len(parts[-1]) if order not in ("near_duplicates", "same_image") else 0
    facts = tuple(chosen for part in arranged for chosen in part)
    return Agenda(facts, len(facts) - late, shown)


def _arranged(catalogue: Catalogue, part: list[Chosen], order: str, seed: int, number: int) -> list[Chosen]:
    """Return a part of the agenda in a named order, by stand-ins for the edits that are not worded yet."""
    world = catalogue.world
    stands = [Edit(str(i), Query(""), "", fact[0], fact[1]) for i, (fact, _) in enumerate(part)]

    def name_of(edit: Edit) -> str:
        return f"{edit.relation} of {world.name(world.by_id[edit.subject])}"

    def kind_of(edit: Edit) -> str:
        entity = world.by_id[edit.subject]
        return entity.facts.get("group", (entity.domain,))[0]

    own = int(generator(seed, "atlas", "part", str(number)).integers(1 << 62))
    return [part[int(e.id)] for e in ordered(stands, order, own, name_of=name_of, kind_of=kind_of)]


def _mixed(
    catalogue: Catalogue, shares: Shares, keep: Set[WorldFact], seed: int, rng: np.random.Generator
) -> list[list[Chosen]]:
    """Return the facts in three parts: mixed as asked for, names in other languages that are left, and late ones."""
    facts = [f for f in catalogue.editable if f not in keep and not set(consequences(f)) & keep]
    facts = [facts[i] for i in rng.permutation(len(facts))]
    identities = [f for f in facts if RELATIONS[f[1]].identity and catalogue.pictures(f)]
    identities = identities[: round(shares.identity * min(FIRST_EDITS, len(facts) // 2))]
    renamed = {entity for entity, _ in identities}
    rest = [f for f in facts if not RELATIONS[f[1]].identity and f[0] not in renamed]

    updates = [f for f in rest if shares.updates and f[1] in catalogue.world.by_id[f[0]].older]
    blocked = {(entity, r) for entity, relation in updates for r in linked(relation)}
    plain = [f for f in rest if f not in blocked]
    names = [f for f in plain if RELATIONS[f[1]].translation]
    others, late = _without_late(catalogue, updates, [f for f in plain if not RELATIONS[f[1]].translation], seed)

    # Names in other languages are at most half of all, whatever the length.
    count = min(len(names), len(others) + len(identities) + len(updates))
    later, names = names[count : count + len(late)], names[:count]
    piles = {"identity": identities, "update": updates, "name": names, "other": others}
    main = _blocks({kind: _sourced(kind, pile) for kind, pile in piles.items()}, shares, rng)
    done = {fact for fact, _ in main}
    left = [c for kind, pile in piles.items() for c in _sourced(kind, pile) if c[0] not in done]
    return [main, left, _sourced("other", late + later)]


def _sourced(kind: str, pile: Sequence[WorldFact]) -> list[Chosen]:
    return [(fact, REAL_UPDATE if kind == "update" else COUNTERFACTUAL) for fact in pile]


def _blocks(piles: dict[str, list[Chosen]], shares: Shares, rng: np.random.Generator) -> list[Chosen]:
    """Return the piles mixed by their shares, block by block, until the plain facts are at an end."""
    main: list[Chosen] = []
    used = dict.fromkeys(piles, 0)

    def take(kind: str, until: float) -> list[Chosen]:
        begin = used[kind]
        used[kind] = min(max(begin, round(until)), len(piles[kind]))
        return piles[kind][begin : used[kind]]

    while used["other"] < len(piles["other"]):
        end = len(main) + BLOCK
        block = take("identity", shares.identity * end) + take("update", shares.updates * end)
        block = block[:BLOCK] + take("name", shares.translations * (end - used["identity"] - used["update"]))
        room = max(0, BLOCK - len(block))
        block += take("other", used["other"] + room)
        if not block:  # all the room is that of identities, and there are no more of them
            break
        main += [block[int(i)] for i in rng.permutation(len(block))]
    return main


def _without_late(
    catalogue: Catalogue, updates: Sequence[WorldFact], others: Sequence[WorldFact], seed: int
) -> tuple[list[WorldFact], list[WorldFact]]:
    """Return plain facts, and apart those whose edit would change the answer of an earlier edit's second step."""
    world, edited, touched = catalogue.world, set(updates), {c for f in updates for c in (f, *consequences(f))}
    steps: set[WorldFact] = set()  # facts of the subject itself that second steps ask for
    rests: set[WorldFact] = set()  # facts of the only other holder of the new answer
    early, late = [], []
    for fact in others:
        derived = {fact, *consequences(fact)}
        if fact in steps or derived & rests:
            late.append(fact)
            continue
        hops = [hop for hop in HOPS if hop.relation == fact[1]]
        answer = target(catalogue, fact, seed) if hops else None
        for hop in hops if answer else ():
            second = (fact[0], hop.answer_relation)
            holders = catalogue.holders(hop.relation, str(answer))
            rest = {(holders[0], hop.answer_relation)} if len(holders) == 1 else set()
            if second not in edited and not rest & touched and hop_answer(world, hop, str(answer)):
                steps.add(second)
                rests |= rest
        edited.add(fact)
        touched |= derived
        early.append(fact)
    return early, late
