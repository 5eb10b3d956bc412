"""What a stream consists of, counted: edits, questions, pictures, answers and probes. Knows no file and no model."""

from __future__ import annotations

from collections import Counter

from streams.stream import Stream
from streams.types import Edit, Probe


def census_of(stream: Stream) -> dict[str, int]:
    """Return the numbers of a stream by what they count, in the order to be shown; called to check data."""
    edits = stream.edits
    pictures = Counter(edit.query.image.digest for edit in edits if edit.query.image)
    prompts = Counter(edit.query.prompt for edit in edits)
    told = Counter((edit.query.digest, edit.target) for edit in edits)
    asked = Counter(edit.query.digest for edit in edits)
    found = {
        "edits": len(edits),
        "edits that repeat an earlier one, answer and all": len(edits) - len(told),
        "edits that ask the question of an earlier one, and replace it": len(edits) - len(asked),
        "edits with a picture": sum(pictures.values()),
        "distinct pictures of edits": len(pictures),
        "edits that share their picture with another": sum(n for n in pictures.values() if n > 1),
        "distinct prompts": len(prompts),
        "edits with the most frequent prompt": max(prompts.values()),
        "distinct answers": len({edit.target for edit in edits}),
        "characters of the longest answer": max(len(edit.target) for edit in edits),
        "answers with a line break": sum("\n" in edit.target.strip() for edit in edits),
        "answers with a space or line break at an edge": sum(edit.target != edit.target.strip() for edit in edits),
        "answers that stand in their own question": sum(_in_question(edit) for edit in edits),
    }
    return found | _of_probes(stream)


def _of_probes(stream: Stream) -> dict[str, int]:
    probes = [(edit, probe) for edit in stream.edits for probe in stream.probes(edit.id)]
    kinds = Counter(_kind(probe) for _, probe in probes)
    others = {(p.query.image.digest if p.query.image else "") for _, p in probes}
    return {
        "probes": len(probes),
        **dict(sorted(kinds.items())),
        "distinct pictures of all": len(others - {""}),
        "generality probes that repeat their edit's question": sum(
            p.axis == "generality" and p.query == e.query for e, p in probes
        ),
        "probes of what should stay whose answer is their edit's": sum(
            p.reference == "baseline" and e.target.casefold() in {a.casefold() for a in p.answers} for e, p in probes
        ),
        "general questions": len(stream.general),
    }


def _kind(probe: Probe) -> str:
    against = "as before" if probe.reference == "baseline" else "its answer"
    hops = f", {probe.hops} hops" if probe.hops > 1 else ""
    return f"  {probe.axis}, {probe.modality}, {probe.variant or 'no variant'}{hops}: {against}"


def _in_question(edit: Edit) -> bool:
    told = edit.target.strip().casefold()
    return bool(told) and told in edit.query.prompt.casefold()
