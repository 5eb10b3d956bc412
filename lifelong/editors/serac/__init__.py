"""SERAC: edits kept in words, a scope classifier that reads words only, a counterfactual model (arXiv 2206.06520).

Knows queries and edits; nothing of probes, clocks or panels. Says only what sets it apart from other memories behind
a scope classifier (`editing.scope.memory`): its classifier never sees a picture.
"""

from __future__ import annotations

from lifelong.editing.scope.memory import ScopeMemory, ScopeOptions


class SeracOptions(ScopeOptions):
    """Settings of SERAC; the defaults are the paper's where `ScopeOptions` names no other value."""


class Serac(ScopeMemory):
    """Semi-parametric editing with a retrieval-augmented counterfactual model (arXiv 2206.06520), scope by text only.

    An expert is a stored edit's words, which the counterfactual model reads before the query. Routing (sections 3.1
    and 3.3): z = A(E(words)), of prompt and target for an edit, of the prompt for a query; beta = max rho with
    rho = exp(-||z_edit - z_query||^2), and the nearest edit answers where beta > 0.5, else the base. Trained by
    `fit`: the head A (binary cross-entropy) and the counterfactual model (likelihood of answers in scope).

    Keys are (N, width) float32 and never encoded again: 4 width bytes and the edit's words (about 0.6 KiB in all)
    per edit; a query costs one text encoding, N width multiplications and, in scope, a pass with a longer prompt.

    Deviations. The encoder E is frozen and only a head on its mean is trained (paper: a whole DistilBERT): cheaper,
    and coarser about single words. The target's words pass a linear map of their own, so that an edit's key starts
    as its prompt's. The counterfactual model is a trained copy of the base's last layers (MMEdit's MiniGPT-4 form,
    with a larger share of a small base) that reads the edit as told by `template` and the query with its picture.
    Training also counts the questions of other edits as out of scope (the paper samples such pairs as well), but none
    that words cannot tell. `mixing="soft"` is MMEdit's released form, the mixture log[(1 - rho) base + rho
    counterfactual] for every query; the paper switches. Pictures never count, as published: another picture under
    the same words gets the edit's answer, and of several edits in the same words the nearest key, ties to the first
    stored, answers for all.
    """

    Options = SeracOptions
    searched = {**ScopeMemory.searched, "encoder": ("base", "minilm")}
    options: SeracOptions
