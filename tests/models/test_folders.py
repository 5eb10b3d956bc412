"""Model folders of others: nothing of them is run or unpickled, nothing is missing, and every fault is one line."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import time
from collections.abc import Callable
from pathlib import Path

import pytest
import torch

from lifelong.models.folders import find
from lifelong.models.folders.check import WEIGHTS_FILE, ModelError, check_folder
from lifelong.models.folders.find import find_model
from lifelong.models.folders.template import check_template
from lifelong.models.loading import check_device, load_parts
from lifelong.models.tiny import TEMPLATE, tiny_vlm

IN_ANSWERS = "x{%% if messages | length > 1 %%}%s{%% endif %%}"
"""A template that does something where a conversation has an answer already."""


@pytest.fixture(scope="module")
def saved(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The tiny model as anybody would save one."""
    folder, vlm = tmp_path_factory.mktemp("models") / "tiny", tiny_vlm()
    vlm.model.save_pretrained(folder)
    vlm.processor.save_pretrained(folder)
    return folder


@pytest.fixture
def folder(saved: Path, tmp_path: Path) -> Path:
    """A copy that may be damaged."""
    return Path(shutil.copytree(saved, tmp_path / "m"))


def change(path: Path, **changes: object) -> None:
    path.write_text(json.dumps(json.loads(path.read_text()) | changes))


def tensors(folder: Path) -> dict[str, torch.Tensor]:
    from safetensors.torch import load_file

    return load_file(folder / WEIGHTS_FILE)


def save(folder: Path, weights: dict[str, torch.Tensor]) -> None:
    from safetensors.torch import save_file

    save_file(weights, folder / WEIGHTS_FILE, metadata={"format": "pt"})


def test_a_saved_model_answers_as_the_one_in_memory(saved: Path) -> None:
    from lifelong.models.vlm import VLM
    from streams.types import Query

    vlm = VLM.load(str(saved))
    assert vlm.name == "tiny"
    assert vlm.generate([Query("Who?")]) == tiny_vlm().generate([Query("Who?")])


