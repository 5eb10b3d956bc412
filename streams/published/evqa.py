"""E-VQA, the visual questions of MMEdit (Cheng et al., EMNLP 2023; 6,345 records to train on, 2,093 to edit).

Schema: `easyeditor/dataset/vqa.py` of zjunlp/EasyEdit, and the files `vqa_train.json` and `vqa_eval.json`
themselves (a copy is in `data/easy-edit-mm/vqa` of qizhou000/LiveEdit). Certain: the real evaluation file was read.
`pred`, what a model of theirs answered before, is passed over: it is no truth.
"""

from __future__ import annotations

from streams.pictures.files import Watch
from streams.published.benchmark import PublishedOptions, read_benchmark
from streams.published.case import Case, Wordings
from streams.published.files import FilePart
from streams.published.reader import Benchmark
from streams.stream import Stream


class Options(PublishedOptions):
    """E-VQA of MMEdit: visual questions about COCO photographs (vqa_eval.json, vqa_train.json)."""


def _read(case: Case) -> None:
    case.five(subject=case.fields.text("image", ""))


_BENCHMARK = Benchmark(
    "evqa",
    (FilePart("eval", ("vqa_eval.json", "vqa/vqa_eval.json")),),
    _read,
    train=(FilePart("train", ("vqa_train.json", "vqa/vqa_train.json")),),
    templates={
        "published": Wordings("Question: {} Short answer:", "Question: {} Short answer:"),
        "liveedit": Wordings("{} The answer is:", "{} The answer is:", "{}?"),
    },
    pictures=("images", "coco", "coco/images"),
)


def load(options: Options, *, edits: int, seed: int, watch: Watch | None = None) -> Stream:
    """Return the benchmark's edits as a stream; raises `StreamError`."""
    return read_benchmark(_BENCHMARK, options, edits=edits, seed=seed, watch=watch)
