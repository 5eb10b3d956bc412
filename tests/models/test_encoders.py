"""Encoders of texts and pictures see the frozen base and give vectors of length one."""

from __future__ import annotations

import numpy as np
import pytest

from lifelong.models.vlm import VLM
from streams.types import ImageRef


def test_encoders_are_normalised_and_belong_to_the_frozen_base(tiny_vlm: VLM) -> None:
    """Equal texts or pictures have cosine 1, others less; a changed model does not leave its mark in the cache."""
    from lifelong.models.encoders import image_encoder, text_encoder

    text, image = text_encoder("base", tiny_vlm), image_encoder("base", tiny_vlm)
    rows = text.encode(["Which fox?", "Which fox?", "Name the capital of Peru."])
    assert rows.dtype == np.float32 and np.allclose((rows**2).sum(1), 1, atol=1e-5)
    assert rows[0] @ rows[1] == pytest.approx(1, abs=1e-5) and rows[0] @ rows[2] < 0.9
    pictures = image.encode([ImageRef("noise:a", "a"), ImageRef("noise:b", "b")])
    assert pictures.shape == (2, tiny_vlm.width) and pictures[0] @ pictures[1] < 0.99
    with tiny_vlm.hook(tiny_vlm.decoder_layer(0), lambda m, a, out, layout: out * -1):
        text.encode(["A new text."])
    fresh = text_encoder("base", tiny_vlm).encode(["A new text."])
    assert np.allclose(text.encode(["A new text."]), fresh)
    with pytest.raises(ValueError, match="base, minilm"):
        text_encoder("minilmm", tiny_vlm)
    with pytest.raises(FileNotFoundError, match=r"config\.json"):
        text_encoder("path:nowhere", tiny_vlm)
