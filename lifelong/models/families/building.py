"""What every tiny model of a family is made of, and how it becomes a folder: config, weights, tokenizer, processor.

The classes are Hugging Face's own, the weights are random and the vocabularies have a few hundred tokens, so that
every path of a large model of the family is walked within seconds. Knows no family: each has a file
`family_NAME.py` with a function `make_NAME` that returns `Parts`.
"""

from __future__ import annotations

import importlib
import json
import pkgutil
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import torch
from tokenizers import AddedToken, Tokenizer, decoders, models, normalizers, pre_tokenizers, processors
from transformers import PreTrainedTokenizerFast

from lifelong.models.folders.check import ModelError
from lifelong.models.loading import silent
from streams.near import near

WEIGHT_SPREAD = 0.3  # standard deviation of the weights: large enough that different prompts get different answers
VOCABULARY = 384  # rows of the embeddings: every tokenizer here has fewer tokens


@dataclass(frozen=True)
class Parts:
    """One family's tiny model: `model` of its own class with random weights, and what lies beside the weights.

    `images` is preprocessor_config.json and `processor` processor_config.json (none without), `template` the chat
    template (none without), `more` other tokenizers by the name of their folder.
    """

    model: Any
    tokenizer: PreTrainedTokenizerFast
    images: Mapping[str, Any]
    processor: Mapping[str, Any] | None = None
    template: str | None = None
    more: Mapping[str, PreTrainedTokenizerFast] = field(default_factory=dict)


def family_names() -> list[str]:
    """Return the names of the families that a tiny model can be made of, sorted."""
    import lifelong.models.families

    found = (m.name for m in pkgutil.iter_modules(lifelong.models.families.__path__))
    return sorted(name.removeprefix("family_") for name in found if name.startswith("family_"))


def build_family(name: str, folder: Path, *, seed: int = 0) -> Path:
    """Write a family's tiny model into a folder that does not exist or is empty, and return it.

    The weights are drawn from `seed`. Raises `ModelError` with near names for a family that there is not.
    """
    names = family_names()
    if name not in names:
        raise ModelError(
            f"family {name!r}: there is none of this name.{near(name, names)} Families: {', '.join(names)}."
        )
    module = importlib.import_module(f"lifelong.models.families.family_{name}")
    make: Callable[[], Parts] = getattr(module, f"make_{name}")
    with torch.random.fork_rng():
        torch.manual_seed(seed)
        parts = make()
        _draw(parts.model)
    _write(parts, folder)
    return folder


def _draw(model: Any) -> None:
    """Draw all matrices anew, and open the gates that a family starts closed: nothing of it may be without effect.

    No answer has a token that stands for a part of a picture: a model that knew something would not write one.
    """
    with torch.no_grad():
        for name, parameter in model.named_parameters():
            if parameter.dim() >= 2 and "gate" not in name.split(".")[-1]:
                parameter.normal_(0, WEIGHT_SPREAD)
            elif "gate" in name.split(".")[-1]:
                parameter.fill_(1.0)
        head, words = model.get_output_embeddings(), model.get_input_embeddings()
        marks = [v for k, v in vars(model.config).items() if k.endswith(("token_id", "token_index", "patch_id"))]
        ends = (model.generation_config.eos_token_id, model.generation_config.pad_token_id)
        if head is not None and head.weight is not words.weight:
            for mark in marks:
                if isinstance(mark, int) and mark < len(head.weight) and mark not in ends:
                    head.weight[mark] = 0.0


def _write(parts: Parts, folder: Path) -> None:
    folder.mkdir(parents=True, exist_ok=True)
    tokenizer, model = parts.tokenizer, parts.model
    ends = model.generation_config
    ends.pad_token_id = tokenizer.pad_token_id
    if ends.eos_token_id is None:
        ends.eos_token_id = tokenizer.eos_token_id
    with silent():
        model.save_pretrained(folder)
    tokenizer.save_pretrained(folder)
    for name, other in parts.more.items():
        other.save_pretrained(folder / name)
    tables: dict[str, Mapping[str, Any] | None] = {
        "preprocessor_config.json": parts.images,
        "processor_config.json": parts.processor,
    }
    for name, table in tables.items():
        if table is not None:
            (folder / name).write_text(json.dumps(table, indent=1), encoding="utf-8")
    if parts.template is not None:
        (folder / "chat_template.jinja").write_text(parts.template, encoding="utf-8")


