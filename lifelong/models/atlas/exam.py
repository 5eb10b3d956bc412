"""Measures what a trained atlas model answers, by greedy free generation over all facts.

A question need not be decoded when teacher forcing already shows the outcome by a clear margin: every target
token, with the end token, is the most likely one; or, where only one answer is accepted, the first other
token is clearly not it. All others are decoded in float32 by the model's own `generate`.
"""

from __future__ import annotations

import multiprocessing
import os
import sys
import unicodedata
from collections import defaultdict
from collections.abc import Callable, Sequence
from concurrent.futures import ProcessPoolExecutor
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch.nn import functional as F
from transformers import LlavaForConditionalGeneration

from lifelong.models.atlas.exam_questions import SLICES, ExamQuestion, questions_of
from lifelong.models.atlas.exam_table import metrics
from lifelong.models.atlas.model import atlas_folder
from lifelong.models.atlas.train.frame import frame_of
from lifelong.models.atlas.train.packing import QuestionRow, Segment, begun, fill, pack
from lifelong.models.folders.check import check_folder
from lifelong.models.loading import load_parts
from streams.atlas.world import World, load_world
from streams.pictures.decoding import decode

_MARGIN = 0.3  # of bfloat16 logits; smaller ones are decided by decoding in float32
ROW_TOKENS = 256


