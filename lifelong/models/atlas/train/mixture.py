"""One training step's rows: how many of which kind, drawn from (seed, step) alone, and their tokens."""

from __future__ import annotations

import random
from collections.abc import Callable
from dataclasses import dataclass, replace
from functools import partial

from transformers import PreTrainedTokenizerFast

from lifelong.models.atlas.model import IMAGE_TOKENS
from lifelong.models.atlas.train.contexts import Contexts
from lifelong.models.atlas.train.frame import frame_of
from lifelong.models.atlas.train.packing import QuestionRow, Segment, fill
from lifelong.models.atlas.train.questions import Pair, Questions
from streams.atlas.world import World

_STEP_ROWS = (2, 4, 5)  # of every eight rows with told facts, those that ask for second steps
DrawnRow = tuple[tuple[int, ...], list[Pair]]
"""Pictures by their feature rows, and what is asked about them."""


@dataclass(frozen=True)
class Mix:
    """Rows per step by kind, and tokens per row."""

    pictures: int = 12
    places: int = 2
    names: int = 4
    contexts: int = 16
    length: int = 192
    others: float = 0.6  # share of context questions about told facts of entities that streams edit
    echo: float = 0.02  # share of context questions that only train copying
    dense: bool = False  # whether rows of questions share rows of tokens: fewer tokens, of another number each step
    copy_steps: int = 600  # copying is learnt first, or it is hardly learnt at all (reports/LOG.md)
    copy_contexts: int = 10
    copy_echo: float = 0.85

    def times(self, factor: int) -> Mix:
        """Return the same mix with `factor` times as many rows a step."""
        rows = ("pictures", "places", "names", "contexts", "copy_contexts")
        return replace(self, **{name: factor * getattr(self, name) for name in rows})


class Mixture:
    """Draws the rows of a step; `renderings[e]` are the feature rows of entity e that training may see."""

    picture_tokens = IMAGE_TOKENS

    def __init__(
        self, world: World, tokenizer: PreTrainedTokenizerFast, renderings: list[list[int]], mix: Mix, seed: int
    ) -> None:
        self.questions = Questions(world)
        self.contexts = Contexts(self.questions)
        self.mix, self.seed = mix, seed
        self.renderings, self.tokenizer = renderings, tokenizer
        self.frame = frame_of(tokenizer, self.picture_tokens)

    def again(self) -> Callable[[World], Mixture]:
        """Return what makes this mixture in another process, which has a world of its own."""
        made = {"tokenizer": self.tokenizer, "renderings": self.renderings, "mix": self.mix, "seed": self.seed}
        return partial(Mixture, **made)

    def step(self, step: int, part: int = 0, parts: int = 1) -> list[QuestionRow]:
        """The rows of one step, always the same for the same (seed, step); of `parts` equal shares the one `part`."""
        rng = random.Random(self.seed * 1_000_003 + step)
        copying = step < self.mix.copy_steps
        contexts = self.mix.copy_contexts if copying else self.mix.contexts
        wanted: list[Callable[[random.Random], DrawnRow]] = []
        wanted += [partial(self._pictured, i) for i in self.questions.needy(self.mix.pictures, False, rng)]
        wanted += [self._places] * self.mix.places + [self._named] * self.mix.names
        wanted += [
            partial(self._context, self.mix.copy_echo if copying else self.mix.echo, number)
            for number in range(contexts)
        ]
        # Every row has its own generator, so that a row does not depend on who draws the others.
        drawn = [
            draw(random.Random(f"{self.seed}/{step}/{number}"))
            for number, draw in enumerate(wanted)
            if number % parts == part
        ]
        segments = self.segments([pair for _, pairs in drawn for pair in pairs])
        rows, at = [], 0
        for images, pairs in drawn:
            row, _ = fill(images, segments[at : at + len(pairs)], self.mix.length, self.frame)
            rows.append(row)
            at += len(pairs)
        return rows

    def _pictured(self, index: int, rng: random.Random) -> DrawnRow:
        return self._picture(index, rng), self.questions.picture(index, rng)

    def _places(self, rng: random.Random) -> DrawnRow:
        together = rng.sample(range(len(self.renderings)), rng.choice((2, 2, 2, 3, 4)))
        images = tuple(self._picture(index, rng)[0] for index in together)
        return images, self.questions.places(together, 18, rng)

    def _named(self, rng: random.Random) -> DrawnRow:
        return (), [p for i in self.questions.needy(6, True, rng) for p in self.questions.named(i, 4, rng)]

    def _context(self, echo: float, number: int, rng: random.Random) -> DrawnRow:
        if number % 8 in _STEP_ROWS and rng.random() >= echo:
            return self._stepped(number % 2 == 0, rng)
        if number % 2:
            return (), [
                p
                for i in self.contexts.entities(7, rng, self.mix.others)
                for p in self.contexts.pairs(i, False, 1, rng, echo)
            ]
        index = self.contexts.entities(1, rng, self.mix.others)[0]
        return self._picture(index, rng), self.contexts.pairs(index, True, 8, rng, echo)

    def _stepped(self, pictured: bool, rng: random.Random) -> DrawnRow:
        if not pictured:
            named = (self.contexts.stepping(False, rng) for _ in range(7))
            return (), [p for index in named for p in self.contexts.steps(index, False, 1, rng)]
        index = self.contexts.stepping(True, rng)
        return self._picture(index, rng), self.contexts.steps(index, True, 8, rng)

    def segments(self, pairs: list[Pair]) -> list[Segment]:
        """Token numbers of pairs."""
        core = self.tokenizer.backend_tokenizer
        texts = [text for pair in pairs for text in (pair.question, pair.answer)]
        ids = [encoding.ids for encoding in core.encode_batch_fast(texts, add_special_tokens=False)]
        return [
            Segment((*question, *self.frame.close), (*answer, self.frame.end), pair.fact)
            for pair, question, answer in zip(pairs, ids[::2], ids[1::2], strict=True)
        ]

    def _picture(self, index: int, rng: random.Random) -> tuple[int, ...]:
        return (rng.choice(self.renderings[index]),)
