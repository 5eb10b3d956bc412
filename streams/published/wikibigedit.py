"""WikiBigEdit, changes of Wikidata in eight steps of time (Thede et al., ICML 2025; 502,382 records).

Schema: `easyeditor/dataset/wikibigedit.py` of zjunlp/EasyEdit, `WikiBigEdit_Pipeline/combine_qa.py` of
ExplainableML/WikiBigEdit, and the names of files that its users print; no file was at hand. The published files say
`update` and `ans`, those of the pipeline `src` and `alt`: both are read. `personas` rewords the question in
somebody's voice, `mhop` follows one more fact from the edited one. What a record lacks is not asked. There is no
training split.
"""

from __future__ import annotations

from typing import Literal

from pydantic import Field

from streams.pictures.files import Watch
from streams.published.benchmark import PublishedOptions, read_benchmark
from streams.published.case import Case
from streams.published.files import FilePart
from streams.published.reader import Benchmark
from streams.stream import Stream

_STEPS = (
    "20240201_20240220", "20240220_20240301", "20240301_20240320", "20240320_20240401",
    "20240401_20240501", "20240501_20240601", "20240601_20240620", "20240620_20240701",
)  # fmt: skip


class Options(PublishedOptions):
    """WikiBigEdit: what changed in Wikidata, in eight steps of time (wiki_big_edit_*.json)."""

    part: Literal["", "1", "2", "3", "4", "5", "6", "7", "8"] = Field(
        "", description="which step of time; without one all of them, in their order"
    )


def _read(case: Case) -> None:
    fields = case.fields
    asked, told = ("update", "ans") if fields.given("update") or not fields.given("src") else ("src", "alt")
    target, *accepted = fields.answers(told)
    true = (
        fields.texts("ground_truth")
        if isinstance(fields.value("ground_truth"), list)
        else (fields.text("ground_truth", ""),)
    )
    case.edit(
        case.question(asked, case.template.edit), target, subject=fields.text("subject", ""),
        relation=fields.text("relation", ""), truths=true, accepted=tuple(accepted), source=case.part,
    )  # fmt: skip
    for name in ("rephrase", "personas", *(n for n in fields.names() if n.startswith("genv2_"))):
        if fields.given(name):
            case.rephrased(name, variant="rephrase" if name == "rephrase" else "persona")
    if fields.given("loc"):
        case.text_locality("loc", "loc_ans")
    if fields.given("mhop"):
        worded = case.question("mhop", case.template.edit)
        case.probe("portability", "1-hop", worded, fields.answers("mhop_ans"), hops=1)


_BENCHMARK = Benchmark(
    "wikibigedit",
    tuple(FilePart(str(n), (f"wiki_big_edit_{step}.json",)) for n, step in enumerate(_STEPS, 1)),
    _read,
    together=True,
)


def load(options: Options, *, edits: int, seed: int, watch: Watch | None = None) -> Stream:
    """Return the benchmark's edits as a stream; raises `StreamError`."""
    return read_benchmark(_BENCHMARK, options, edits=edits, seed=seed, part=options.part, watch=watch)
