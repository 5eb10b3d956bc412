"""VLKEB, entities of a knowledge graph in photographs (Huang et al., NeurIPS 2024; 5,000 to train, 3,174 to edit).

Schema: `easyeditor/dataset/coco_caption.py` of VLKEB/VLKEB, and the files themselves (copies are in `data/VLKEB` of
qizhou000/LiveEdit). Certain: the real one-hop file (1,278 records) was read; the multi-hop file is known from the
published loader only. An edit says that the entity of a photograph is another one: `pred` is the true one, with `_`
for spaces. `port_new` asks about the new entity: `port_q` of one hop, or `Q&A` of one to four. Passed over are
`port_edit_q` and `port_edit_a`, which tell the second fact of the hop in words.
"""

from __future__ import annotations

from typing import Literal

from pydantic import Field

from streams.pictures.files import Watch
from streams.published.benchmark import PublishedOptions, read_benchmark
from streams.published.case import HOP_KINDS, Case, Wordings, folder_of
from streams.published.files import FilePart
from streams.published.reader import Benchmark
from streams.stream import Stream


class Options(PublishedOptions):
    """VLKEB: which entity a photograph shows, with questions of one to four hops (eval*.json, train.json)."""

    part: Literal["", "onehop", "multihop", "eval"] = Field(
        "", description="which of its evaluation files; without one the first of these that is there"
    )


def _read(case: Case) -> None:
    true = case.fields.text("pred", "").replace("_", " ")
    case.five(truths=(true,), subject=folder_of(case.fields.text("image", "")))
    for hop, question, answers in case.follow_up():
        case.probe("portability", hop, question, answers, "image", hops=HOP_KINDS.get(hop, 0))


_BENCHMARK = Benchmark(
    "vlkeb",
    (
        FilePart("onehop", ("eval_edit_onehop.json", "VLKEB/eval_edit_onehop.json")),
        FilePart("multihop", ("eval_multihop.json", "VLKEB/eval_multihop.json")),
        FilePart("eval", ("eval.json", "VLKEB/eval.json")),
    ),
    _read,
    train=(FilePart("train", ("train.json", "VLKEB/train.json")),),
    templates={"published": Wordings(), "liveedit": Wordings(other="{} The answer is:", text="{}?")},
    pictures=("mmkb_images", "images"),
)


def load(options: Options, *, edits: int, seed: int, watch: Watch | None = None) -> Stream:
    """Return the benchmark's edits as a stream; raises `StreamError`."""
    return read_benchmark(_BENCHMARK, options, edits=edits, seed=seed, part=options.part, watch=watch)