class Examiner:
    """A loaded model, its projected pictures (of `entities`, all by default) and both ways to its greedy answers."""

    def __init__(
        self, folder: Path, world: World, device: str = "cpu", entities: frozenset[str] | None = None
    ) -> None:
        model, self.processor, _ = load_parts(str(folder), "float32", device)
        self.tokenizer = self.processor.tokenizer
        if not isinstance(model, LlavaForConditionalGeneration):
            raise TypeError(f"{folder} holds a {type(model).__name__}, expected a LLaVA model of this project")
        self.model: Any = model
        self.frame = frame_of(self.tokenizer, self.model.config.image_seq_length)
        self.model.eval()
        self.device, self.world = torch.device(device), world
        self.model.set_attn_implementation("eager")
        self.entities = entities if entities is not None else frozenset(world.by_id)
        known = ((e.id, r) for e in world.entities if e.id in self.entities for r in e.renderings)
        self._row_of = {name: row for row, name in enumerate(known)}
        self._tokens = self._project()

    @torch.no_grad()
    def _project(self, batch: int = 256) -> torch.Tensor:
        """Projected tokens of every rendering, (N, tokens, width) float32."""
        names = list(self._row_of)
        parts = []
        for start in range(0, len(names), batch):
            images = [
                decode(self.world.image(*n), f"Image atlas:{'/'.join(n)}") for n in names[start : start + batch]
            ]
            pixels = self.processor.image_processor(images, return_tensors="pt")["pixel_values"]
            features = self.model.model.vision_tower(pixels.to(self.device)).last_hidden_state
            parts.append(self.model.model.multi_modal_projector(features))
        return torch.cat(parts)

    def answers_right(self, asked: Sequence[ExamQuestion], note: Callable[[str], None] = print) -> np.ndarray:
        """Whether the greedy answer is an accepted one, (n,) bool."""
        verdict = self.settled(asked)
        several = np.array([len(a.answers) > 1 for a in asked], bool)
        open_ones = np.flatnonzero((verdict == 0) | ((verdict < 0) & several)).tolist()
        note(f"{len(asked)} questions, {len(open_ones)} to decode")
        right = verdict > 0
        for index, text in zip(open_ones, self.decode([asked[i] for i in open_ones]), strict=True):
            right[index] = normal(text) in {normal(a) for a in asked[index].answers}
        return right

    @torch.no_grad()
    def settled(self, asked: Sequence[ExamQuestion], batch: int = 48) -> np.ndarray:
        """What teacher forcing shows of the canonical answer, (n,) int: 1 is greedy, -1 is not, 0 too close."""
        rows, members = self._rows(asked)
        order = sorted(range(len(rows)), key=lambda i: self._length(rows[i]))
        verdict = np.zeros(len(asked), np.int8)
        decoder = self.model.model.language_model
        words = decoder.get_input_embeddings().weight
        for start in range(0, len(order), batch):
            chosen = order[start : start + batch]
            length = -(-max(self._length(rows[i]) for i in chosen) // 8) * 8
            packed = pack([rows[i] for i in chosen], length, self.frame)
            inputs = F.embedding(packed.ids.to(self.device), words)
            seen = self._tokens[packed.pictures.to(self.device)]
            inputs = inputs.masked_scatter(packed.images.to(self.device).unsqueeze(-1), seen)
            with torch.autocast(self.device.type, torch.bfloat16):
                hidden = decoder(
                    inputs_embeds=inputs,
                    attention_mask=packed.mask(self.device, torch.bfloat16),
                    position_ids=packed.positions.to(self.device),
                    use_cache=False,
                ).last_hidden_state
                logits = F.linear(hidden.flatten(0, 1)[packed.asked.to(self.device)], words).float()
            target = packed.answers.to(self.device).unsqueeze(1)
            own = logits.gather(1, target)
            rival = logits.scatter(1, target, float("-inf")).amax(1, keepdim=True)
            lead = (own - rival).squeeze(1).cpu()
            numbers = [n for i in chosen for n in members[i]]
            verdict[numbers] = _verdicts(lead.numpy(), packed.owner.numpy(), len(numbers))
        return verdict

    def _rows(self, asked: Sequence[ExamQuestion]) -> tuple[list[QuestionRow], list[list[int]]]:
        """Questions packed by their pictures, and which questions lie in each row."""
        by_pictures: dict[tuple[tuple[str, str], ...], list[int]] = defaultdict(list)
        for number, item in enumerate(asked):
            by_pictures[item.pictures].append(number)
        segments = self._segments(asked)
        rows: list[QuestionRow] = []
        members: list[list[int]] = []
        for pictures, numbers in by_pictures.items():
            places = tuple(self._row_of[p] for p in pictures)
            left = numbers
            while left:
                near, later = left[:64], left[64:]
                row, _ = fill(places, [segments[n] for n in near], ROW_TOKENS, self.frame)
                inside = {id(s) for s in row.segments}
                taken = [n for n in near if id(segments[n]) in inside]
                if not taken:
                    raise ValueError(f"question longer than {ROW_TOKENS} tokens: {asked[near[0]].question!r}")
                rows.append(row)
                members.append(taken)
                left = [n for n in near if id(segments[n]) not in inside] + later
        return rows, members

    def _length(self, row: QuestionRow) -> int:
        return begun(len(row.pictures), self.frame) + sum(len(s) for s in row.segments)

    def _segments(self, asked: Sequence[ExamQuestion]) -> list[Segment]:
        core, frame = self.tokenizer.backend_tokenizer, self.frame
        questions = core.encode_batch_fast([a.question for a in asked], add_special_tokens=False)
        answers = core.encode_batch_fast([a.answers[0] for a in asked], add_special_tokens=False)
        return [Segment((*q.ids, *frame.close), (*a.ids, frame.end)) for q, a in zip(questions, answers, strict=True)]

    @torch.no_grad()
    def decode(self, asked: Sequence[ExamQuestion], batch: int = 96, max_tokens: int = 20) -> list[str]:
        """Greedy answers by the model's own `generate`, float32, left-padded batches."""
        texts = [""] * len(asked)
        image = self.frame.image
        prompts = [
            [*self.frame.head] + [image] * (self.frame.picture_tokens * len(item.pictures)) + list(segment.prompt)
            for item, segment in zip(asked, self._segments(asked), strict=True)
        ]
        order = sorted(range(len(asked)), key=lambda i: len(prompts[i]))
        for start in range(0, len(order), batch):
            chosen = order[start : start + batch]
            padded = self.tokenizer.pad({"input_ids": [prompts[i] for i in chosen]}, return_tensors="pt").to(
                self.device
            )
            embeds = self.model.get_input_embeddings()(padded["input_ids"])
            rows = [self._row_of[p] for i in chosen for p in asked[i].pictures]
            if rows:
                where = (padded["input_ids"] == image).unsqueeze(-1)
                embeds = embeds.masked_scatter(where, self._tokens[torch.tensor(rows, device=self.device)])
            out: Any = self.model.generate(
                inputs_embeds=embeds,
                attention_mask=padded["attention_mask"],
                max_new_tokens=max_tokens,
                do_sample=False,
            )
            for i, text in zip(chosen, self.tokenizer.batch_decode(out, skip_special_tokens=True), strict=True):
                texts[i] = text.strip()
        return texts


def _verdicts(lead: np.ndarray, owner: np.ndarray, count: int) -> np.ndarray:
    """Per segment: 1 if every token leads clearly, -1 if the first that does not clearly trails, else 0."""
    verdict = np.ones(count, np.int8)
    for at in np.flatnonzero(lead <= _MARGIN)[::-1]:  # backwards, so that the first such token has the last word
        verdict[owner[at]] = -1 if lead[at] < -_MARGIN else 0
    return verdict


def normal(text: str) -> str:
    """Text as compared: NFC, casefolded, stripped, single spaces."""
    return " ".join(unicodedata.normalize("NFC", text).casefold().split())


def examine(
    folder: Path | None = None,
    *,
    slices: tuple[str, ...] = SLICES,
    share: float = 1.0,
    workers: int | None = None,
    device: str = "cpu",
    wanted: Callable[[ExamQuestion], bool] | None = None,
    note: Callable[[str], None] = print,
) -> tuple[list[ExamQuestion], np.ndarray]:
    """Ask the model of `folder` (the shipped one by default) every question of the slices: questions and marks.

    `share` < 1 keeps the first entities of a fixed shuffle, for a quick look; `wanted`, which other processes are
    given as well, says which of the questions are asked. On the CPU the entities are dealt to `workers` processes of
    one thread each (all cores by default), which is faster than one process of many.
    """
    path = folder or atlas_folder()
    check_folder(path)
    world = load_world()
    asked = [q for q in questions_of(world, slices) if wanted is None or wanted(q)]
    kept = sampled_entities(world, share)
    count = 1 if device != "cpu" else min(workers or os.cpu_count() or 1, 16, len(kept))
    hand = {entity: number % count for number, entity in enumerate(kept)}
    parts = [[a for a in asked if hand.get(a.entity) == number] for number in range(count)]
    if count == 1:
        marks = [Examiner(path, world, device).answers_right(parts[0], note)]
    else:
        with ProcessPoolExecutor(count, mp_context=multiprocessing.get_context("spawn")) as pool:
            waiting = [
                pool.submit(_work, path, slices, frozenset(e for e in hand if hand[e] == n), wanted)
                for n in range(count)
            ]
            marks = [future.result() for future in waiting]
    return [a for part in parts for a in part], np.concatenate(marks)


def sampled_entities(world: World, share: float) -> list[str]:
    """Return the ids of the first entities of a fixed shuffle, at least one."""
    order = np.random.default_rng(0).permutation(len(world.entities))
    return [world.entities[i].id for i in order[: max(1, round(share * len(order)))].tolist()]


def _work(
    folder: Path,
    slices: tuple[str, ...],
    entities: frozenset[str],
    wanted: Callable[[ExamQuestion], bool] | None,
) -> np.ndarray:
    torch.set_num_threads(1)
    world = load_world()
    asked = [a for a in questions_of(world, slices) if a.entity in entities and (wanted is None or wanted(a))]
    shown = frozenset(e for a in asked for e, _ in a.pictures) or entities
    return Examiner(folder, world, entities=shown).answers_right(asked, _to_stderr)


def _to_stderr(text: str) -> None:
    print(text, file=sys.stderr, flush=True)


def evaluate(folder: Path | None = None, **options: Any) -> dict[str, Any]:
    """Measures of a model folder by name: accuracy, n, relations; options as for `examine`."""
    return metrics(*examine(folder, **options))
