"""Which weights of a model an editor changes (a region: decoder layers, or the connector of the vision side), and
the running values of those weights.

MMEdit's region study (arXiv 2310.08475) edits either side of one model: `module=language|vision`. Knows the model and
questions with their answers; nothing of particular editors, routing or probes.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable, Mapping, Sequence
from contextlib import AbstractContextManager
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
import torch
from torch import Tensor, nn

from lifelong.editing.contract import CollapseError
from lifelong.editing.ops import NotFiniteError, answer_losses, bytes_of, descend, editable, finite, weight_of
from lifelong.models.passes.layout import Hidden
from streams.types import Edit, Query

if TYPE_CHECKING:
    from lifelong.models.vlm import VLM

EXPLODED = 100.0
"""Weights whose norm is this many times that of the base's have exploded: such a model says nothing any more."""

ABOUT = "language, vision (the connector), a part of a decoder layer such as mlp.down_proj, or vision.NAME"


@dataclass(frozen=True)
class Region:
    """Modules by name, and the lowest decoder layer they lie in; `layer` is None on the vision side."""

    vlm: VLM
    modules: Mapping[str, nn.Module]
    layer: int | None

    def reaches(self, query: Query) -> bool:
        """Whether the region takes part in an answer: the vision side does not without a picture."""
        return self.layer is not None or query.image is not None

    def linear(self) -> dict[str, nn.Linear]:
        """Return the modules with a weight of two dimensions; raises `ValueError` when there is none."""
        found = {n: m for n, m in self.modules.items() if isinstance(m, nn.Linear)}
        if not found:
            raise ValueError(f"No linear module in {', '.join(self.modules)}; set editor.module to one with some.")
        return found

    def passed_over(self, edits: Sequence[Edit]) -> dict[str, str]:
        """Return by id why edits cannot be learnt here, of those that cannot."""
        why = "no picture: the vision side takes no part in its answer"
        return {e.id: why for e in edits if not self.reaches(e.query)}

    def parameters(self) -> dict[str, nn.Parameter]:
        """Return what fine-tuning tunes, by name: matrices of decoder layers, everything of the vision side."""
        if self.layer is not None:
            return {self.vlm.name_of(p): p for p in map(weight_of, self.modules.values())}
        return {self.vlm.name_of(p): p for m in self.modules.values() for p in m.parameters(recurse=False)}

    def questions(self, queries: Sequence[Query], targets: Sequence[str]) -> RegionQuestions:
        """Return questions with their answers, ready to be answered again and again while the region changes."""
        if self.layer is None:
            ids = tuple(np.array(self.vlm.target_ids(t), dtype=np.int32) for t in targets)
            return RegionQuestions(self.vlm, tuple(queries), tuple(targets), None, ids)
        hidden = self.vlm.hidden(queries, self.layer, targets)
        return RegionQuestions(self.vlm, tuple(queries), tuple(targets), hidden, hidden.target_ids)


@dataclass(frozen=True)
class RegionQuestions:
    """Questions with their answers; above a decoder layer the layers below it have been run already."""

    vlm: VLM
    queries: tuple[Query, ...]
    targets: tuple[str, ...]
    hidden: Hidden | None
    target_ids: tuple[np.ndarray, ...]

    def logits(self, *, grad: bool) -> list[Tensor]:
        """Return the logits (m, vocab) of each answer's m tokens with the weights and hooks of this moment."""
        if self.hidden is None:
            return self.vlm.answer_logits(self.queries, self.targets, grad=grad)
        return self.vlm.resume(self.hidden, grad=grad, answers_only=True)

    def losses(self) -> Tensor:
        """Return each answer's mean negative log-likelihood (rows,), with its graph."""
        return answer_losses(self.logits(grad=True), self.target_ids)


