"""FGVEdit, fine-grained visual edits (Zeng et al., 2025, MSCKE; 8,334 records to train on, 2,778 to edit).

Schema: `FGVEditDataset` in `easyeditor/dataset/vqa.py` of zeng-zhen/FGVEdit, and its README for the names of files;
no file was at hand. Besides E-VQA's fields, without `image_rephrase` and `m_loc`, each record asks two questions
about the same picture: `fg_gen_q` lies in the edit's scope and has the new answer `fg_gen_a`; `fg_loc_q` lies
outside and should be answered as before. Both are specificity, `in-scope` and `out-of-scope`.
"""

from __future__ import annotations

from streams.pictures.files import Watch
from streams.published.benchmark import PublishedOptions, read_benchmark
from streams.published.case import Case, Wordings
from streams.published.files import FilePart
from streams.published.reader import Benchmark
from streams.stream import Stream


class Options(PublishedOptions):
    """FGVEdit: edits with questions inside and outside of their scope about one picture (test_data.json)."""


def _read(case: Case) -> None:
    target, *accepted = case.fields.answers("alt")
    subject = case.fields.text("image", "")
    worded = case.question("src", case.template.edit)
    case.edit(worded, target, "image", subject=subject, accepted=tuple(accepted))
    case.rephrased("rephrase", "image")
    case.text_locality("loc", "loc_ans")
    inside = case.question("fg_gen_q", case.template.edit)
    case.probe("specificity", "in-scope", inside, case.fields.answers("fg_gen_a"), "image")
    outside = case.question("fg_loc_q", case.template.other)
    answers = case.fields.answers("fg_loc_a")
    case.probe("specificity", "out-of-scope", outside, answers, "image", reference="baseline")


_BENCHMARK = Benchmark(
    "fgvedit",
    (FilePart("test", ("FGVEdit/test_data.json", "test_data.json")),),
    _read,
    train=(FilePart("train", ("FGVEdit/train_data.json", "train_data.json")),),
    templates={"published": Wordings("Question: {} Short answer:", "Question: {} Short answer:")},
    pictures=("images", "../images", "coco"),
)


def load(options: Options, *, edits: int, seed: int, watch: Watch | None = None) -> Stream:
    """Return the benchmark's edits as a stream; raises `StreamError`."""
    return read_benchmark(_BENCHMARK, options, edits=edits, seed=seed, watch=watch)
