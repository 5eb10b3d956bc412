"""Questions that carry one to three told facts: true, counterfactual (to be followed), irrelevant (to be ignored).

Followed are only facts that no stream edits: those of the `fit` split, and the protected ones of all other entities,
without which the model learns whom to follow instead of when (reports/LOG.md). The told answers come from all
entities, so that copying from the prompt is the only way to be right. Knows words, no tokens.
"""

from __future__ import annotations

import random
from collections.abc import Sequence

from lifelong.models.atlas.train.questions import Askable, Pair, Questions, shorten
from streams.atlas.relations import RELATIONS
from streams.atlas.wording import fact, in_context, worded


class Contexts:
    """Draws context pairs about facts that no stream edits."""

    def __init__(self, questions: Questions) -> None:
        self.questions = questions
        self._told = {name: tuple(a for _, a in questions.world.answers(name)) for name in RELATIONS}
        self._any = tuple(a for name in RELATIONS for a in self._told[name])
        everyone = range(len(questions.entities))
        self._having = {name: tuple(i for i in everyone if name in questions.entities[i].facts) for name in RELATIONS}
        fit = set(questions.fit)
        self._others = tuple(i for i in everyone if i not in fit)

    def entities(self, count: int, rng: random.Random, others: float = 0.0) -> list[int]:
        """Entities to ask about: of the fit split, and a share of others."""
        return [
            rng.choice(self._others) if rng.random() < others else index
            for index in rng.sample(self.questions.fit, count)
        ]

    def pairs(self, index: int, pictured: bool, count: int, rng: random.Random, echo: float = 0.0) -> list[Pair]:
        """`count` context questions about one entity, by its picture or by its name; a share `echo` only copies."""
        asks = [a for a in self.questions.asks[index] if not a.hop and (pictured or a.named)]
        free = [a for a in asks if self.free(index, a.relation)]
        return [
            self._echo(index, rng.choice(free), pictured, rng)
            if rng.random() < echo
            else self._pair(index, rng.choice(free), asks, pictured, rng)
            for _ in range(count if free else 0)
        ]

    def free(self, index: int, relation: str) -> bool:
        """Whether no stream may edit a fact, so that it may be asked behind told facts."""
        entity = self.questions.entities[index]
        return entity.split == "fit" or self.questions.world.protected(entity.id, relation)

    def _pair(self, index: int, a: Askable, asks: list[Askable], pictured: bool, rng: random.Random) -> Pair:
        """Told facts of which one or none answers the question; which is to be copied, if any, is to be learnt."""
        draw, irrelevant = rng.random(), rng.choice((0, 1, 1, 2))
        facts: list[str] = []
        answer, wording = a.answer, _wording(a.templates, rng)
        if draw < 0.5:
            if draw >= 0.05:
                answer = self.other_answer(a.relation, a.answer, rng)
            told = _wording([t for t in a.templates if t != wording], rng)
            facts.append(fact(worded(told, self._subject(index, a.relation, pictured, rng)), answer))
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
        return Pair(in_context([fact(question, answer)], question), answer)

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
            return fact(worded(_wording(other.templates, rng), x), answer)
        relation = a.relation if rng.random() < 0.85 or not others else rng.choice(others).relation
        stranger = rng.choice([i for i in self._having[relation] if i != index])
        x = self._stranger(index, stranger, relation, pictured, rng)
        own = self.questions.entities[stranger].facts[relation][0]
        answer = own if rng.random() < 0.3 else self.other_answer(relation, own, rng)
        return fact(worded(_wording(RELATIONS[relation].train, rng), x), answer)

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
