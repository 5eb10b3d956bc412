"""What the language model knows of the atlas before any training: facts asked by name, in its own words.

An untrained model answers in sentences ("The capital of Kenya is Nairobi."), so a fact counts as known where the
answer is a part of what it says. Knows a model with a tokenizer, and the atlas; no pictures.
"""

from __future__ import annotations

import copy
import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import torch

from lifelong.log.files import write_atomic
from lifelong.models.atlas.exam import normal
from streams.atlas.relations import RELATIONS
from streams.atlas.wording import worded
from streams.atlas.world import World

RecalledFact = tuple[str, str]
"""An entity's id and a relation."""
WORDINGS = 4  # of the thirty or so of a relation: the others would take hours on a CPU
DOMAIN = "flag"  # of emoji the language model has no facts that the atlas asks for


def recalled(model: Any, tokenizer: Any, world: World, path: Path) -> frozenset[RecalledFact]:
    """Return the facts that a language model recalls by name in one of the first `WORDINGS` training wordings.

    They are kept in the file `path`.
    """
    if not path.exists():
        model = copy.deepcopy(model).to(torch.bfloat16)  # a third of the time on a CPU that multiplies 16 bits
        open_facts = [
            (entity, relation)
            for entity in world.entities
            if entity.domain == DOMAIN
            for relation in entity.facts
            if not RELATIONS[relation].identity
        ]
        known: set[RecalledFact] = set()
        for wording in range(WORDINGS):  # only what was not recalled yet is asked in the next wording
            asked = [(e, r) for e, r in open_facts if (e.id, r) not in known and len(RELATIONS[r].train) > wording]
            questions = [worded(RELATIONS[relation].train[wording], world.name(entity)) for entity, relation in asked]
            for (entity, relation), text in zip(asked, _said(model, tokenizer, questions), strict=True):
                if _says(text, entity.facts[relation]):
                    known.add((entity.id, relation))
        write_atomic(path, lambda file: file.write(json.dumps(sorted(known)).encode()))
    return frozenset((entity, relation) for entity, relation in json.loads(path.read_text()))


def _says(text: str, answers: Sequence[str]) -> bool:
    """Whether any of the answers is among the words of a text."""
    words = f" {_words(text)} "
    return any(f" {_words(answer)} " in words for answer in answers if _words(answer))


def _words(text: str) -> str:
    return " ".join("".join(c if c.isalnum() else " " for c in normal(text)).split())


@torch.no_grad()
def _said(model: Any, tokenizer: Any, questions: Sequence[str], batch: int = 256, tokens: int = 24) -> list[str]:
    """Return the greedy answers of a chat model, in batches of questions of like length."""
    out = [""] * len(questions)
    turns = [[{"role": "user", "content": question}] for question in questions]
    texts = [tokenizer.apply_chat_template(turn, tokenize=False, add_generation_prompt=True) for turn in turns]
    order = sorted(range(len(texts)), key=lambda i: len(texts[i]))
    for start in range(0, len(order), batch):
        chosen = order[start : start + batch]
        given = tokenizer([texts[i] for i in chosen], padding=True, padding_side="left", add_special_tokens=False,
                          return_tensors="pt").to(model.device)  # fmt: skip
        made = model.generate(**given, max_new_tokens=tokens, do_sample=False)[:, given["input_ids"].shape[1] :]
        for i, text in zip(chosen, tokenizer.batch_decode(made, skip_special_tokens=True), strict=True):
            out[i] = text
    return out