def test_no_code_of_a_folder_is_run_whatever_standard_input_says(
    folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (folder / "evil.py").write_text(f"open({str(tmp_path / 'ran')!r}, 'w').write('ran')\n")
    auto = {"AutoConfig": "evil.C", "AutoModelForImageTextToText": "evil.M", "AutoProcessor": "evil.P"}
    change(folder / "config.json", auto_map=auto, model_type="evil", architectures=["M"])
    monkeypatch.setattr("builtins.input", lambda *_: "y")
    with pytest.raises(ModelError, match="never run"):
        load_parts(str(folder), "float32", "cpu")
    for name in ("processor_config.json", "tokenizer_config.json"):
        change(folder / name, auto_map={"AutoProcessor": "evil.P", "AutoTokenizer": ["evil.T", "evil.T"]})
    with pytest.raises(ModelError):
        load_parts(str(folder), "float32", "cpu")
    assert not (tmp_path / "ran").exists()


@pytest.mark.parametrize(
    "name",
    ["w.bin", "w.pt", "w.safetensors.bin", "w.SAFETENSORS", "../w.safetensors", "/w.safetensors", "a/w.safetensors"]
    + ["a\\w.safetensors", "w.pkl", ""],
)
def test_an_index_may_name_safetensors_of_its_folder_only(folder: Path, name: str) -> None:
    index = {"metadata": {}, "weight_map": {key: name for key in tensors(folder)}}
    (folder / f"{WEIGHTS_FILE}.index.json").write_text(json.dumps(index))
    (folder / WEIGHTS_FILE).rename(folder / "w.safetensors")
    with pytest.raises(ModelError, match=r"index.json: names .*expected files of this folder"):
        check_folder(folder)


def test_an_index_of_safetensors_loads(folder: Path) -> None:
    index = {"metadata": {}, "weight_map": {key: "w.safetensors" for key in tensors(folder)}}
    (folder / f"{WEIGHTS_FILE}.index.json").write_text(json.dumps(index))
    (folder / WEIGHTS_FILE).rename(folder / "w.safetensors")
    load_parts(str(folder), "float32", "cpu")
    (folder / "w.safetensors").unlink()
    with pytest.raises(ModelError, match="names w.safetensors, which is not there"):
        check_folder(folder)


def drop(folder: Path) -> None:
    weights = tensors(folder)
    weights.pop(next(name for name in weights if "down_proj" in name))
    save(folder, weights)


def reshape(folder: Path) -> None:
    weights = tensors(folder)
    name = next(name for name in weights if "down_proj" in name)
    save(folder, weights | {name: weights[name][:, :5].contiguous()})


@pytest.mark.parametrize(
    ("damage", "said"),
    [
        (drop, r"m: the weights do not fit config.json: tensors missing: .*down_proj"),
        (reshape, "tensors of another shape: .*down_proj"),
        (lambda f: save(f, tensors(f) | {"extra.weight": torch.zeros(2)}), "of no part of this model: extra.weight"),
        (lambda f: os.truncate(f / WEIGHTS_FILE, 30_000), f"{WEIGHTS_FILE}: damaged"),
        (lambda f: (f / WEIGHTS_FILE).write_bytes(b"\x80\x04pickle"), f"{WEIGHTS_FILE}: damaged"),
        (lambda f: (f / WEIGHTS_FILE).rename(f / "pytorch_model.bin"), "There is pytorch_model.bin"),
        (lambda f: (f / "config.json").write_text("[1]"), "config.json: expected a JSON object, found a list"),
        (lambda f: (f / "config.json").write_text("[" * 100_000), "config.json: cannot be read as JSON"),
        (lambda f: (f / "config.json").write_text('{"a": '), "config.json: cannot be read as JSON"),
        (lambda f: (f / "config.json").unlink(), "no config.json"),
        (lambda f: (f / "tokenizer.json").write_text("{}"), "tokenizer.json: cannot be read as a tokenizer"),
        (lambda f: (f / "tokenizer.json").write_bytes(b"\xff\xfe{"), "tokenizer.json: cannot be read"),
        (lambda f: (f / "processor_config.json").unlink(), "processor"),
        (lambda f: (f / "adapter_config.json").write_text("{}"), "an adapter is no model"),
        (lambda f: (f / "gone").symlink_to(f / "nowhere"), "gone: neither a file nor a folder"),
        (lambda f: change(f / "config.json", attn_implementation="somebody/kernel"), "names code of the hub"),
        (lambda f: change(f / "config.json", transformers_weights="w/a.safetensors"), "transformers_weights"),
        (lambda f: (f / "chat_template.jinja").write_text("{% if %}"), "chat template cannot be used"),
    ],
)
def test_a_damaged_folder_is_one_line_that_names_it(
    folder: Path, damage: Callable[[Path], object], said: str
) -> None:
    damage(folder)
    with pytest.raises(ModelError, match=said) as caught:
        load_parts(str(folder), "float32", "cpu")
    assert "\n" not in str(caught.value) and str(folder) in str(caught.value) and len(str(caught.value)) < 1000


@pytest.mark.parametrize(
    ("template", "said"),
    [
        ("{{ raise_exception('no') }}", "TemplateError: no"),
        ("{% if %}", "TemplateSyntaxError"),
        ("{% for i in range(1000000000) %}x{% endfor %}", "cannot be used"),
        ("{% for i in range(99999) %}{% for j in range(99999) %}{% endfor %}{% endfor %}", "does not end within"),
        ("{% for a in messages[0].content[0].text * 99 %}{% for b in range(99999) %}{% endfor %}{% endfor %}", "end"),
        ("{{ 'a' * 5000000000 }}", "cannot be used"),
        ("{{ '%05000000000d' % 1 }}", "cannot be used"),
        ("{{ 10 ** (10 ** 10) }}", "cannot be used"),
        (
            "{% set n = namespace(x='a') %}{% for i in range(40) %}{% set n.x = n.x ~ n.x %}{% endfor %}{{ n.x }}",
            "does not end within|MemoryError|writes",
        ),
        ("{% macro m() %}{{ m() }}{% endmacro %}{{ m() }}", "cannot be used"),
        ("{{ cycler.__init__.__globals__.os.system('touch ssti') }}", "SecurityError|cannot be used"),
        ("x" * 300_000, "more than 256 KiB"),
        ("{{ 'x' * 2000000 }}", "writes 2,000,000 characters"),
        ({"default": TEMPLATE, "other": "{% if %}"}, "TemplateSyntaxError"),
        (IN_ANSWERS % "{% for a in range(99999) %}{% for b in range(99999) %}{% endfor %}{% endfor %}", "not end"),
        (IN_ANSWERS % "{{ 'a' * 5000000000 }}", "cannot be used"),
    ],
)
def test_a_template_that_fails_or_does_not_end_is_refused_within_seconds(
    template: object, said: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    with pytest.raises(ModelError, match=said) as caught:
        check_template(template, {}, "m")
    assert str(caught.value).startswith("m: its chat template") and "\n" not in str(caught.value)
    assert not list(tmp_path.iterdir())


@pytest.mark.parametrize("token", ["\u2028", "7", 1.5, True, -1, 10**9, [1, "x"]])
def test_an_end_token_that_is_no_token_is_one_line(folder: Path, token: object) -> None:
    from lifelong.models.vlm import VLM

    change(folder / "generation_config.json", eos_token_id=token)
    with pytest.raises(ModelError, match="eos_token_id|generation_config"):
        VLM.load(str(folder))


def test_a_template_that_knows_no_answers_is_taken() -> None:
    check_template(IN_ANSWERS % "{{ raise_exception('one turn only') }}", {}, "m")


def test_a_template_that_needs_its_special_tokens_is_tried_with_them() -> None:
    check_template("{{ bos_token + messages[0].content[0].type }}", {"bos_token": "<s>"}, "m")


@pytest.mark.parametrize("device", ["meta", "cuda:99", "cpu:3", "nonsense", "", "vulkan", "CPU"])
def test_a_device_that_computes_nothing_here_is_refused(device: str) -> None:
    with pytest.raises(ValueError, match=f"device={device}: .*usual one is device=cpu") as caught:
        check_device(device)
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize(
    "name", ["nowhere", "./no", "a/b/c", "~/nowhere", "../x", "/nowhere/x", "lifelong\n/x", "a/.."]
)
def test_a_name_that_is_no_hub_id_never_asks_the_hub(name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(find, "_from_hub", lambda *_: pytest.fail("the hub was asked"))
    with pytest.raises(ModelError, match="no such (model|folder)") as caught:
        find_model(name, ["atlas"])
    assert "\n" not in str(caught.value)


def test_a_near_model_is_named(folder: Path) -> None:
    with pytest.raises(ModelError, match="Did you mean 'atlas'"):
        find_model("atlsa", ["atlas", "tiny"])
    with pytest.raises(ModelError, match="Did you mean 'm'"):
        find_model(str(folder.parent / "mm"))
    with pytest.raises(ModelError, match="this is a file"):
        find_model(str(folder / "config.json"))


def test_a_hub_that_does_not_answer_is_one_line_within_seconds(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    import huggingface_hub
    from huggingface_hub import constants

    def missing(*_: object, **__: object) -> None:
        raise huggingface_hub.errors.LocalEntryNotFoundError("not here")

    monkeypatch.setattr(huggingface_hub, "snapshot_download", missing)
    monkeypatch.setattr(huggingface_hub.HfApi, "model_info", lambda *_, **__: time.sleep(60))
    monkeypatch.setattr(find, "WAIT_S", 0.2)
    monkeypatch.setattr(constants, "HF_HUB_OFFLINE", False)
    with pytest.raises(ModelError, match="did not answer within 0.2 s.*HF_HUB_OFFLINE"):
        find_model("somebody/model")
    monkeypatch.setattr(constants, "HF_HUB_OFFLINE", True)
    with pytest.raises(ModelError, match="HF_HUB_OFFLINE is set"):
        find_model("somebody/model")


def test_a_snapshot_on_this_machine_needs_no_network(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    import huggingface_hub

    monkeypatch.setattr(huggingface_hub, "snapshot_download", lambda *_, **__: str(folder))
    monkeypatch.setattr(find, "_asked", lambda *_: pytest.fail("the hub was asked"))
    assert find_model("somebody/model") == folder


def test_an_examination_of_no_folder_is_one_line(tmp_path: Path) -> None:
    from lifelong.models.atlas.exam import examine

    with pytest.raises(ModelError, match="nowhere: no such folder"):
        examine(tmp_path / "nowhere")


def test_a_fifo_in_a_folder_does_not_hang(folder: Path) -> None:
    (folder / "generation_config.json").unlink()
    subprocess.run(["mkfifo", str(folder / "generation_config.json")], check=True)
    with pytest.raises(ModelError, match="generation_config.json: neither a file"):
        check_folder(folder)