def byte_tokenizer(
    special: Sequence[str], *, pad: str, end: str, start: str | None = None, starts: bool = False, **named: str
) -> PreTrainedTokenizerFast:
    """Return a byte-level tokenizer (GPT-2's kind) with some special tokens, which have the first ids in order.

    `starts` lets it write `start` before every text; `named` are tokens that a processor asks for, such as
    `image_token`.
    """
    vocab = {token: i for i, token in enumerate([*special, *sorted(pre_tokenizers.ByteLevel.alphabet())])}
    core = Tokenizer(models.BPE(vocab=vocab, merges=[]))
    core.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    core.decoder = decoders.ByteLevel()
    return _wrapped(core, special, pad, end, start, starts, named)


def piece_tokenizer(
    special: Sequence[str], *, pad: str, end: str, start: str | None = None, starts: bool = True, **named: str
) -> PreTrainedTokenizerFast:
    """Return a tokenizer of SentencePiece's kind (Llama's): a text begins with a space's piece."""
    bytes_ = [f"<0x{i:02X}>" for i in range(256)]
    letters = [chr(i) for i in range(33, 127) if chr(i) not in "<>"]
    vocab = {token: i for i, token in enumerate(dict.fromkeys([*special, "\u2581", *letters, *bytes_]))}
    core = Tokenizer(models.BPE(vocab=vocab, merges=[], unk_token=special[0], byte_fallback=True, fuse_unk=True))
    core.normalizer = normalizers.Sequence([normalizers.Prepend("\u2581"), normalizers.Replace(" ", "\u2581")])
    core.decoder = decoders.Sequence(
        [decoders.Replace("\u2581", " "), decoders.ByteFallback(), decoders.Fuse(), decoders.Strip(" ", 1, 0)]
    )
    return _wrapped(core, special, pad, end, start, starts, named)


def _wrapped(
    core: Tokenizer,
    special: Sequence[str],
    pad: str,
    end: str,
    start: str | None,
    starts: bool,
    named: Mapping[str, str],
) -> PreTrainedTokenizerFast:
    core.add_special_tokens([AddedToken(token, normalized=False, special=True) for token in special])
    if start is not None and starts:
        core.post_processor = processors.TemplateProcessing(
            single=f"{start} $A", pair=f"{start} $A {start} $B", special_tokens=[(start, core.token_to_id(start))]
        )
    return PreTrainedTokenizerFast(
        tokenizer_object=core,
        pad_token=pad,
        eos_token=end,
        bos_token=start,
        extra_special_tokens=dict(named),
        clean_up_tokenization_spaces=False,
    )


def turns(
    *,
    ask: str,
    asked: str,
    answer: str,
    answered: str,
    image: str,
    start: str = "",
    answer_begins: str | None = None,
    images_first: bool = False,
) -> str:
    """Return a chat template of one's own making: what stands before and after a user's words and an answer.

    `image` stands for a picture and `start` before everything; `answer_begins` is what asks for an answer, where it
    is not `answer`. `images_first` writes pictures before the words, as LLaVA's template does.
    """
    q = {k: json.dumps(v) for k, v in locals().items() if isinstance(v, str)}
    begins = json.dumps(answer if answer_begins is None else answer_begins)
    one = f"{{{{ {q['image']} if p.type == 'image' else p.text }}}}"
    body = f"{{% for p in m.content %}}{one}{{% endfor %}}"
    if images_first:
        body = (
            f"{{% for p in m.content if p.type == 'image' %}}{{{{ {q['image']} }}}}{{% endfor %}}"
            "{% for p in m.content if p.type == 'text' %}{{ p.text }}{% endfor %}"
        )
    said = f"{{% if m.content is string %}}{{{{ m.content }}}}{{% else %}}{body}{{% endif %}}"
    return (
        f"{{{{ {q['start']} }}}}{{% for m in messages %}}{{% if m.role == 'assistant' %}}"
        f"{{{{ {q['answer']} }}}}{said}{{{{ {q['answered']} }}}}"
        f"{{% else %}}{{{{ {q['ask']} }}}}{said}{{{{ {q['asked']} }}}}{{% endif %}}{{% endfor %}}"
        f"{{% if add_generation_prompt %}}{{{{ {begins} }}}}{{% endif %}}"
    )


def llama_like(**changed: Any) -> dict[str, Any]:
    """Return the configuration of a small decoder as most families have it: 4 layers of width 32, two heads."""
    return {
        "vocab_size": VOCABULARY,
        "hidden_size": 32,
        "intermediate_size": 64,
        "num_hidden_layers": 4,
        "num_attention_heads": 2,
        "num_key_value_heads": 2,
        "head_dim": 16,
        "max_position_embeddings": 4096,
        "initializer_range": WEIGHT_SPREAD,
        "bos_token_id": None,
        "pad_token_id": None,
        "eos_token_id": None,
        "tie_word_embeddings": False,
    } | changed
