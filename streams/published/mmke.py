"""MMKE-Bench, free-form visual knowledge (Du et al., ICLR 2025; 2,940 pieces of knowledge in three kinds).

Schema: `easyeditor/dataset/coco_caption.py` of mmke-bench-bigai/mmke-bench, and its README for the names of files;
no file was at hand. The kinds are `entity`, `visual` (what a gesture or an action means) and `user`, told in each
record by `knowledge_type`. Answers are paragraphs. `rel_*` asks about what was edited in words and `m_rel_*` with
the picture: the paper counts both as reliability. With the other picture `m_rel_*` is generality; of kind `visual`
that question is `image_rephrase_question`. `port_new` is asked with `one_hop_img` where there is one. Not certain:
that the picture of a hop is that one, and whether paths begin at `data_image`.
"""

from __future__ import annotations

from typing import Literal

from pydantic import Field

from streams.pictures.files import Watch
from streams.published.benchmark import PublishedOptions, read_benchmark
from streams.published.case import HOP_KINDS, Case, folder_of
from streams.published.files import FilePart
from streams.published.reader import Benchmark
from streams.stream import Stream

_KINDS = ("entity_level", "visual_knowledge", "user_specific")


class Options(PublishedOptions):
    """MMKE-Bench: free-form knowledge of entities, of what is seen, and of users (data_json/*/eval.json)."""

    part: Literal["", "entity", "visual", "user"] = Field("", description="which kind of knowledge; without one all")


def _read(case: Case) -> None:
    fields = case.fields
    kind = fields.choice("knowledge_type", _KINDS)
    case.five(subject=folder_of(fields.text("image", "")))
    numbers = ("",) if kind == "visual_knowledge" else ("_1", "_2")
    for number in numbers:
        answers, shown = _answers(case, "rel", number), _answers(case, "m_rel", number)
        case.probe("reliability", "text-question", case.question(f"rel{number}", "{}"), answers)
        worded = case.question(f"m_rel{number}", case.template.edit)
        case.probe("reliability", "image-question", worded, shown, "image")
        again = worded if number else case.question("image_rephrase_question", case.template.edit)
        case.probe("generality", "image-question", again, shown, "image_rephrase")
    picture = "one_hop_img" if fields.given("one_hop_img") else "image"
    for hop, question, answers in case.follow_up():
        case.probe("portability", hop, question, answers, picture, hops=HOP_KINDS.get(hop, 0))


def _answers(case: Case, name: str, number: str) -> tuple[str, ...]:
    """Return the answers to a question of the record; files call their field `rel_ans_1` or `rel_1_ans`."""
    other = f"{name}{number}_ans"
    return case.fields.answers(other if case.fields.given(other) else f"{name}_ans{number}")


_BENCHMARK = Benchmark(
    "mmke",
    tuple(
        FilePart(kind, (f"data_json/{kind}/eval.json", f"{kind}/eval.json", f"{kind}_eval.json"))
        for kind in ("entity", "visual", "user")
    ),
    _read,
    train=tuple(
        FilePart(kind, (f"data_json/{kind}/train.json", f"{kind}/train.json", f"{kind}_train.json"))
        for kind in ("entity", "visual", "user")
    ),
    pictures=("data_image", "data_image/entity", "data_image/visual", "data_image/user", "images"),
    together=True,
)


def load(options: Options, *, edits: int, seed: int, watch: Watch | None = None) -> Stream:
    """Return the benchmark's edits as a stream; raises `StreamError`."""
    return read_benchmark(_BENCHMARK, options, edits=edits, seed=seed, part=options.part, watch=watch)