def find_region(vlm: VLM, module: str, layers: Iterable[int], language: Sequence[str]) -> Region:
    """Return the region a setting names: see `ABOUT`; `language` are the parts of a layer that the word stands for.

    Raises `ValueError` with near names for a part that does not exist.
    """
    if on_vision(module):
        return Region(vlm, _vision_modules(vlm, module.partition(".")[2]), None)
    chosen, prefix = sorted(layers), vlm.structure.layers_name
    parts = language if module == "language" else (module,)
    found = {f"{prefix}.{i}.{part}": vlm.submodule(i, part) for i in chosen for part in parts}
    return Region(vlm, found, chosen[0])


def on_vision(module: str) -> bool:
    """Return whether a setting names the vision side, where a layer of the decoder means nothing."""
    return module.split(".")[0] == "vision"


def unread_of_region(module: str) -> set[str]:
    """Return which options of an editor of several layers are unread: only `language` reads `targets`."""
    return {"targets", "first_layer"} if on_vision(module) else set() if module == "language" else {"targets"}


def layers_from(vlm: VLM, fraction: float) -> range:
    """Return the decoder layers from a fraction of the depth to the last."""
    return range(vlm.layer_at(fraction), vlm.layers)


def _vision_modules(vlm: VLM, name: str) -> dict[str, nn.Module]:
    """Return the modules with parameters of their own below a name, or of the connector where none is given."""
    language = vlm.structure.language_name
    sides: dict[str, dict[str, nn.Module]] = {}
    for path, module in vlm.model.named_modules():
        outside = path and not (path + ".").startswith(language + ".") and not (language + ".").startswith(path + ".")
        if language and outside and module is not vlm.structure.head and any(True for _ in module.parameters(False)):
            sides.setdefault(_beside(path, language), {})[path] = module
    every = {path: m for part in sides.values() for path, m in part.items()}
    if name:
        found = {path: m for path, m in every.items() if f".{name}." in f".{path}."}
        if not found:
            raise ValueError(f"The vision side has no part {name!r}. Parts: {', '.join(every) or 'none'}.")
        return found
    if not sides:
        raise ValueError(f"module=vision: {vlm.name} has no modules outside its language model {language!r}.")
    # The tower is the largest part, the connector all others; a tower that holds its connector ends with it.
    tower = max(sides, key=lambda part: sum(p.numel() for m in sides[part].values() for p in m.parameters(False)))
    rest = {path: m for part, modules in sides.items() if part != tower for path, m in modules.items()}
    if rest:
        return rest
    last = list(sides[tower])[-1].removeprefix(tower + ".").split(".")[0]
    return {path: m for path, m in sides[tower].items() if path.removeprefix(tower + ".").split(".")[0] == last}


def _beside(path: str, language: str) -> str:
    """Return the part of the model that holds a module and not the language model: the name up to where they part.

    >>> _beside("model.vision_tower.layers.3", "model.language_model")
    'model.vision_tower'
    >>> _beside("qformer.norm", "language_model.model")
    'qformer'
    """
    own, theirs = path.split("."), language.split(".")
    shared = next((i for i, (a, b) in enumerate(zip(own, theirs, strict=False)) if a != b), len(theirs))
    return ".".join(own[: shared + 1])


