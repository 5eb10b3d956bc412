"""Where things are in any decoder-based model: its decoder layers, its head, and how deep a module lies.

Found by structure, not by name. Knows nothing about prompts, images or hooks.
"""

from __future__ import annotations

import inspect
from dataclasses import dataclass
from typing import Any

from torch import Tensor, nn

from lifelong.models.folders.check import ModelError, check_token
from lifelong.models.passes.roles import giving, taking

VISION = -2
EMBEDDING = -1


@dataclass(frozen=True)
class Structure:
    """The parts of a model: decoder layers, the name of their list and of the language model, final norm and head."""

    layers: nn.ModuleList
    layers_name: str
    language_name: str
    head: nn.Module | None
    embedding: nn.Module
    names: dict[int, str]
    norm: nn.Module | None = None

    def name(self, module: nn.Module) -> str:
        """Return the name of a part; of one in two modules `first+second`."""
        first, second = self.names[id(taking(module))], self.names[id(giving(module))]
        return first if first == second else f"{first}+{second.rpartition('.')[2]}"

    def depth(self, module: nn.Module) -> int:
        """Return how early a change in a module acts: vision side -2, embeddings -1, layer i, above = layers."""
        name = self.names.get(id(taking(module)))
        if name is None:
            raise ValueError(f"{type(module).__name__} is not a part of this model; take it from `vlm.submodule`.")
        if module is self.head and self.head is not self.embedding:
            return len(self.layers)
        inside = name == self.language_name or not self.language_name or name.startswith(self.language_name + ".")
        if name.startswith(self.layers_name + "."):
            return int(name[len(self.layers_name) + 1 :].split(".")[0])
        if not inside:
            # Modules that hold the language model (the whole model, say) come before everything too.
            return VISION
        rest = name[len(self.language_name) :].strip(".").split(".")
        return len(self.layers) if len(rest) == 1 and "norm" in rest[0] else EMBEDDING


def find_structure(model: nn.Module) -> Structure:
    """Find the decoder layers: the longest list of blocks of a kind in the smallest part that holds the embeddings.

    Raises `ValueError` that says what was found when there is none, `ModelError` for an encoder-decoder and for
    layers that attend to pictures.
    """
    names = {id(m): name for name, m in model.named_modules()}
    config: Any = model.config
    if any(getattr(c, "is_encoder_decoder", False) for c in (config, config.get_text_config())):
        raise ModelError(
            f"{type(model).__name__}: an encoder-decoder is not supported: edits act on a decoder that reads prompt"
            " and answer. Take a variant with a decoder alone, such as BLIP-2 on OPT."
        )
    embedding = model.get_input_embeddings()  # type: ignore[operator]
    path = names[id(embedding)].split(".")
    for cut in range(len(path) - 1, -1, -1):
        prefix = ".".join(path[:cut])
        lists = [
            (len(m), ".".join(filter(None, (prefix, name))), m)
            for name, m in model.get_submodule(prefix).named_modules()
            if isinstance(m, nn.ModuleList) and len(m) > 0 and _of_a_kind(m)
        ]
        # Lists inside a block (experts of a mixture, say) are longer at times but never the outermost.
        outer = [c for c in lists if not any(c[1].startswith(other[1] + ".") for other in lists if other is not c)]
        if outer:
            _, name, layers = max(outer, key=lambda c: c[0])
            crossing = next((i for i, m in enumerate(layers) if _attends_to_pictures(m)), None)
            if crossing is not None:
                raise ModelError(
                    f"{type(model).__name__}: decoder layer {crossing} attends to pictures (cross attention), which"
                    " is not supported: such a layer is passed over where a prompt has none."
                )
            head = model.get_output_embeddings()  # type: ignore[operator]
            norm = next((m for n, m in model.get_submodule(prefix).named_children() if "norm" in n), None)
            return Structure(layers, name, prefix, head, embedding, names, norm)
    found = sorted(name for name, m in model.named_modules() if isinstance(m, nn.ModuleList))
    raise ValueError(
        f"No decoder layers found in {type(model).__name__}: expected a list of equal layers beside the input"
        f" embeddings {'.'.join(path)!r}; module lists found: {found or 'none'}. Only decoder-based models work."
    )


def _of_a_kind(blocks: nn.ModuleList) -> bool:
    """Whether blocks are of one class, or of several that one family has for the layers of its decoder."""
    kinds = {type(block) for block in blocks}
    return len(kinds) == 1 or (len({k.__module__ for k in kinds}) == 1 and all("Layer" in k.__name__ for k in kinds))


def _attends_to_pictures(block: nn.Module) -> bool:
    """Whether a block attends to something else than the tokens before it: a cross attention of its own."""
    return any("cross" in name and "attn" in name for name, _ in block.named_children())


def first_of(args: tuple[Any, ...], kwargs: dict[str, Any]) -> Tensor:
    """Return the states that a module is called with."""
    return kwargs["hidden_states"] if "hidden_states" in kwargs else args[0]


def image_token_of(model: Any, processor: Any) -> int:
    """Return the id of the token that stands for a part of an image, -1 for a model without one."""
    found = getattr(model.config, "image_token_id", getattr(processor, "image_token_id", None))
    if found is None:
        return -1
    most = len(processor.tokenizer) if hasattr(processor, "tokenizer") else 1 << 31
    return check_token("config.json: image_token_id", found, max(most, model.get_input_embeddings().weight.shape[0]))


def keeps_every_token(config: Any) -> bool:
    """Whether the decoder keeps keys and values of every token that it has read: no layer has a window or a state."""
    from transformers import DynamicCache
    from transformers.cache_utils import DynamicLayer

    text = config.get_text_config()
    try:
        layers = DynamicCache(config=text).layers
    except Exception:  # a cache that cannot be described is not one that keeps every token
        return False
    return all(type(layer) is DynamicLayer for layer in layers) and not getattr(text, "sliding_window", None)


def sees_later(model: nn.Module, structure: Structure) -> bool:
    """Whether the decoder is given pictures beside the embeddings: features for deeper layers, cross attention."""
    language = model.get_submodule(structure.language_name)
    takes = [inspect.signature(part.forward).parameters for part in (language, *structure.layers)]
    return any(word in name for names in takes for name in names for word in _OF_PICTURES)


_OF_PICTURES = ("visual", "vision", "deepstack", "cross_attention", "image", "pixel")


def context_of(config: Any) -> int | None:
    """Return how many tokens a model was made to read at most, None where its configuration does not say."""
    most = getattr(config.get_text_config(), "max_position_embeddings", None)
    return int(most) if isinstance(most, int) and most > 0 else None
