"""MMKU-Bench, knowledge that changed and knowledge that is new (Fu et al., 2026; over 25,000 records).

Schema: README, `inference.py` and `evaluation/*.py` of baochenfu/MMKU-Bench; no file was at hand. A line of a test
file is a question about a picture: `question_id`, `image`, `text`, `answer`, `type`, and where it is from,
`cnn_wiki_type`. Here each is an edit that answers its own question: the published files have no probes besides, and
their training files tell the same knowledge in sentences. Not certain: the form of the training files
(`*_train_rewrite.json`); read are conversations of one turn, as `conversations` (`from`, `value`) or `messages`
(`role`, `content`), and records like the test's. A mark such as `<image>` before a question is taken away.
"""

from __future__ import annotations

from typing import Literal

from pydantic import Field

from streams.pictures.files import Watch
from streams.published.benchmark import PublishedOptions, read_benchmark
from streams.published.case import Case, folder_of
from streams.published.files import FilePart
from streams.published.reader import Benchmark
from streams.stream import Stream
from streams.text import picture_mark

_TURNS = {"conversations": ("from", "value", "human", "gpt"), "messages": ("role", "content", "user", "assistant")}


class Options(PublishedOptions):
    """MMKU-Bench: questions about pictures whose answers changed or are new (*_test_rewrite.jsonl)."""

    part: Literal["", "updated", "unknown"] = Field("", description="which kind of knowledge; without one both")


def _read(case: Case) -> None:
    fields = case.fields
    turns = next((name for name in _TURNS if fields.given(name)), "")
    if turns:
        who, what, asks, says = _TURNS[turns]
        told = {turn.text(who): turn for turn in fields.objects(turns)}
        missing = [role for role in (asks, says) if role not in told]
        if missing:
            fields.note(
                turns, f"nobody is {missing[0]!r} there; expected a question of {asks!r} and an answer of {says!r}."
            )
            return
        question, answer = _plain(told[asks].text(what)), (told[says].text(what, asked=True),)
    else:
        question, answer = _plain(fields.text("text")), fields.answers("answer")
    worded = case.template.edit.replace("{}", question, 1)
    case.edit(
        worded, answer[0], "image" if fields.given("image") else "", subject=folder_of(fields.text("image", "")),
        relation=fields.text("type", ""), accepted=answer[1:], source=fields.text("cnn_wiki_type", case.part),
    )  # fmt: skip


def _plain(question: str) -> str:
    """Return a question without the marks by which some files place its picture."""
    while mark := picture_mark(question):
        question = question.replace(mark, "", 1).strip()
    return question


_BENCHMARK = Benchmark(
    "mmku",
    tuple(
        FilePart(kind, (f"{kind}/{kind}_test_rewrite.jsonl", f"{kind}_test_rewrite.jsonl"))
        for kind in ("updated", "unknown")
    ),
    _read,
    train=tuple(
        FilePart(kind, (f"{kind}/{kind}_train_rewrite.json", f"{kind}_train_rewrite.json"))
        for kind in ("updated", "unknown")
    ),
    pictures=("updated", "unknown", "images", "updated/images", "unknown/images"),
    together=True,
)


def load(options: Options, *, edits: int, seed: int, watch: Watch | None = None) -> Stream:
    """Return the benchmark's edits as a stream; raises `StreamError`."""
    return read_benchmark(_BENCHMARK, options, edits=edits, seed=seed, part=options.part, watch=watch)