class RunningWeights:
    """The values that some parameters have by now: the base's before the first edit. The model is left alone.

    `now` are float32 whatever the model's type: what is added up over thousands of edits, and what an optimiser
    steps, would be rounded away in half precision. The model is served what they are in its own type.
    """

    def __init__(self, vlm: VLM, parameters: Mapping[str, nn.Parameter]) -> None:
        self.vlm = vlm
        self.base = {name: editable(name, p).detach() for name, p in parameters.items()}
        self.now: dict[str, Tensor] = {name: p.float().clone() for name, p in self.base.items()}
        self._served = self.served(self.now)
        self.changes = 0  # how often new values were others than those before

    def served(self, values: Mapping[str, Tensor]) -> dict[str, Tensor]:
        """Return float32 values in the model's type, with their graph; the same tensors where that is float32."""
        return {name: value.to(self.base[name].dtype) for name, value in values.items()}

    def swapped(self, values: Mapping[str, Tensor] | None = None) -> AbstractContextManager[None]:
        """Put the running values (or other float32 ones) in the place of the base's while the context lasts."""
        return self.vlm.swap(self._served if values is None else self.served(values))

    def take(self, values: Mapping[str, Tensor], what: str) -> None:
        """Go on with new float32 values; raises what `require_sound` raises, and then nothing has changed."""
        new = {name: values[name].detach() for name in self.base}
        served = self.served(new)
        require_sound(new, self.base, what)
        if not all(finite(value) for name, value in served.items() if value is not new[name]):
            raise NotFiniteError(f"{what}: a weight is too large for the model's numbers.")
        self.changes += not all(torch.equal(new[name], old) for name, old in self.now.items())
        self.now, self._served = new, served

    def nbytes(self) -> int:
        """Return the bytes of the running values."""
        return bytes_of(self.now.values())

    def load(self, tensors: Mapping[str, Tensor]) -> None:
        """Go on from saved values."""
        self.now = {n: tensors[n].to(base.device, torch.float32).clone() for n, base in self.base.items()}
        self._served = self.served(self.now)


def fine_tune(
    region: Region,
    weights: RunningWeights,
    edits: Sequence[Edit],
    optimizer_of: Callable[[list[Tensor]], torch.optim.Optimizer],
    *,
    steps: int,
    stop_loss: float,
    what: str,
    norm: float | None = None,
) -> dict[str, str]:
    """Descend on the answers of a batch of edits from the running values, and go on with what comes out.

    Edits that the region does not reach are passed over, and returned with the reason. `norm` bounds the change of
    every element against the base. A collapse raises `CollapseError` and changes nothing.
    """
    reached = [e for e in edits if region.reaches(e.query)]
    if not reached:
        return region.passed_over(edits)
    questions = region.questions([e.query for e in reached], [e.target for e in reached])
    values = {name: w.clone().requires_grad_() for name, w in weights.now.items()}

    def loss_of() -> Tensor:
        with weights.swapped(values):
            return questions.losses().mean()

    def project() -> None:
        if norm is not None:
            with torch.no_grad():
                for name, value in values.items():
                    base = weights.base[name].float()
                    value.copy_(torch.clamp(value, base - norm, base + norm))

    what = f"{what}, edit {', '.join(e.id for e in reached)}"
    optimizer = optimizer_of(list(values.values()))
    descend(
        optimizer, loss_of, steps=steps, done=lambda loss: loss < stop_loss, what=what, vlm=region.vlm, after=project
    )
    weights.take(values, what)
    return region.passed_over(edits)


def relative_change(now: Mapping[str, Tensor], base: Mapping[str, Tensor]) -> tuple[float, int]:
    """Return the norm of the change of all matrices over that of the base's (both Frobenius), and their number.

    >>> relative_change({"w": torch.tensor([[3.0, 0.0]]), "bias": torch.ones(2)}, {"w": torch.tensor([[4.0, 0.0]])})
    (0.25, 1)
    """
    pairs = [(now[name].float(), before.float()) for name, before in base.items() if before.ndim == 2]
    gone = math.fsum(float((w - before).square().sum(dtype=torch.float64)) for w, before in pairs)
    size = math.fsum(float(before.square().sum(dtype=torch.float64)) for _, before in pairs)
    return math.sqrt(gone) / max(math.sqrt(size), 1e-30), len(pairs)


def require_sound(values: Mapping[str, Tensor], base: Mapping[str, Tensor], what: str) -> None:
    """Raise `NotFiniteError` or `CollapseError` that names `what` when weights are not finite or have exploded."""
    if not all(map(finite, values.values())):
        raise NotFiniteError(f"{what}: a weight is not finite.")
    size, usual = (float(sum(v.float().square().sum() for v in side.values())) ** 0.5 for side in (values, base))
    if size > EXPLODED * usual:
        raise CollapseError(
            f"{what}: the weights have exploded (norm {size:.3g}, the base's {usual:.3g}; {EXPLODED:.0f} times is"
            " the limit)."
        )
