"""The probes of one edit: what must change, what may not, and what follows. Knows no order and no model.

README.md has every axis and variant. What should stay is asked about a known fact of the catalogue's reserve that no
edit touches, that the edit bears on in no way (`tied`), and whose answer is not the edit's: else nobody could see
that the edit answers in its place. Some questions of studies take turns from edit to edit.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field

import numpy as np

from streams.atlas.catalogue import Catalogue, WorldFact, consequences, pick
from streams.atlas.forms import contested, negated, other_halves
from streams.atlas.grid import EditGrid
from streams.atlas.hops import HOPS, Hop, hop_answer
from streams.atlas.near_miss import near_misses, nearest_names
from streams.atlas.prompts import Wording, gives_away, partials, picture, question
from streams.atlas.relations import IDENTITY, RELATIONS
from streams.atlas.targets import tied
from streams.atlas.wording import generic, place, worded
from streams.atlas.world import FAMILY
from streams.axes import GRID_CELLS
from streams.orders.order import generator
from streams.types import Edit, ImageRef, Probe, Query, digest_of, modality_of, probe_with_id

_COUNTS = (2, 2, 2, 2, 3, 4)  # pictures in a specificity image, drawn evenly
_TURNS = ("grid", "grid", "paired", "negation")  # which of these an edit asks, drawn evenly


@dataclass(frozen=True)
class Scene:
    """What probes must respect: the facts edited in the stream, and which wordings may be used.

    `held_out` is False for training items, whose probes use training's wordings and drawings only. With `near_misses`
    locality asks what is nearest to the edit and outside of its scope, where there is such a question. With `every`
    no question waits for its turn: each edit asks all of them.
    """

    catalogue: Catalogue
    seed: int
    edited: frozenset[WorldFact]
    held_out: bool = True
    near_misses: bool = False
    every: bool = False
    touched: frozenset[WorldFact] = field(init=False)

    def __post_init__(self) -> None:
        derived = {c for fact in self.edited for c in consequences(fact)}
        object.__setattr__(self, "touched", self.edited | derived)


def probes_of(edit: Edit, wording: Wording, scene: Scene, *, disputed: bool = False) -> tuple[Probe, ...]:
    """Return the probes of an edit: the same at every call, whatever was asked before.

    A `disputed` fact has two edits, one by name and one about its picture, with two answers.
    """
    return _Maker(edit, wording, scene).make(disputed=disputed)


def drawn_by(edit: Edit) -> str:
    """Return what an edit's probes are drawn by: its question, target, fact, and what it replaces.

    This is no identity: shipped fits were learnt from pools that were drawn by it, so it stays as it is.
    """
    image = edit.query.image.digest if edit.query.image else ""
    asked = digest_of(edit.query.prompt, image)
    return "e" + digest_of(asked, edit.target, edit.subject, edit.relation, edit.supersedes or "")


class _Maker:
    """One edit's probes while they are made."""

    def __init__(self, edit: Edit, wording: Wording, scene: Scene) -> None:
        self.edit, self.wording, self.scene = edit, wording, scene
        self.catalogue, self.world = scene.catalogue, scene.catalogue.world
        self.fact: WorldFact = (edit.subject, edit.relation)
        self.entity = self.world.by_id[edit.subject]
        self.rng = generator(scene.seed, "atlas", "probes", drawn_by(edit))
        self.found: list[Probe] = []

    def make(self, *, disputed: bool) -> tuple[Probe, ...]:
        by_name, held_out = self.wording.kind == "text", self.scene.held_out
        self.add("reliability", "edit", self.edit.query, (self.edit.target,))
        self.text_generality()
        if self.wording.rendering:
            self.image_generality()
        self.locality()
        if by_name and not held_out:  # as pools have it, which shipped fits were learnt from
            self.by_picture()
        self.hops()
        if not (by_name and held_out):  # an edit by name is asked about pictures on the axis paired only
            self.specificity()
        if held_out:
            self.studies(disputed=disputed)
        return tuple(self.found)

    def add(self, axis, variant: str, query: Query, answers: tuple[str, ...], *, keep: bool = False) -> bool:
        """Keep a probe unless its text holds an answer or the edit's target, or the same question is there.

        On the grid a question of another axis may stand once more: it costs no further answer.
        """
        known = {p.query.digest for p in self.found if axis != "grid" or p.axis == axis}
        if gives_away(query.prompt, (*answers, self.edit.target)) or query.digest in known:
            return False
        if keep and not self.new(answers):
            return False
        modality = modality_of(axis, query, self.edit.query)
        reference, hops = "baseline" if keep else "target", 1 if axis == "portability" else 0  # one step is asked
        probe = Probe("", self.edit.id, axis, variant, modality, query, answers[0], reference, answers[1:], hops)
        self.found.append(probe_with_id(probe))
        return True

    def wordings(self) -> list[str]:
        """Templates for generality: held-out ones, those the model understands first; else other training ones."""
        words = RELATIONS[self.edit.relation]
        if not self.scene.held_out:
            others = [t for i, t in enumerate(words.train) if i != self.wording.template]
            return [others[i] for i in self.rng.permutation(len(others))[:3]]
        understood = self.catalogue.known.held_out(*self.fact, text=self.wording.kind == "text")
        order = sorted(self.rng.permutation(len(words.held_out)), key=lambda i: int(i) not in understood)
        return [words.held_out[i] for i in order]

    def text_generality(self) -> None:
        templates, image = self.wordings(), self.edit.query.image
        answer = (self.edit.target,)
        for i, template in enumerate(templates):
            if self.add("generality", "template", Query(worded(template, self.wording.phrase), image), answer):
                templates = templates[:i] + templates[i + 1 :]
                break
        for template in templates:
            phrase = self.other_phrase()
            variant = "phrase" if phrase != self.wording.phrase else "template"
            if self.add("generality", variant, Query(worded(template, phrase), image), answer):
                break

    def other_phrase(self) -> str:
        """Another phrase of the same kind; the same one where there is no other."""
        if self.wording.kind == "text":
            return self.wording.phrase
        kind = self.wording.kind
        phrases = generic() if kind == "generic" else partials(self.world, self.fact, self.scene.edited)[:4]
        return pick(self.rng, phrases, lambda p: p != self.wording.phrase) or self.wording.phrase

    def image_generality(self) -> None:
        family = _family(self.wording.rendering)
        known = [r for r in self.catalogue.known.pictures(*self.fact) if _family(r) != family]
        seen = [r for r in known if r not in self.entity.held_out]
        unseen = [r for r in known if r in self.entity.held_out] if self.scene.held_out else []
        for variant, renderings in (("seen", seen), ("unseen", unseen)):
            rendering = pick(self.rng, renderings)
            if rendering:
                image = picture(self.world, (self.entity.id, rendering))
                self.add("generality", variant, Query(self.edit.query.prompt, image), (self.edit.target,))

    def new(self, answers: tuple[str, ...]) -> bool:
        """Whether none of the answers to what should stay is the edit's, so that a false fire can be seen."""
        told = self.edit.target.casefold() in {a.casefold() for a in answers}
        return not (told and self.scene.held_out)

    def free(self, fact: WorldFact) -> bool:
        """Whether no edit of the stream touches a fact, and this edit's text questions cannot mean it."""
        return fact not in self.scene.touched and fact[0] != self.entity.id and self.new(self.truth(fact))

    def apart(self, fact: WorldFact) -> bool:
        """Whether no edit of the stream touches a fact of the edited thing, and this edit says nothing of it."""
        bears = self.scene.held_out and tied(fact[1], self.edit.relation)
        return fact not in self.scene.touched and not bears and self.new(self.truth(fact))

    def locality(self) -> None:
        if self.scene.near_misses:
            self.near_misses()
        have = {p.variant for p in self.found if p.axis == "locality"}
        index, domain, subgroup = self.catalogue.near, self.entity.domain, self.entity.subgroup
        far = tuple(index.get(("domain", d), ()) for d in IDENTITY if d != domain)
        near = (
            index.get(("near", domain, subgroup, self.edit.relation), ()),
            index.get(("subgroup", domain, subgroup), ()),
        )
        own = index.get(("entity", self.entity.id), ())
        drawn, by_name = self.edit.query.image, self.wording.kind == "text" and self.scene.held_out
        alike = nearest_names(self.catalogue, self.edit, self.free) if by_name else ()
        named = tuple(f for f in own if self.catalogue.asks_text(f))
        asked: tuple[tuple[str, tuple, Callable[[WorldFact], Query | None], Callable[[WorldFact], bool]], ...] = (
            ("text", (self.catalogue.reserve_text,), self.ask_by_name, self.free),
            ("near", (alike,), self.ask_by_name, self.free)
            if by_name
            else ("near", near, self.ask_picture, self.free),
            ("same-subject", (named,), self.ask_by_name, self.apart)
            if by_name
            else ("same-image", (own,), lambda f: self.ask_same(f, drawn), self.apart),
            ("far", far, self.ask_picture, self.free),
        )
        for variant, pools, make, fits in asked:
            if variant not in have:
                self.unchanged(variant, pools, make, fits)

    def near_misses(self) -> None:
        """Add one question of each variant that is just outside the scope and whose answer is not the edit's."""
        done = set()
        for variant, fact, query in near_misses(
            self.catalogue, self.edit, self.wording, self.scene.edited, self.untouched
        ):
            if variant not in done and self.untouched(fact):
                if self.add("locality", variant, query, self.truth(fact), keep=True):
                    done.add(variant)

    def untouched(self, fact: WorldFact) -> bool:
        return fact not in self.scene.touched

    def unchanged(
        self,
        variant: str,
        pools: tuple[tuple[WorldFact, ...], ...],
        make: Callable[[WorldFact], Query | None],
        fits: Callable[[WorldFact], bool],
    ) -> None:
        """Add a locality probe from the first pool that has one, in at most four tries a pool."""
        for pool in pools:
            for _ in range(4):
                fact = pick(self.rng, pool, fits)
                query = make(fact) if fact else None
                if fact and query and self.add("locality", variant, query, self.truth(fact), keep=True):
                    return

    def truth(self, fact: WorldFact) -> tuple[str, ...]:
        return self.world.by_id[fact[0]].facts[fact[1]]

    def asked(self, fact: WorldFact, x: str) -> str | None:
        return question(self.rng, fact[1], x, {*self.truth(fact), self.edit.target})

    def ask_by_name(self, fact: WorldFact) -> Query | None:
        text = self.asked(fact, self.world.name(self.world.by_id[fact[0]]))
        return Query(text) if text else None

    def ask_picture(self, fact: WorldFact) -> Query | None:
        rendering = pick(self.rng, self.catalogue.pictures(fact))
        return self.ask_same(fact, picture(self.world, (fact[0], str(rendering))))

    def ask_same(self, fact: WorldFact, image: ImageRef | None) -> Query | None:
        if image is None:
            return self.ask_picture(fact)
        text = self.asked(fact, str(pick(self.rng, generic()[:4])))
        return Query(text, image) if text else None

    def by_picture(self) -> None:
        picture_known = self.catalogue.pictures(self.fact)
        if picture_known:
            image = picture(self.world, (self.entity.id, picture_known[int(self.rng.integers(len(picture_known)))]))
            text = question(self.rng, self.edit.relation, "this picture", {self.edit.target})
            if text:
                self.add("portability", "image", Query(text, image), (self.edit.target,))

    def hops(self) -> None:
        by_name = self.wording.kind == "text"
        hops = [h for h in HOPS if h.relation == self.edit.relation]
        made = 0
        for i in self.rng.permutation(len(hops)):
            made += self.hop(hops[i], by_name)
            if made == (1 if by_name else 2):
                return

    def hop(self, hop: Hop, by_name: bool) -> bool:
        """Add the second step of the new answer, where it is sure, new, and answered by the model before the edit."""
        second = (self.entity.id, hop.answer_relation)
        answers = hop_answer(self.world, hop, self.edit.target)
        identity = RELATIONS[hop.relation].identity
        before = self.entity.facts.get(hop.answer_relation, ())
        old = {a.casefold() for a in (*before, self.edit.target)}  # an answer that merely repeats the target is none
        if not answers or not before or old & {a.casefold() for a in answers}:
            return False
        if second in self.scene.edited or not self.sure(hop):
            return False
        x = self.wording.phrase if by_name else "this picture"
        if identity:
            understood = [("train", i) for i in range(len(hop.train))]
            understood = understood if self.wording.rendering in self.catalogue.pictures(second) else []
        else:
            understood = sorted(self.catalogue.known.hop(self.entity.id, hop, text=by_name))
        if not self.scene.held_out:
            understood = [u for u in understood if u[0] == "train"]
        for i in self.rng.permutation(len(understood)):
            split, number = understood[i]
            template = (hop.train if split == "train" else hop.held_out)[number]
            if self.add("portability", "hop", Query(worded(template, x), self.edit.query.image), answers):
                return True
        return False

    def sure(self, hop: Hop) -> bool:
        """Whether the second step from the new answer is untouched: its only holder's fact is not edited."""
        holders = [e for e, answer in self.world.answers(hop.relation) if answer == self.edit.target]
        return len(holders) != 1 or (holders[0], hop.answer_relation) not in self.scene.touched

    def specificity(self) -> None:
        n = _COUNTS[int(self.rng.integers(len(_COUNTS)))]
        other = self.other_fact()
        drawings = self.catalogue.pictures(self.fact)
        rendering = self.wording.rendering or pick(self.rng, drawings)
        if other is None or not rendering:
            return
        shown = [(self.entity.id, rendering), (other[0], str(pick(self.rng, self.catalogue.pictures(other))))]
        while len(shown) < n:
            filler = pick(self.rng, self.catalogue.entities, lambda e: e.id not in {s[0] for s in shown})
            if filler is None:
                break
            shown.append((filler.id, filler.training[int(self.rng.integers(len(filler.training)))]))
        order = [int(i) for i in self.rng.permutation(len(shown))]
        image = picture(self.world, *(shown[i] for i in order))
        mine, theirs = place(order.index(0), len(shown)), place(order.index(1), len(shown))
        text = question(self.rng, self.edit.relation, mine, {self.edit.target})
        if text:
            self.add("specificity", "must", Query(text, image), (self.edit.target,))
        text = self.asked(other, theirs)
        if text:
            self.add("specificity", "must-not", Query(text, image), self.truth(other), keep=True)

    def studies(self, *, disputed: bool) -> None:
        """Add what only studies ask: a disputed fact always, the rest in turns; each has random draws of its own."""
        edit, target, wording = self.edit, (self.edit.target,), self.wording
        rng = generator(self.scene.seed, "atlas", "studies", drawn_by(edit))
        turns = _TURNS if edit.query.image else _TURNS[2:]
        turn, start = turns[int(rng.integers(len(turns)))], int(rng.integers(len(GRID_CELLS)))
        for variant, query in contested(self.catalogue, edit, wording, rng) if disputed else ():
            if self.add("conflict", variant, query, target):
                break
        if not disputed and (self.scene.every or turn == "paired"):
            done: set[str] = set()
            for variant, query in other_halves(self.catalogue, edit, wording, rng):
                if variant not in done and self.add("paired", variant, query, target):
                    done.add(variant)
        before = self.entity.facts[edit.relation]
        if self.scene.every or turn == "negation":
            self.add("negation", "not", negated(edit, wording), before, keep=True)
        if edit.query.image and (self.scene.every or turn == "grid"):
            self.grid((*GRID_CELLS[start:], *GRID_CELLS[:start]), rng)

    def grid(self, cells: tuple[str, ...], rng: np.random.Generator) -> None:
        """Add the first of some cells that the edit can be asked in, or all of these."""
        grid = EditGrid(self.catalogue, self.edit, self.wording, self.scene.edited, self.untouched, rng)
        for cell in cells:
            added = any(self.add("grid", cell, query, answers, keep=keep) for query, answers, keep in grid.cell(cell))
            if added and not self.scene.every:
                return

    def other_fact(self) -> WorldFact | None:
        """A fact for must-not, of another thing: the same relation where the reserve has it, else any."""
        index, domain = self.catalogue.near, self.entity.domain
        same, every = index.get(("relation", domain, self.edit.relation), ()), index.get(("domain", domain), ())
        return pick(self.rng, same, self.free) or pick(self.rng, every, self.free)


def _family(rendering: str) -> str:
    return FAMILY.get(rendering, rendering)
