"""How weights are read: in which type by default, to where, quantised, or not at all."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
import torch

from lifelong.models.folders.check import ModelError
from lifelong.models.loading import digest_of_folder
from lifelong.models.tiny import tiny_model, tiny_processor
from lifelong.models.vlm import VLM
from lifelong.models.weights import WeightReading, dtype_named, parameters_in, reading_arguments
from lifelong.running.config import load_config
from lifelong.running.words import ConfigError


@pytest.fixture(scope="module")
def saved(tmp_path_factory) -> Path:
    folder = tmp_path_factory.mktemp("tiny")
    processor = tiny_processor()
    tiny_model(processor).save_pretrained(folder, max_shard_size="100KB")
    processor.save_pretrained(folder)
    return folder


def header_only(path: Path, numbers: int) -> None:
    header = json.dumps({"w": {"dtype": "BF16", "shape": [numbers // 1000, 1000], "data_offsets": [0, 0]}}).encode()
    path.write_bytes(len(header).to_bytes(8, "little") + header)


def test_a_large_model_is_read_in_bfloat16_unless_a_type_is_named(saved, tmp_path) -> None:
    assert parameters_in(saved) == sum(p.numel() for p in tiny_model(tiny_processor()).state_dict().values())
    assert dtype_named(saved, "auto") == "float32" and VLM.load(str(saved)).embeddings().dtype == torch.float32
    for i, numbers in enumerate((6 * 10**8, 6 * 10**8)):  # two shards
        header_only(tmp_path / f"{i}.safetensors", numbers)
        assert dtype_named(tmp_path, "auto") == ("float32", "bfloat16")[i]
    assert dtype_named(tmp_path, "float32") == "float32"
    with pytest.raises(ValueError, match="expected one of auto, float32"):
        dtype_named(tmp_path, "half")


def test_weights_go_straight_to_their_device() -> None:
    assert reading_arguments("bfloat16", "cuda:1", WeightReading())["device_map"] == {"": "cuda:1"}
    assert reading_arguments("bfloat16", "cuda", WeightReading(device_map="auto"))["device_map"] == "auto"
    assert "device_map" not in reading_arguments("float32", "cpu", WeightReading())


@pytest.mark.parametrize(
    "device, how, said",
    [
        ("cpu", {"quantization": "4bit"}, "needs an NVIDIA GPU, which device=cpu is not"),
        ("cuda", {"quantization": "8bit"}, r"pip install \"lifelong-edit\[quantized\]\""),
        ("cpu", {"device_map": "auto"}, "for several accelerators; device=cpu is none"),
    ],
)
def test_what_cannot_be_had_here_is_one_line(device, how, said) -> None:
    with pytest.raises(ModelError, match=said) as error:
        reading_arguments("float32", device, WeightReading(**how))
    assert "\n" not in str(error.value)


def test_what_changes_numbers_is_in_the_digest_and_where_weights_lie_is_not(saved) -> None:
    plain = VLM.load(str(saved))
    eager = VLM.load(str(saved), how=WeightReading(attn_implementation="eager"))
    assert plain.digest == digest_of_folder(saved, "float32")
    assert len({plain.digest, eager.digest, digest_of_folder(saved, "float32", ["quantization=4bit"])}) == 3
    assert eager.model.config.get_text_config()._attn_implementation == "eager"
    assert WeightReading(device_map="auto", empty=True).words == []


def test_a_model_without_its_weights_is_the_same_but_for_them(saved) -> None:
    whole, empty = VLM.load(str(saved)), VLM.load(str(saved), how=WeightReading(empty=True))
    assert empty.empty and not whole.empty and empty.home == whole.device
    one, other = ((v.digest, v.layers, v.width, v.end_id) for v in (whole, empty))
    assert one == other
    assert empty.memory == whole.memory
    (saved / "model.safetensors.index.json").rename(saved / "kept.json")
    with pytest.raises(ModelError):  # what is wrong with a folder is said without its weights, too
        VLM.load(str(saved), how=WeightReading(empty=True))
    (saved / "kept.json").rename(saved / "model.safetensors.index.json")


def test_the_words_of_a_run_say_how_its_model_is_read(saved) -> None:
    config = load_config(None, {"model": {"name": str(saved), "attn_implementation": "eager"}})
    assert config.model.options == {"attn_implementation": "eager"} and config.dtype == "auto"
    with pytest.raises(ConfigError, match="quantization"):
        load_config(None, {"model": str(saved), "model.quantization": "3bit"})
    with pytest.raises(ConfigError, match="there is no such key"):
        load_config(None, {"model": "atlas", "model.quantization": "4bit"})
