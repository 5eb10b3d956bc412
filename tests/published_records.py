"""Records of every published benchmark, made up in its schema, written into a folder as its files are published."""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

from PIL import Image

Record = dict[str, Any]


def five(i: int) -> Record:
    """The eleven fields of MMEdit."""
    return {
        "src": f"What is this, {i}?", "pred": "a_rock", "rephrase": f"Name number {i}.", "alt": f"thing {i}",
        "image": f"p/{i}.png", "image_rephrase": f"r/{i}.png", "loc": f"nq question: who was {i}",
        "loc_ans": "somebody", "m_loc": "p/other.png", "m_loc_q": "What colour?", "m_loc_a": "red",
    }  # fmt: skip


def hop(kind: str, i: int) -> Record:
    return {"port_type": kind, "Q&A": {"Question": f"Where is it, {kind} {i}?", "Answer": f"there {i}"}}


def onehop(i: int) -> Record:
    port = {"port_edit_q": "q", "port_edit_a": "a", "port_q": f"Where is it, {i}?", "port_a": "there"}
    return {**five(i), "port_new": [port]}


def cckeb(i: int) -> Record:
    told = {
        "src": f"Who made thing {i}?", "pred": ["no", "body"], "alt": ["Ann", f"{i}"], "rephrase": f"Maker of {i}?",
        "loc": "when was it", "loc_ans": "then",
    }  # fmt: skip
    return {**five(i), "src_q": "x", "textual_edit": told, "port_new": [hop("comp", i), hop("2-hop", i)]}


def fgvedit(i: int) -> Record:
    kept = {k: v for k, v in five(i).items() if k not in ("image_rephrase", "m_loc", "m_loc_q", "m_loc_a", "pred")}
    return {**kept, "fg_gen_q": f"In {i}?", "fg_gen_a": "yes", "fg_loc_q": f"Out {i}?", "fg_loc_a": "no"}


def mmke(i: int) -> Record:
    more = {f"{name}_{n}": f"{name} {n} of {i}?" for name in ("rel", "m_rel") for n in (1, 2)}
    more |= {"rel_ans_1": "a", "rel_2_ans": "b", "m_rel_ans_1": "c", "m_rel_ans_2": "d"}
    return {**five(i), **more, "knowledge_type": "entity_level", "port_new": [hop("1-hop", i)]}


def comprehendedit(i: int) -> Record:
    return {
        "pid": i, "question": f"How many, {i}?", "answer": "3", "rephrase": f"Count {i}.", "image": f"p/{i}.png",
        "source": "TallyQA", "Category": "object counting", "img_topk": [1, 2], "locality_prompt": f"who was {i}",
        "locality_ground_truth": "somebody", "multimodal_locality_image": "p/other.png",
        "multimodal_locality_prompt": "What colour?", "multimodal_locality_ground_truth": "red",
        "port_T_qs": "t?", "port_M_qs": "m?", "port_ans": "4", "T_G_qs": "g?", "T_G_ans": "5",
    }  # fmt: skip


def mmku(i: int) -> Record:
    return {
        "question_id": i, "text": f"<image>\nWho is this, {i}?", "image": f"p/{i}.png", "answer": f"Ann {i}",
        "type": "person", "cnn_wiki_type": "wiki",
    }  # fmt: skip


def zsre(i: int) -> Record:
    port = {"Recalled Relation": "(a, b, c)", "New Question": f"Where, {i}?", "New Answer": "there"}
    return {
        "subject": f"s{i}", "src": f"Who made s{i}?", "pred": "x", "rephrase": f"Maker of s{i}?",
        "alt": f"Ann {i}", "answers": ["Bob"], "loc": f"nq question: who was {i}", "loc_ans": "somebody", "cond": "c",
        "portability": port,
    }  # fmt: skip


def counterfact(i: int) -> Record:
    asked = {
        "prompt": "The mother tongue of {} is", "relation_id": "P103", "subject": f"s{i}",
        "target_new": {"str": "English", "id": "Q1"}, "target_true": {"str": "French", "id": "Q2"},
    }  # fmt: skip
    return {
        "case_id": i, "pararel_idx": 1, "requested_rewrite": asked,
        "paraphrase_prompts": [f"s{i} speaks", f"s{i} says"],
        "neighborhood_prompts": ["Jean speaks"],
        "attribute_prompts": ["John speaks"], "generation_prompts": ["A"],
    }  # fmt: skip


def wikibigedit(i: int) -> Record:
    return {
        "tag": "new", "subject": f"s{i}", "relation": "P39", "update": f"What is s{i}?", "ans": f"a {i}",
        "rephrase": f"s{i} is what?", "personas": f"Tell me, mate, what's s{i}?", "loc": f"What is t{i}?",
        "loc_ans": "b", "mhop": f"Where is what s{i} is?", "mhop_ans": "there",
    }  # fmt: skip


EVAL: Mapping[str, tuple[str, Callable[[int], Record]]] = {
    "evqa": ("vqa_eval.json", five),
    "eic": ("caption_eval_edit.json", five),
    "vlkeb": ("eval_edit_onehop.json", onehop),
    "cckeb": ("CCKEB_eval.json", cckeb),
    "fgvedit": ("test_data.json", fgvedit),
    "mmke": ("data_json/entity/eval.json", mmke),
    "comprehendedit": ("ComprehendEdit_test.json", comprehendedit),
    "mmku": ("updated/updated_test_rewrite.jsonl", mmku),
    "zsre": ("zsre_mend_eval.json", zsre),
    "counterfact": ("counterfact.json", counterfact),
    "wikibigedit": ("wiki_big_edit_20240201_20240220.json", wikibigedit),
}
"""File and records of what each benchmark edits, by the stream's name."""
TRAIN = {
    "evqa": "vqa_train.json",
    "eic": "caption_train_edit.json",
    "vlkeb": "train.json",
    "cckeb": "CCKEB_train.json",
    "fgvedit": "train_data.json",
    "mmke": "data_json/entity/train.json",
    "comprehendedit": "ComprehendEdit_train.json",
    "mmku": "updated/updated_train_rewrite.json",
    "zsre": "zsre_mend_train.json",
    "counterfact": "counterfact-train.json",
}
"""The training files of those that have some."""


def write_pictures(root: Path, names: list[str], size: int = 4) -> None:
    for n, name in enumerate(names):
        (root / name).parent.mkdir(parents=True, exist_ok=True)
        colour = (n % 256, (7 * n) % 256, (n // 256) % 256)
        Image.new("RGB", (size, size), colour).save(root / name)


def write_records(path: Path, records: list[Record]) -> Path:
    """Write records as their project does: an array, or one a line where the file's name ends in jsonl."""
    path.parent.mkdir(parents=True, exist_ok=True)
    lines = path.suffix == ".jsonl"
    text = "\n".join(json.dumps(r) for r in records) if lines else json.dumps(records, indent=1)
    path.write_text(text, encoding="utf-8")
    return path


def write_benchmark(root: Path, name: str, n: int = 3) -> Path:
    """Write n records of a benchmark and their pictures below a folder; returns the file of the records."""
    file, made = EVAL[name]
    write_pictures(root, ["p/other.png", *(f"{kind}/{i}.png" for i in range(n) for kind in "pr")])
    return write_records(root / file, [made(i) for i in range(n)])
