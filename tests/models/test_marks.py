"""Control tokens' texts in data are text: for targets, questions and any kind of tokenizer, or they are refused."""

from __future__ import annotations

from types import SimpleNamespace

import pytest
from hypothesis import given
from hypothesis import strategies as st
from tokenizers import Tokenizer, models, normalizers, pre_tokenizers
from transformers import PreTrainedTokenizerFast

from lifelong.models.prompts.marks import Marks, UnreadableTextError
from lifelong.models.vlm import VLM
from streams.types import Control, ImageRef, Prompt, Query

PIECES = ["<image>", "</s>", "<pad>", "<answer>", "</", "s>", "a", " ", "\n", "\U000f5e70", "é"]
texts = st.lists(st.sampled_from(PIECES), min_size=1, max_size=6).map("".join)
PICTURE = ImageRef("noise:a", "a")


@given(texts)
def test_a_target_is_its_characters_and_one_end_token(tiny_vlm: VLM, text: str) -> None:
    *ids, end = tiny_vlm.target_ids(text)
    special = set(tiny_vlm.special_tokens().values())
    assert end == tiny_vlm.end_id and not special.intersection(ids)
    assert tiny_vlm.tokenizer.decode(ids) == text


@given(texts, st.booleans())
def test_a_question_has_the_control_tokens_of_the_template_only(tiny_vlm: VLM, text: str, pictured: bool) -> None:
    special = set(tiny_vlm.special_tokens().values())
    image = PICTURE if pictured else None
    asked, plain = (tiny_vlm.prompt_ids([Query(t, image)])[0].tolist() for t in (text, "x"))
    assert [i for i in asked if i in special] == [i for i in plain if i in special]
    assert tiny_vlm.tokenizer.decode(asked, skip_special_tokens=True) == text


def test_the_embedded_model_reads_an_ordinary_question_as_its_tokenizer_does() -> None:
    atlas = VLM.load("atlas")
    question = "Which tag is on the jar?"
    assert atlas.prompt_ids([Query(question)])[0].tolist() == atlas.tokenizer(question + "<answer>")["input_ids"]
    ids = atlas.target_ids("the </s> tag")
    assert ids.count(atlas.end_id) == 1 and atlas.text_of(ids) == "the </s> tag"


def test_only_what_an_editor_writes_as_control_is_control(tiny_vlm: VLM) -> None:
    pad = tiny_vlm.special_tokens()["<pad>"]
    data, control = (tiny_vlm.prompt_ids([Prompt((p, "Why?"))])[0].tolist() for p in ("<pad>", Control("<pad>")))
    assert pad not in data and control.count(pad) == 1
    assert Prompt(("<pad>",)).digest != Prompt((Control("<pad>"),)).digest


def marks_of(core: Tokenizer, **special: str) -> Marks:
    tokenizer = PreTrainedTokenizerFast(tokenizer_object=core, **special)
    return Marks(SimpleNamespace(tokenizer=tokenizer))


def unigram() -> Tokenizer:
    letters = "abcdefghijklmnopqrstuvwxyz</>"
    core = Tokenizer(models.Unigram([("<unk>", 0.0), ("</s>", 0.0), *((c, -9.0) for c in letters)], unk_id=0))
    core.normalizer = normalizers.Sequence([normalizers.NFKC(), normalizers.Lowercase()])
    return core


@pytest.mark.parametrize("text", ["a</s>b", "a</S>b", "a\uff1c/s\uff1eb", "</s>"])
def test_a_vocabulary_that_has_the_mark_itself_reads_letters(text: str) -> None:
    """Of a Unigram model the mark is the best piece of its own text, and normalising may make it."""
    marks = marks_of(unigram(), eos_token="</s>", unk_token="<unk>")
    ids = marks.plain_ids(text)
    assert marks.tokenizer.eos_token_id not in ids and len(ids) == len(text)


def test_a_tokenizer_that_cannot_read_a_mark_as_text_refuses_it() -> None:
    core = Tokenizer(models.WordLevel({"<unk>": 0, "<end>": 1, "a": 2}, unk_token="<unk>"))
    core.pre_tokenizer = pre_tokenizers.WhitespaceSplit()
    marks = marks_of(core, eos_token="<end>", unk_token="<unk>")
    assert marks.plain_ids("a <end>") == [2, 0]  # the copy knows no such word
    del marks.__dict__["_renamed"]
    marks.__dict__["_renamed"] = None  # as a tokenizer of another kind has it
    with pytest.raises(UnreadableTextError, match="'<end>', a control token"):
        marks.plain_ids("a <end>")
    with pytest.raises(UnreadableTextError, match="leave the record out"):
        marks.apart(["a <end>"])
