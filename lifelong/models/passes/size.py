"""How large a model is: its bytes, its width, and how many of its weights editing methods may change.

Knows a model's parameters and where its decoder layers are; nothing of editors.
"""

from __future__ import annotations

from dataclasses import dataclass

from torch import nn

from lifelong.models.passes.structure import Structure


@dataclass(frozen=True)
class ModelSize:
    """What a run notes of its model once, so that numbers of edits and bytes of banks can be told per model.

    `editable_weights` are the numbers in the matrices of the decoder's layers: what published methods edit. Norms,
    biases, embeddings, the head and the vision side are none. `model_bytes` are those of all parameters as they are
    loaded, tied ones once; `width` is that of the decoder's states.
    """

    editable_weights: int
    model_bytes: int
    width: int


def size_of_model(model: nn.Module, structure: Structure) -> ModelSize:
    """Return the size of a model; called once for each run, and computes nothing with the model."""
    matrices = (p for p in structure.layers.parameters() if p.dim() >= 2)
    width = int(structure.embedding.weight.shape[1])  # type: ignore[arg-type]
    in_bytes = sum(p.numel() * p.element_size() for p in model.parameters())
    return ModelSize(sum(p.numel() for p in matrices), in_bytes, width)
