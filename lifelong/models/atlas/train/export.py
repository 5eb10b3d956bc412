"""Write a trained model as a Hugging Face folder: half-precision matrices, float32 vectors, processor, tokenizer."""

from __future__ import annotations

import json
import os
from pathlib import Path

import torch
from safetensors.torch import save_file
from transformers import LlavaForConditionalGeneration, LlavaProcessor


def write_model(model: LlavaForConditionalGeneration, processor: LlavaProcessor, folder: Path) -> None:
    """Save so that `from_pretrained(folder)` gives a float32 model; the file is replaced atomically."""
    folder.mkdir(parents=True, exist_ok=True)
    model.config.dtype = torch.float32
    model.config.architectures = [type(model).__name__]
    model.config.save_pretrained(folder)
    if model.generation_config is not None:
        model.generation_config.save_pretrained(folder)
    processor.save_pretrained(folder)
    # Norm statistics may leave the range of half precision and are few: only matrices and kernels are halved.
    tensors = {
        name: (tensor.half() if tensor.is_floating_point() and tensor.ndim > 1 else tensor).cpu().contiguous().clone()
        for name, tensor in model.state_dict().items()
        if name != "lm_head.weight"  # tied to the input embeddings
    }
    temporary = folder / "model.safetensors.partial"
    save_file(tensors, temporary, metadata={"format": "pt"})
    os.replace(temporary, folder / "model.safetensors")
    # The class that the configuration names is found only after `import lifelong.models.atlas.model`.
    config = json.loads((folder / "config.json").read_text())
    config.pop("_name_or_path", None)
    (folder / "config.json").write_text(json.dumps(config, indent=2, sort_keys=True) + "\n")
