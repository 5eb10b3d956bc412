"""LLaVA-1.5 with several end tokens, of which the first is not the one that its template writes."""

from __future__ import annotations

from dataclasses import replace

from lifelong.models.families.building import Parts, turns
from lifelong.models.families.family_llava import llava_parts


def make_llava_ends() -> Parts:
    """Return the model; answers end at <pad>, at </s> and at an A, and its template ends a turn with </s>."""
    template = turns(
        ask="USER: ", asked=" ", answer="ASSISTANT: ", answered="</s>", image="<image>\n",
        answer_begins="ASSISTANT:", images_first=True,
    )  # fmt: skip
    parts = llava_parts(ends=[3, 2, 38])
    return replace(parts, template=template)
