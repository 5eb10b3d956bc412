"""CounterFact, false statements to be completed (Meng et al., NeurIPS 2022; 21,919 records).

Schema: `counterfact.json` and `multi_counterfact.json` of ROME (kmeng01/rome), a `requested_rewrite` with prompts
around it; and the flat one of zjunlp/EasyEdit (`counterfact-edit.json`, `counterfact-train.json`), told apart by
that field. No file was at hand. Prompts are beginnings of sentences and are worded by nothing.
`neighborhood_prompts` are about other subjects with the same true answer, `attribute_prompts` about those that have
the new one already: neither should change. Passed over are `generation_prompts`, which have no answer. ROME has no
training split, EasyEdit has.
"""

from __future__ import annotations

from streams.files.fields import RecordFields
from streams.pictures.files import Watch
from streams.published.benchmark import PublishedOptions, read_benchmark
from streams.published.case import Case
from streams.published.files import FilePart
from streams.published.reader import Benchmark
from streams.stream import Stream


class Options(PublishedOptions):
    """CounterFact: false statements about a subject, in words only (counterfact.json or counterfact-edit.json)."""


def _read(case: Case) -> None:
    fields = case.fields
    asked = fields.field("requested_rewrite")
    if asked is None:
        _read_flat(case)
        return
    subject, prompt = asked.text("subject"), asked.text("prompt", asked=True)
    new, true = _target(asked, "target_new"), _target(asked, "target_true")
    if prompt.count("{}") != 1:
        asked.note("prompt", "expected one {} where the subject stands.")
    worded = case.template.edit.replace("{}", prompt.replace("{}", subject, 1), 1)
    case.edit(worded, new, subject=subject, relation=asked.text("relation_id", ""), truths=(true,))
    for text in fields.texts("paraphrase_prompts"):
        case.probe("generality", "rephrase", case.template.edit.replace("{}", text, 1), (new,))
    for name, variant, answer in (("neighborhood_prompts", "near", true), ("attribute_prompts", "attribute", new)):
        for text in fields.texts(name):
            worded = case.template.text.replace("{}", text, 1)
            case.probe("locality", variant, worded, (answer,), reference="baseline")


def _target(fields: RecordFields, name: str) -> str:
    told = fields.field(name)
    if told is None:
        fields.note(name, "it is missing; expected an object with 'str'.")
        return ""
    return told.text("str", asked=True)


def _read_flat(case: Case) -> None:
    fields = case.fields
    if not fields.given("prompt"):
        fields.note("requested_rewrite", "it is missing, and so is 'prompt' of the flat files.")
        return
    true = (
        fields.texts("ground_truth")
        if isinstance(fields.value("ground_truth"), list)
        else (fields.text("ground_truth", ""),)
    )
    (new, *_), subject = fields.answers("target_new"), fields.text("subject", "")
    case.edit(case.question("prompt", case.template.edit), new, subject=subject, truths=true)
    if fields.given("rephrase_prompt"):
        case.rephrased("rephrase_prompt")
    if fields.given("locality_prompt"):
        case.text_locality("locality_prompt", "locality_ground_truth")
    case.one_hop()


_BENCHMARK = Benchmark(
    "counterfact",
    (
        FilePart("rome", ("counterfact.json", "multi_counterfact.json", "counterfact/counterfact.json")),
        FilePart("easyedit", ("counterfact-edit.json", "counterfact-val.json", "counterfact/counterfact-edit.json")),
    ),
    _read,
    train=(FilePart("train", ("counterfact-train.json", "counterfact/counterfact-train.json")),),
)


def load(options: Options, *, edits: int, seed: int, watch: Watch | None = None) -> Stream:
    """Return the benchmark's edits as a stream; raises `StreamError`."""
    return read_benchmark(_BENCHMARK, options, edits=edits, seed=seed, watch=watch)
