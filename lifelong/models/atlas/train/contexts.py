"""Questions that carry one to three told facts: true, counterfactual (to be followed), irrelevant (to be ignored).

What is asked, and told to be followed, are only facts that streams neither edit nor ask for locality (the role `told`
of `World.role`): those of the entities that editors learn from, and some of all others, without which the model
learns whom to follow instead of when (reports/LOG.md). What is told to be ignored is of any fact, for the same
reason: nothing is asked of it. The told answers come from all entities, so that copying from the prompt is the only
way to be right. Some questions ask for what follows from a told fact in a second step. Knows words, no tokens.
"""

from __future__ import annotations

import random
from collections.abc import Sequence

from lifelong.models.atlas.train.questions import Askable, Pair, Questions, shorten
from streams.atlas.hops import HOPS, Hop, hop_answer
from streams.atlas.relations import RELATIONS
from streams.atlas.wording import STATEMENTS, fact, in_context, worded

_PROPER = 4.0  # how much oftener a second step proper is asked than one that follows from an identity


class Contexts:
    """Draws context pairs about facts that no stream edits."""

    def __init__(self, questions: Questions) -> None:
        self.questions = questions
        self._told = {name: tuple(a for _, a in questions.world.answers(name)) for name in RELATIONS}
        self._any = tuple(a for name in RELATIONS for a in self._told[name])
        everyone = range(len(questions.entities))
        self._having = {name: tuple(i for i in everyone if name in questions.entities[i].facts) for name in RELATIONS}
        self._learnt = tuple(i for i in everyone if questions.entities[i].split == "train")
        self._others = tuple(sorted(set(everyone) - set(self._learnt)))
        self._reached: dict[tuple[str, str], tuple[tuple[str, str], ...]] = {}
        self._steps = {
            pictured: {
                hop: found for hop in HOPS if (found := [i for i in everyone if self._may_step(i, hop, pictured)])
            }
            for pictured in (True, False)
        }

    def entities(self, count: int, rng: random.Random, others: float = 0.0) -> list[int]:
        """Entities to ask about: those that editors learn from, and a share of others."""
        return [
            rng.choice(self._others) if rng.random() < others else index for index in rng.sample(self._learnt, count)
        ]

    def pairs(self, index: int, pictured: bool, count: int, rng: random.Random, echo: float = 0.0) -> list[Pair]:
        """`count` context questions about one entity, by its picture or by its name; a share `echo` only copies."""
        asks = [a for a in self.questions.asks[index] if not a.hop and (a.pictured if pictured else a.named)]
        free = [a for a in asks if self.free(index, a.relation)]
        return [
            self._echo(index, rng.choice(free), pictured, rng)
            if rng.random() < echo
            else self._pair(index, rng.choice(free), asks, pictured, rng)
            for _ in range(count if free else 0)
        ]

    def stepping(self, pictured: bool, rng: random.Random) -> int:
        """An entity to ask second steps of, behind told first ones; kinds of steps are drawn first."""
        kinds = list(self._steps[pictured])
        return rng.choice(self._steps[pictured][rng.choices(kinds, [_often(hop) for hop in kinds])[0]])

    def steps(self, index: int, pictured: bool, count: int, rng: random.Random) -> list[Pair]:
        """`count` second steps of one entity, each behind its told first answer."""
        asks = [a for a in self.questions.asks[index] if not a.hop and (a.pictured if pictured else a.named)]
        kinds = [hop for hop in self._steps[pictured] if self._may_step(index, hop, pictured)]
        drawn = rng.choices(kinds, [_often(hop) for hop in kinds], k=count)
        return [self._step(index, hop, asks, pictured, rng) for hop in drawn]

    def free(self, index: int, relation: str) -> bool:
        """Whether no stream edits a fact or asks it for locality, so that it may be asked behind told facts."""
        return self.questions.world.role(self.questions.entities[index].id, relation) == "told"

    def _may_step(self, index: int, hop: Hop, pictured: bool) -> bool:
        """Whether a second step may be asked of an entity behind a told first one."""
        facts = self.questions.entities[index].facts
        if hop.relation not in facts or hop.answer_relation not in facts or not self.free(index, hop.relation):
            return False
        # What follows from an identity is asked in the words of the plain fact: that has to be free as well.
        return not RELATIONS[hop.relation].identity or (pictured and self.free(index, hop.answer_relation))

    def _step(self, index: int, hop: Hop, asks: list[Askable], pictured: bool, rng: random.Random) -> Pair:
        """A told first answer, and the question for what follows from it; now and then behind other facts only."""
        own = self.questions.entities[index].facts
        told, second = rng.choice(self._reach(hop))
        if second in own[hop.answer_relation] or told in own[hop.relation]:
            told, second = own[hop.relation][0], own[hop.answer_relation][0]
        x = self._subject(index, hop.relation, pictured, rng)
        first = worded(_wording(RELATIONS[hop.relation].train, rng), x)
        facts = [fact(first, told, rng.choice(STATEMENTS))]
        others = [a for a in asks if a.relation not in (hop.relation, hop.answer_relation)]
        if others and rng.random() < 0.4:
            facts.append(self._irrelevant(index, rng.choice(others), [], pictured, rng))
        rng.shuffle(facts)
        asked = worded(_wording(hop.train, rng), self._subject(index, hop.relation, pictured, rng))
        return Pair(in_context(facts, asked), second)

    def _reach(self, hop: Hop) -> tuple[tuple[str, str], ...]:
        """All (first answer, what follows from it) of a second step, each as often as entities have it."""
        key = (hop.relation, hop.answer_relation)
        if key not in self._reached:
            world = self.questions.world
            pairs = ((told, hop_answer(world, hop, told)) for _, told in world.answers(hop.relation))
            self._reached[key] = tuple((told, after[0]) for told, after in pairs if after)
        return self._reached[key]

    def _pair(self, index: int, a: Askable, asks: list[Askable], pictured: bool, rng: random.Random) -> Pair:
        """Told facts of which one or none answers the question; which is to be copied, if any, is to be learnt."""
        draw, irrelevant = rng.random(), rng.choice((0, 1, 1, 2))
        facts: list[str] = []
        answer, wording = a.answer, _wording(a.templates, rng)
        if draw < 0.5:
            if draw >= 0.05:
                answer = self.other_answer(a.relation, a.answer, rng)
            told = _wording([t for t in a.templates if t != wording], rng)
            asked = worded(told, self._subject(index, a.relation, pictured, rng))
            facts.append(fact(asked, answer, rng.choice(STATEMENTS)))
        else:
            irrelevant = max(irrelevant, 1)
        for _ in range(irrelevant):
            facts.append(self._irrelevant(index, a, asks, pictured, rng))
        rng.shuffle(facts)
        return Pair(in_context(facts, worded(wording, self._subject(index, a.relation, pictured, rng))), answer)

    def _echo(self, index: int, a: Askable, pictured: bool, rng: random.Random) -> Pair:
        """A told answer of one to five others in a row, asked for at once: many tokens to copy, nothing to know."""
        answer = " ".join(rng.choice(self._any) for _ in range(rng.randint(1, 5)))
        question = worded(_wording(a.templates, rng), self._subject(index, a.relation, pictured, rng))
        return Pair(in_context([fact(question, answer, rng.choice(STATEMENTS))], question), answer)

    def other_answer(self, relation: str, answer: str, rng: random.Random) -> str:
        """Another entity's answer of the relation, now and then of any relation."""
        pool = self._told[relation] if rng.random() < 0.8 else self._any
        while True:
            other = rng.choice(pool)
            if other != answer:
                return other

    def _irrelevant(self, index: int, a: Askable, asks: list[Askable], pictured: bool, rng: random.Random) -> str:
        """A fact on another relation of the same thing, or on another thing."""
        others = [o for o in asks if o.relation != a.relation]
        if others and rng.random() < 0.35:
            other = rng.choice(others)
            x = self._subject(index, other.relation, pictured, rng)
            answer = other.answer if rng.random() < 0.3 else self.other_answer(other.relation, other.answer, rng)
            return fact(worded(_wording(other.templates, rng), x), answer, rng.choice(STATEMENTS))
        relation = a.relation if rng.random() < 0.85 or not others else rng.choice(others).relation
        stranger = index
        while stranger == index:
            stranger = rng.choice(self._having[relation])
        x = self._stranger(index, stranger, relation, pictured, rng)
        own = self.questions.entities[stranger].facts[relation][0]
        answer = own if rng.random() < 0.3 else self.other_answer(relation, own, rng)
        return fact(worded(_wording(RELATIONS[relation].train, rng), x), answer, rng.choice(STATEMENTS))

    def _stranger(self, index: int, stranger: int, relation: str, pictured: bool, rng: random.Random) -> str:
        """Words for another thing that do not fit the one that is asked about."""
        q = self.questions
        if pictured and rng.random() < 0.5:
            mine = set(q.phrases(index, relation)) | set(q.phrases(index, ""))
            strange = [p for p in q.phrases(stranger, relation) if p not in mine]
            if strange:
                return rng.choice(strange[:4])
        return q.world.name(q.entities[stranger])

    def _subject(self, index: int, relation: str, pictured: bool, rng: random.Random) -> str:
        if pictured:
            return self.questions.phrase(index, relation, rng)
        return self.questions.world.name(self.questions.entities[index])


def _wording(templates: Sequence[str], rng: random.Random) -> str:
    template = rng.choice(templates)
    return shorten(template, rng) if rng.random() < 0.3 else template


def _often(hop: Hop) -> float:
    return 1.0 if RELATIONS[hop.relation].identity else _PROPER
