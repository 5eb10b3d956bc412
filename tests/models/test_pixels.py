"""Claims about pictures in batches: no more of them than a budget is held, which changes no number, and none is too
large for the model."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from PIL import Image

from lifelong.models.prompts.pixels import PIXEL_BYTES, groups
from lifelong.models.prompts.quirk_atlas import MAX_TILES, AtlasQuirk
from lifelong.models.tiny import noise_image, tiny_processor, tiny_vlm
from lifelong.models.vlm import VLM
from streams.pictures.images import open_image
from streams.types import ImageError, ImageRef, Prompt, Query

NAMES = "abcdefghij"
REFS = [ImageRef(f"noise:{name}", name) for name in NAMES]
QUESTIONS = [Query(f"What is {ref.digest}?", ref) for ref in REFS]
EACH = 3 * 32 * 32 * 4  # bytes of the pixel values of one picture of the tiny model


def scores(vlm: VLM) -> list[np.ndarray]:
    return [scored.logprobs for scored in vlm.score(QUESTIONS, ["x"] * len(QUESTIONS))]


def spied(vlm: VLM) -> list[int]:
    """How many pictures pass the vision side together, each time."""
    seen: list[int] = []
    vlm.model.model.vision_tower.register_forward_hook(lambda m, a, out: seen.append(len(out.last_hidden_state)))
    return seen


def test_groups_keep_order_and_budget() -> None:
    assert list(groups([5, 5, 5, 50, 1, 1, 1], int, 10)) == [[5, 5], [5], [50], [1, 1, 1]]
    assert list(groups([1] * 5, int, 10, most=2)) == [[1, 1], [1, 1], [1]]
    assert list(groups([], int, 10)) == []


def test_a_group_is_given_before_what_follows_it_is_opened() -> None:
    opened: list[int] = []
    source = (opened.append(n) or n for n in range(100))
    next(groups(source, lambda _: 1, 3))
    assert len(opened) == 4


@pytest.mark.parametrize("way", ["whole processor", "image processor", "exchanged vision", "no features"])
def test_a_small_budget_of_pixels_gives_the_same_scores(way: str) -> None:
    """However the pictures reach the model; the batches are smaller."""
    found, widest = [], []
    for budget in (PIXEL_BYTES, 2 * EACH):
        vlm = tiny_vlm(2)
        vlm.reader.pixel_bytes = budget
        if way == "image processor":
            vlm.reader.read([Prompt((ImageRef("noise:first", "first"), "Who?"))])
            vlm.reader.alone = True
        vlm.reader.keeps_features = way != "no features"
        seen = spied(vlm)
        name, parameter = next(iter(vlm.model.model.vision_tower.named_parameters()))
        changed = {vlm.name_of(parameter): parameter.detach() * 1.5} if way == "exchanged vision" else {}
        with vlm.swap(changed):
            found.append(scores(vlm))
        widest.append(max(seen))
    assert all(np.allclose(one, other, atol=1e-5) for one, other in zip(*found, strict=True))
    assert widest[0] == len(REFS) and widest[1] <= 2


def test_features_that_were_lost_are_computed_within_the_budget() -> None:
    vlm = tiny_vlm(2)
    prompts = [Prompt.of(q) for q in QUESTIONS]
    encoded = vlm.reader.read(prompts)
    expected = vlm.reader.features(prompts, encoded)
    vlm.cache.clear()
    vlm.reader.pixel_bytes, seen = 3 * EACH, spied(vlm)
    found = vlm.reader.features(prompts, encoded)
    assert max(seen) == 3 and seen == [3, 3, 3, 2] and len(REFS) == 10  # the last one is seen twice
    assert all(torch.allclose(one, other, atol=1e-5) for one, other in zip(found, expected, strict=True))


def test_opened_pictures_of_any_size_are_held_within_the_budget() -> None:
    """Large photos go to the image processor two at a time, small ones as many as there are."""
    vlm = tiny_vlm(2)
    vlm.reader.alone = True
    vlm.reader.open_image = lambda ref: noise_image(ref).resize((500, 400))
    vlm.reader.pixel_bytes = 2 * 4 * 500 * 400
    seen = spied(vlm)
    scores(vlm)
    assert seen == [2] * 5


def test_an_encoder_from_a_folder_opens_pictures_within_the_budget(tmp_path: Path) -> None:
    from transformers import CLIPVisionConfig, CLIPVisionModel

    from lifelong.models.encoders import image_encoder

    shape: dict[str, Any] = {"hidden_size": 16, "intermediate_size": 16, "num_hidden_layers": 1}
    CLIPVisionModel(CLIPVisionConfig(num_attention_heads=1, image_size=32, patch_size=16, **shape)).save_pretrained(
        tmp_path
    )
    tiny_processor().image_processor.save_pretrained(tmp_path)  # type: ignore[attr-defined]
    vlm, seen = tiny_vlm(2), []
    encoder: Any = image_encoder(f"path:{tmp_path}", vlm)
    rows = encoder.encode(REFS)
    vlm.cache.clear()
    vlm.reader.pixel_bytes, embed = 3 * 4 * 32 * 32, encoder._embed
    encoder._embed = lambda images: (seen.append(len(images)), embed(images))[1]
    assert np.allclose(encoder.encode(REFS), rows, atol=1e-6)
    assert seen == [3, 3, 3, 1]


def test_a_very_wide_picture_is_refused_before_it_is_cut() -> None:
    quirk = AtlasQuirk()
    assert len(quirk.tiles(Image.new("RGB", (MAX_TILES * 8, 8)))) == MAX_TILES
    with pytest.raises(ImageError, match=f"10000 x 1 pixels are 10000 squares.*{MAX_TILES} at most"):
        quirk.tiles(Image.new("RGB", (10000, 1)))


def test_a_picture_that_the_model_cannot_take_is_named(tmp_path: Path) -> None:
    from streams.pictures.images import file_ref

    Image.new("RGB", (99 * 4, 4), "red").save(tmp_path / "pano.png")
    assert open_image(file_ref(tmp_path, "pano.png")).size == (396, 4)
    with pytest.raises(ImageError, match=r"^Image file:pano\.png: 396 x 4 pixels are 99 squares"):
        VLM.load("atlas").score([Query("What?", file_ref(tmp_path, "pano.png"))], ["x"])


def test_pictures_of_more_tokens_than_the_context_are_named_with_number_and_limit() -> None:
    vlm = tiny_vlm(2)
    vlm.reader._context = 8
    vlm.score(QUESTIONS[:1], ["x"])
    with pytest.raises(ImageError, match="^Image noise:a and noise:b: 8 tokens of this model, whose context has 8"):
        vlm.score([Prompt((*REFS[:2], "Which?"))], ["x"])
