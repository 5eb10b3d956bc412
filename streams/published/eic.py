"""E-IC, the image captions of MMEdit (Cheng et al., EMNLP 2023; 2,849 records to train on, 1,000 to edit).

Schema: `easyeditor/dataset/coco_caption.py` of zjunlp/EasyEdit, and the files `caption_train_edit.json` and
`caption_eval_edit.json` themselves (a copy is in `data/easy-edit-mm/caption` of qizhou000/LiveEdit). Certain: the
real evaluation file was read. All records have one prompt, which the published code words by nothing; only the
question about another picture is worded. Captions are kept as they stand, also with a space or a line end at their
edge.
"""

from __future__ import annotations

from streams.pictures.files import Watch
from streams.published.benchmark import PublishedOptions, read_benchmark
from streams.published.case import Case, Wordings
from streams.published.files import FilePart
from streams.published.reader import Benchmark
from streams.stream import Stream


class Options(PublishedOptions):
    """E-IC of MMEdit: captions of COCO photographs (caption_eval_edit.json, caption_train_edit.json)."""


def _read(case: Case) -> None:
    case.five(subject=case.fields.text("image", ""))


_BENCHMARK = Benchmark(
    "eic",
    (FilePart("eval", ("caption_eval_edit.json", "caption/caption_eval_edit.json")),),
    _read,
    train=(FilePart("train", ("caption_train_edit.json", "caption/caption_train_edit.json")),),
    templates={
        "published": Wordings(other="Question: {} Short answer:"),
        "liveedit": Wordings(other="{} The answer is:", text="{}?"),
    },
    pictures=("images", "coco", "coco/images"),
)


def load(options: Options, *, edits: int, seed: int, watch: Watch | None = None) -> Stream:
    """Return the benchmark's edits as a stream; raises `StreamError`."""
    return read_benchmark(_BENCHMARK, options, edits=edits, seed=seed, watch=watch)
