"""CCKEB, pairs of a visual and a textual edit (Seong et al., NeurIPS 2025, MemEIC; 5,000 to train on, 1,278 to edit).

Schema: `easyeditor/dataset/coco_caption.py` of MemEIC/MemEIC (`CompositionalCaptionDataset`); no file was at hand.
A record is VLKEB's with `textual_edit`, a second edit about the new entity in words. Its `alt` may be a list of
texts, which the published loader joins by spaces. `port_new` of type `comp` needs both edits: asked with the
picture, it is answered by the textual edit's new answer, so it belongs to the textual edit, which comes second.
Other types are asked of the visual edit. Not certain: whether files differ in other fields; `src_q`, `rephrase_q`,
`m_loc_q_q` and `Query` (parts of questions, made by a language model) are passed over.
"""

from __future__ import annotations

from streams.files.fields import RecordFields
from streams.pictures.files import Watch
from streams.published.benchmark import PublishedOptions, read_benchmark
from streams.published.case import BLANK, HOP_KINDS, Case, folder_of
from streams.published.files import FilePart
from streams.published.reader import Benchmark
from streams.stream import Stream


class Options(PublishedOptions):
    """CCKEB of MemEIC: a visual and a textual edit each, and questions that need both (CCKEB_eval.json)."""


def _read(case: Case) -> None:
    entity = folder_of(case.fields.text("image", ""))
    true = case.fields.text("pred", "").replace("_", " ")
    case.five(truths=(true,), subject=entity)
    both = []
    for hop, question, answers in case.follow_up(also=("comp",)):
        if hop == "comp":
            both.append(question)
        else:
            case.probe("portability", hop, question, answers, "image", hops=HOP_KINDS.get(hop, 0))

    told = case.fields.field("textual_edit")
    if told is None:
        return
    target = _joined(told, "alt")
    case.edit(told.text("src", asked=True), target, subject=entity, truths=(_joined(told, "pred"),))
    case.probe("generality", "rephrase", told.text("rephrase", asked=True), (target,))
    worded = case.template.text.replace(BLANK, told.text("loc", asked=True), 1)
    case.probe("locality", "text", worded, told.answers("loc_ans"), reference="baseline")
    for question in both:
        case.probe("compositional", "comp", question, (target,), "image", hops=1)


def _joined(fields: RecordFields, name: str) -> str:
    """Return a text, or the texts of a list in one, as the published loader has it."""
    if isinstance(fields.value(name), list):
        return " ".join(fields.texts(name))
    return fields.text(name, asked=True)


_BENCHMARK = Benchmark(
    "cckeb",
    (FilePart("eval", ("CCKEB_eval.json", "datasets/CCKEB_eval.json")),),
    _read,
    train=(FilePart("train", ("CCKEB_train.json", "datasets/CCKEB_train.json")),),
    pictures=("CCKEB_images/mmkb_images", "mmkb_images", "CCKEB_images", "images"),
)


def load(options: Options, *, edits: int, seed: int, watch: Watch | None = None) -> Stream:
    """Return the benchmark's edits as a stream; raises `StreamError`."""
    return read_benchmark(_BENCHMARK, options, edits=edits, seed=seed, watch=watch)
