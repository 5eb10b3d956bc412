"""Claims about what is editable of a model, and what a run notes of it."""

from __future__ import annotations

from pathlib import Path

from runs_alike import SMALL

import lifelong
from lifelong.log import RunLog
from lifelong.models.passes.size import size_of_model
from lifelong.models.tiny import tiny_vlm


def test_editable_are_the_matrices_of_decoder_layers_alone() -> None:
    vlm = tiny_vlm()
    text = vlm.model.config.text_config
    width, inner, heads = text.hidden_size, text.intermediate_size, text.num_attention_heads
    shared = text.num_key_value_heads * width // heads
    layer = 2 * width * width + 2 * width * shared + 3 * width * inner
    size = size_of_model(vlm.model, vlm.structure)
    assert size.editable_weights == vlm.layers * layer
    assert size.width == width


def test_tied_weights_count_once_in_the_bytes() -> None:
    vlm = tiny_vlm()
    distinct = {p.data_ptr(): p.numel() * p.element_size() for p in vlm.model.parameters()}
    assert size_of_model(vlm.model, vlm.structure).model_bytes == sum(distinct.values())


def test_a_run_notes_its_models_size_once(tmp_path: Path) -> None:
    folder = lifelong.run(**{**SMALL, "edits": 1, "panels": [1]}, out=str(tmp_path / "o"), quiet=True)
    vlm = tiny_vlm()
    said = RunLog.open(folder).manifest["model_size"]
    assert said == vars(size_of_model(vlm.model, vlm.structure))
