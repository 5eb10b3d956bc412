"""ComprehendEdit, eight visual tasks of five data sets (Ma et al., AAAI 2025; 13,450 to train, 4,482 to edit).

Schema: README of yaohui120/ComprehendEdit, and `easyeditor/dataset/ComprehendEdit.py` of zjunlp/EasyEdit for the
templates, one for each data set (`source`); no file was at hand. `T_G_*` (another generality) and `port_*` (one
hop, in words and with the picture) are in the extended test file only. Passed over are the lists of nearest and
farthest records (`img_topk` and others), by which KGI and KPI are measured: they are indices into two files.
"""

from __future__ import annotations

from streams.pictures.files import Watch
from streams.published.benchmark import PublishedOptions, read_benchmark
from streams.published.case import BLANK, Case, Wordings
from streams.published.files import FilePart
from streams.published.reader import Benchmark
from streams.stream import Stream

_PROMPTS = {
    "gqa": "Question: {} Short answer:",
    "tallyqa": "Question: {} Answer with a number. Short answer:",
    "vsr": "Question: Is this description true or false? Description: {} Short answer:",
    "textvqa": "Question: {} Short answer:",
    "mathvista": "{} Short answer:",
}
_PUBLISHED = Wordings("Question: {} Short answer:", "Question: {} Short answer:")


class Options(PublishedOptions):
    """ComprehendEdit: eight visual tasks, each with its own wording (ComprehendEdit_test.json)."""


def _read(case: Case) -> None:
    fields = case.fields
    source = fields.text("source")
    if case.template is _PUBLISHED:
        if source and source.lower() not in _PROMPTS:
            fields.note(
                "source", f"expected one of {', '.join(_PROMPTS)}, got {source!r}; template=plain words nothing."
            )
        case.template = Wordings(_PROMPTS.get(source.lower(), BLANK), _PUBLISHED.other)
    target, *accepted = fields.answers("answer")
    worded = case.question("question", case.template.edit)
    case.edit(
        worded, target, "image", subject=fields.text("image", ""), relation=fields.text("Category", ""),
        accepted=tuple(accepted), source=source,
    )  # fmt: skip
    case.rephrased("rephrase", "image")
    case.text_locality("locality_prompt", "locality_ground_truth")
    case.image_locality("multimodal_locality_image", "multimodal_locality_prompt", "multimodal_locality_ground_truth")
    if fields.given("T_G_qs"):
        worded = case.question("T_G_qs", case.template.edit)
        case.probe("generality", "follows", worded, fields.answers("T_G_ans"), "image")
    for name, image in (("port_T_qs", ""), ("port_M_qs", "image")):
        if fields.given(name):
            worded = case.question(name, case.template.edit)
            case.probe("portability", "1-hop", worded, fields.answers("port_ans"), image, hops=1)


_BENCHMARK = Benchmark(
    "comprehendedit",
    (FilePart("test", ("ComprehendEdit_test.json", "ComprehendEdit_test_onehop.json")),),
    _read,
    train=(FilePart("train", ("ComprehendEdit_train.json",)),),
    templates={"published": _PUBLISHED},
    pictures=("ComprehendEdit", "images"),
)


def load(options: Options, *, edits: int, seed: int, watch: Watch | None = None) -> Stream:
    """Return the benchmark's edits as a stream; raises `StreamError`."""
    return read_benchmark(_BENCHMARK, options, edits=edits, seed=seed, watch=watch)
