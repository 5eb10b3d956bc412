"""What the pretrained backbone is asked in training: names of pictures, what it knows, and told facts.

It is to name what it sees, and to answer about what it sees from what it knows already. So no fact is taught that
the language model does not recall by name, and of the flags that streams edit no recalled fact is ever asked by a
picture: whether these are answered through the picture is what is measured.
"""

from __future__ import annotations

import random
from collections.abc import Callable
from dataclasses import replace
from functools import partial

from transformers import PreTrainedTokenizerFast

from lifelong.models.atlas.train.contexts import Contexts
from lifelong.models.atlas.train.mixture import DrawnRow, Mix, Mixture
from lifelong.models.atlas.train.questions import Askable, Questions
from lifelong.models.smol.model import SMOL_TOKENS
from lifelong.models.smol.train.recall import RecalledFact
from streams.atlas.relations import RELATIONS
from streams.atlas.world import Entity, World

SMOL_MIX = Mix(pictures=12, places=2, names=4, contexts=28, length=256, dense=True, copy_steps=0)


class SmolMixture(Mixture):
    """A mixture that leaves alone what the language model does not know; `known` are the facts it recalls."""

    picture_tokens = SMOL_TOKENS

    def __init__(
        self,
        world: World,
        tokenizer: PreTrainedTokenizerFast,
        renderings: list[list[int]],
        mix: Mix,
        seed: int,
        known: frozenset[RecalledFact],
    ) -> None:
        super().__init__(world, tokenizer, renderings, mix, seed)
        self.known = known
        self.questions = Questions(world, partial(_chosen, known))
        self._recalled = Contexts(self.questions)
        self._recalling = [i for i, asks in enumerate(self.questions.asks) if any(a.named for a in asks)]

    def again(self) -> Callable[[World], Mixture]:
        """Return what makes this mixture in another process."""
        made = {"tokenizer": self.tokenizer, "renderings": self.renderings, "mix": self.mix, "seed": self.seed}
        return partial(SmolMixture, **made, known=self.known)

    def _named(self, rng: random.Random) -> DrawnRow:
        chosen = rng.sample(self._recalling, min(6, len(self._recalling)))
        return (), [p for i in chosen for p in self.questions.named(i, 4, rng)]

    def _context(self, echo: float, number: int, rng: random.Random) -> DrawnRow:
        if number % 4 == 3:
            # Told facts that do not matter, as often as ones that do, before what the model recalls or sees.
            index, pictured = rng.choice(self._recalling), number % 8 == 3
            return self._picture(index, rng) if pictured else (), self._recalled.pairs(index, pictured, 6, rng)
        pictures, pairs = super()._context(echo, number, rng)
        # Without the told answer it would have to be known.
        return pictures, [pair for pair in pairs if pair.answer in pair.question]

    def _stepped(self, pictured: bool, rng: random.Random) -> DrawnRow:
        # What follows from a told fact is not taught: it has to come from what the language model knows.
        return self._context(0.0, 0 if pictured else 1, rng)


def _chosen(known: frozenset[RecalledFact], entity: Entity, askable: Askable) -> Askable | None:
    """Return what may be asked of an entity: its name by picture; what is recalled by name, of some by picture."""
    if askable.hop:
        return None
    if RELATIONS[askable.relation].identity:
        return askable
    if (entity.id, askable.relation) not in known:
        return None
    return replace(askable, pictured=entity.split != "edit")
