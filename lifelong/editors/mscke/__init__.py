"""MSCKE: a memory of edits behind a scope classifier that reads words and pictures (arXiv 2411.12790).

Knows queries and edits; nothing of probes, clocks or panels. Says only what sets it apart from other memories behind
a scope classifier (`editing.scope.memory`): what its classifier sees and how it fuses the two.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any, Literal

from pydantic import Field

from lifelong.editing.contract import EncoderName
from lifelong.editing.scope.classifier import Fusion
from lifelong.editing.scope.counterfactual import Counterfactual
from lifelong.editing.scope.counterfactual_mend import CounterfactualMend
from lifelong.editing.scope.memory import ScopeMemory, ScopeOptions
from lifelong.editing.settled import unused
from lifelong.editing.weights.gradient_transform import TransformTraining

if TYPE_CHECKING:
    from lifelong.models.vlm import VLM


class MsckeOptions(ScopeOptions):
    """Settings of MSCKE; the defaults are the paper's where `ScopeOptions` names no other value."""

    fusion: Fusion = Field("dot", description="how words and picture become one key; text: the picture is left out")
    counterfactual: Literal["trained", "context", "mend"] = Field(
        "trained",
        description="what answers in scope: a trained copy of the last layers, the base reading the edit, or the base"
        " with the edit's own weight change by MEND",
    )
    mend_layer: float = Field(0.906, ge=0, le=1, description="depth of the lowest layer MEND changes; 29 of 32")
    mend_learning_rate: float = Field(1e-3, gt=0, description="of MEND's transforms (published 1e-6, 30,000 steps)")
    image_encoder: EncoderName = Field(
        default="base",
        description="frozen image encoder: base (the tokens the model sees) or path:FOLDER (one vector)",
    )


class Mscke(ScopeMemory):
    """Multimodal scope classifier for knowledge editing (arXiv 2411.12790).

    An expert is a stored edit's words, which the counterfactual model reads before the query and its picture.
    Routing: h = A(E(.)) for words t and picture patches I, z = Fusion(t, I), rho = exp(-||z_edit - z_query||^2); the
    nearest edit answers where rho > 0.5, else the base. Fusion: `dot` z = [t; softmax(t I^T) I], `concatenation`
    z = [t; mean I], `cross-attention` with trained projections, `text` z = t. A query without a picture has zeros
    there. Trained by `fit`: both heads A (binary cross-entropy, words and pictures of questions in and out of scope)
    and the counterfactual model (likelihood of answers in scope).

    Keys are (N, 2 width) float32 and never encoded again: 8 width bytes and the edit's words (about 1.1 KiB in all)
    per edit; a query costs one encoding of its words and picture, 2 N width multiplications and, in scope, a pass
    with a longer prompt. With `counterfactual="mend"` (MSCKE-MEND) an expert is MEND's weight change of one edit
    (arXiv 2110.11309), taken at the base and never added to another's: it keeps (tokens, in + out) floats per matrix,
    some hundred KiB an edit, and a query in scope costs two thin products per matrix instead of a longer prompt.

    Deviations. The released `dot` attends over the pictures of all items in the call, so with one cached edit it is
    plain concatenation and with more every key holds the others' pictures: keys move as the bank grows (an edit's
    rho with its own key falls from 1 to below 0.5 within a few edits) and all are encoded again for every query.
    Here a key attends over the patches of its own picture only; with one vector per picture (`image_encoder=path:`,
    the paper's CLIP) that is concatenation, as in the paper's evaluation of single edits. The encoders E are frozen
    (the paper tunes CLIP). A picture's patches carry their place, so that "the picture on the left" can be told.
    The target's words, the copy as counterfactual model and the further out-of-scope pairs are as in the class's
    options and `fit_scope`: an edit's key starts as its prompt's, the copy trains a larger share of a small base than
    the published last layer, and other edits' questions count as out of scope, without which a bank of many edits is
    never told apart.
    """

    Options = MsckeOptions
    append_only = True
    options: MsckeOptions

    def _reads(self) -> tuple[Fusion, str | None]:
        return self.options.fusion, self.options.image_encoder

    @classmethod
    def settles(cls, options: MsckeOptions, vlm: VLM) -> ScopeOptions:
        """Return the options without those of a picture that is not read, and of MEND where it is not inside."""
        off = set() if options.counterfactual == "mend" else {"mend_layer", "mend_learning_rate"}
        off |= {"image_encoder"} if options.fusion == "text" else set()
        return unused(super().settles(options, vlm), off)

    @classmethod
    def fit_options(cls, options: MsckeOptions) -> Mapping[str, Any]:
        """Return the options that decide what `fit` learns; MEND's only where it is inside."""
        mends = {} if options.counterfactual == "mend" else {"mend_layer", "mend_learning_rate"}
        return {k: v for k, v in super().fit_options(options).items() if k not in mends}

    def _counterfactual(self) -> Counterfactual:
        o = self.options
        if o.counterfactual != "mend":
            return super()._counterfactual()
        how = TransformTraining(
            learning_rate=o.mend_learning_rate, rate_learning_rate=o.mend_learning_rate, steps=o.steps,
            batch=max(2, o.answer_batch // 2),
        )  # fmt: skip
        return CounterfactualMend(
            self.vlm, depth=o.mend_layer, rank=0.127, rate=1e-4, how=how, seed=self.seed, what=self._name
        )
