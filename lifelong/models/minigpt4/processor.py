"""How a prompt of MiniGPT-4 becomes token ids: pieces around pictures, and as many marks as a picture has features.

The published editing code tokenises what stands before a picture, what follows it and the question apart, so that
SentencePiece puts a space before each. `PIECE_MARK` stands between two pieces in a written prompt and is no token.
This file knows words and tokens; nothing of the model or of the files it is published in.
"""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from functools import cached_property
from typing import Any

from tokenizers import AddedToken, Tokenizer, decoders, normalizers
from transformers import PreTrainedTokenizerFast, ProcessorMixin
from transformers.models.blip.image_processing_pil_blip import BlipImageProcessorPil

from lifelong.models.minigpt4.vocabulary import LLAMA_BOS, LLAMA_EOS, LLAMA_UNK

IMAGE_MARK, PIECE_MARK, END_TEXT = "<ImageHere>", "<PieceHere>", "###"

# With a picture, as the editing code of the papers has it: `<s>`, "###Human: <Img>", the picture, "</Img> ", the
# question. Without one: the bare question, and no `<s>`. An answer stands right after the question and ends at "###".
PIECES_TEMPLATE = (
    "{% for message in messages %}"
    "{% if message['content'] is string %}{% set parts = [{'type': 'text', 'text': message['content']}] %}"
    "{% else %}{% set parts = message['content'] %}{% endif %}"
    "{% set pictures = parts | selectattr('type', 'equalto', 'image') | list %}"
    "{% if pictures and loop.first %}{{ bos_token }}{% endif %}"
    "{% if message['role'] == 'assistant' %}" + PIECE_MARK + "{% elif pictures %}###Human: {% endif %}"
    "{% for part in parts %}"
    "{% if part['type'] == 'image' %}"
    "{% if not loop.first %}" + PIECE_MARK + "{% endif %}<Img>" + IMAGE_MARK + "</Img> "
    "{% elif part['type'] == 'text' %}" + PIECE_MARK + "{{ part['text'] }}{% endif %}"
    "{% endfor %}"
    "{% if message['role'] == 'assistant' %}" + PIECE_MARK + END_TEXT + "{% endif %}"
    "{% endfor %}"
)


class MiniGPT4Tokenizer(PreTrainedTokenizerFast):
    """Vicuna's tokens; `PIECE_MARK` separates two pieces of a text and leaves no token behind."""

    # No `__init__` here: with one, transformers would build the tokenizer anew from its words alone.
    @cached_property
    def piece_id(self) -> int:
        """The number of `PIECE_MARK`; it stays where a copy of this tokenizer knows its marks by other names."""
        return int(self.convert_tokens_to_ids(PIECE_MARK))  # type: ignore[arg-type]

    def _convert_encoding(self, *args: Any, **kwargs: Any) -> tuple[dict[str, Any], list[Any]]:
        table, encodings = super()._convert_encoding(*args, **kwargs)
        kept = [[i for i, token in enumerate(ids) if token != self.piece_id] for ids in table["input_ids"]]
        for name, rows in table.items():
            if name == "length":
                table[name] = [len(at) for at in kept]
            else:
                table[name] = [[row[i] for i in at] for row, at in zip(rows, kept, strict=True)]
        return table, encodings


class MiniGPT4Processor(ProcessorMixin):
    """Pictures to pixels, and each mark of a picture in a text to `num_query_tokens` of them."""

    def __init__(
        self,
        image_processor: Any = None,
        tokenizer: Any = None,
        chat_template: str | None = None,
        num_query_tokens: int = 32,
        **kwargs: Any,
    ) -> None:
        self.num_query_tokens = num_query_tokens
        self.image_token = IMAGE_MARK
        self.image_token_id = tokenizer.convert_tokens_to_ids(IMAGE_MARK)
        self.piece_token_id = tokenizer.piece_id  # looked up once, under its own name
        super().__init__(image_processor, tokenizer, chat_template=chat_template, **kwargs)

    def replace_image_token(self, image_inputs: dict[str, Any], image_idx: int, **kwargs: Any) -> str:
        """Return what stands for one picture in the text that is tokenised."""
        return self.image_token * self.num_query_tokens


def tokenizer_of(table: Mapping[str, Any], added: Sequence[str], rows: int) -> MiniGPT4Tokenizer:
    """Return the tokenizer for a SentencePiece vocabulary, given as the `model` part of a tokenizer.json.

    Every stretch of text begins with a space, as SentencePiece has it, and nothing is added around a text. `added`
    are further tokens of the language model. The marks of pictures and pieces have numbers beyond its `rows` of
    embeddings, so that it never says one.
    """
    core = Tokenizer.from_str(json.dumps({"version": "1.0", "added_tokens": [], "model": dict(table)}))
    core.normalizer = normalizers.Sequence([normalizers.Prepend("▁"), normalizers.Replace(" ", "▁")])
    core.decoder = decoders.Sequence(
        [decoders.Replace("▁", " "), decoders.ByteFallback(), decoders.Fuse(), decoders.Strip(" ", 1, 0)]
    )
    between = range(len(table["vocab"]) + len(added), rows)
    marks = [LLAMA_UNK, LLAMA_BOS, LLAMA_EOS, *added, *(f"<unused{i}>" for i in between), IMAGE_MARK, PIECE_MARK]
    core.add_special_tokens([AddedToken(mark, normalized=False, special=True) for mark in marks])
    return MiniGPT4Tokenizer(
        tokenizer_object=core, bos_token=LLAMA_BOS, eos_token=LLAMA_EOS, unk_token=LLAMA_UNK, pad_token=LLAMA_EOS,
        padding_side="right", clean_up_tokenization_spaces=False,
    )  # fmt: skip


def processor_of(tokenizer: MiniGPT4Tokenizer, *, size: int, queries: int) -> MiniGPT4Processor:
    """Return the processor: pictures scaled to `size` by `size` pixels as for BLIP-2, `queries` marks for each."""
    images = BlipImageProcessorPil(size={"height": size, "width": size})
    return MiniGPT4Processor(
        image_processor=images, tokenizer=tokenizer, chat_template=PIECES_TEMPLATE, num_query_tokens=queries
    )
