"""zsRE, questions of relation extraction as edits (Levy et al., CoNLL 2017; split of MEND, about 19,000 to edit).

Schema: `easyeditor/dataset/zsre.py` of zjunlp/EasyEdit and records that its users print; no file was at hand. `alt`
is what to edit in, the first of `answers` what was true. `portability` (one hop) is in the file
`zsre_mend_eval_portability_gpt4.json` only. ROME puts a `?` behind the unrelated question: `template=rome`.
"""

from __future__ import annotations

from streams.pictures.files import Watch
from streams.published.benchmark import PublishedOptions, read_benchmark
from streams.published.case import Case, Wordings
from streams.published.files import FilePart
from streams.published.reader import Benchmark
from streams.stream import Stream

_NAMES = ("zsre_mend_eval.json", "zsre/zsre_mend_eval.json", "zsre_mend_eval_portability_gpt4.json")


class Options(PublishedOptions):
    """zsRE: questions about a subject, in words only (zsre_mend_eval.json, zsre_mend_train.json)."""


def _read(case: Case) -> None:
    fields = case.fields
    target, *accepted = fields.answers("alt")
    case.edit(
        case.question("src", case.template.edit), target, subject=fields.text("subject", ""),
        truths=fields.texts("answers"), accepted=tuple(accepted),
    )  # fmt: skip
    case.rephrased("rephrase")
    case.text_locality("loc", "loc_ans")
    case.one_hop()


_BENCHMARK = Benchmark(
    "zsre",
    (FilePart("eval", (*_NAMES, "zsre/zsre_mend_eval_portability_gpt4.json")),),
    _read,
    train=(
        FilePart(
            "train",
            (
                "zsre_mend_train.json",
                "zsre/zsre_mend_train.json",
                "zsre_mend_train_10000.json",
                "zsre/zsre_mend_train_10000.json",
            ),
        ),
    ),
    templates={"published": Wordings(), "rome": Wordings(text="{}?")},
)


def load(options: Options, *, edits: int, seed: int, watch: Watch | None = None) -> Stream:
    """Return the benchmark's edits as a stream; raises `StreamError`."""
    return read_benchmark(_BENCHMARK, options, edits=edits, seed=seed, watch=watch)
