"""Every family of the field is right or refused: its tiny model answers through the door as by transformers alone."""

from __future__ import annotations

import importlib.util
import json
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from torch import nn

from lifelong.models.checks.checks import MODEL_CHECKS
from lifelong.models.checks.findings import findings_of
from lifelong.models.examination import Examined, examine_model, table_of_families
from lifelong.models.families.building import build_family, family_names
from lifelong.models.folders.check import ModelError
from lifelong.models.passes.roles import find_submodule
from lifelong.models.vlm import VLM
from streams.types import ImageRef, Prompt, Query

NEEDS = "needs torchvision"
REFUSED = {
    "blip2_t5": "encoder-decoder",
    "florence2": "encoder-decoder",
    "mllama": "cross attention",
}
if importlib.util.find_spec("torchvision") is None:
    REFUSED |= dict.fromkeys(("mistral3", "molmo2", "pixtral"), NEEDS)
SUPPORTED = [name for name in family_names() if name not in REFUSED]


@pytest.fixture(scope="module")
def folder_of(tmp_path_factory: pytest.TempPathFactory) -> Callable[[str], Path]:
    """The folder of a family's tiny model, written once."""
    place = tmp_path_factory.mktemp("families")

    def of(name: str) -> Path:
        folder = place / name
        return folder if folder.exists() else build_family(name, folder)

    return of


@pytest.fixture(scope="module")
def door_of(folder_of: Callable[[str], Path]) -> Callable[[str], Callable[[], VLM]]:
    """What makes new doors to a family's tiny model, which is loaded once."""
    loaded: dict[str, VLM] = {}

    def of(name: str) -> Callable[[], VLM]:
        if name not in loaded:
            loaded[name] = VLM.load(str(folder_of(name)), check=False)
        vlm = loaded[name]
        return partial(VLM, vlm.model, vlm.processor, name=name, digest=vlm.digest)

    return of


@pytest.mark.parametrize("name", SUPPORTED)
def test_a_family_is_loaded_from_a_folder_and_keeps_the_short_form(
    name: str, folder_of: Callable[[str], Path]
) -> None:
    """With what the project installs: no check of a library is taken away."""
    assert VLM.load(str(folder_of(name))).layers == 4


@pytest.mark.parametrize("name", REFUSED)
def test_a_family_that_cannot_be_right_is_refused_in_one_line(name: str, folder_of: Callable[[str], Path]) -> None:
    with pytest.raises(ModelError, match=REFUSED[name]) as told:
        VLM.load(str(folder_of(name)))
    assert "\n" not in str(told.value)
    assert REFUSED[name] != NEEDS or "lifelong-edit[vision]" in str(told.value)


@pytest.mark.parametrize("name", ["blip2_opt", "qwen3_vl"])
def test_a_family_keeps_every_check(name: str, folder_of: Callable[[str], Path]) -> None:
    found = examine_model(str(folder_of(name)))
    assert found.ok and len(found.findings) == len(MODEL_CHECKS), found.lines()


@pytest.mark.soak
@pytest.mark.parametrize("name", SUPPORTED)
def test_every_family_keeps_every_check(name: str, folder_of: Callable[[str], Path]) -> None:
    found = examine_model(str(folder_of(name)))
    assert found.ok, found.lines()


# Each check finds the fault that it is there for, when it is put back


def _padded(door: VLM) -> None:
    door.passes.same_length_decoding = False


def _blind(door: VLM) -> None:
    door.passes._seen_later = lambda batch, memo: {}  # type: ignore[method-assign]


def _leaking(door: VLM) -> None:
    read = door.reader.process

    def process(prompt: Prompt) -> Any:
        encoded, pixels = read(prompt)
        object.__setattr__(encoded, "of_answers", {})
        return encoded, pixels

    door.reader.process = process  # type: ignore[method-assign]


def _bare(door: VLM) -> None:
    door.reader.prefix = ""


def _uncounted(door: VLM) -> None:
    door.reader._seen_as = lambda pictures, prompt: pictures  # type: ignore[method-assign]


def _joined(door: VLM) -> None:
    door.reader.quirk = type("Joined", (type(door.reader.quirk),), {"words_seen": False})()


def _unbegun(door: VLM) -> None:
    door.reader.chat.adds_special = lambda text: False  # type: ignore[method-assign]


FAULTS = [
    ("llava_sliding", "greedy in a batch", _padded),
    ("qwen3_vl", "resume", _blind),
    ("paligemma", "score", _leaking),
    ("paligemma", "later tokens", _leaking),
    ("smolvlm", "target", _bare),
    ("llava_onevision", "two pictures", _uncounted),
    ("instructblip", "batch", _joined),
    ("llava", "prompt ids", _unbegun),
]


@pytest.mark.parametrize(("name", "check", "fault"), FAULTS, ids=[f"{n}-{c}" for n, c, _ in FAULTS])
def test_a_check_finds_the_fault_that_it_is_there_for(
    name: str, check: str, fault: Callable[[VLM], None], door_of: Callable[[str], Callable[[], VLM]]
) -> None:
    make = door_of(name)

    def broken() -> VLM:
        door = make()
        door.reader.processor = door.processor
        fault(door)
        return door

    assert findings_of(make, names=[check])[0].kept
    assert not findings_of(broken, names=[check])[0].kept


@pytest.mark.parametrize("check", ["parts of a layer", "hooks"])
def test_a_layer_that_lays_its_tokens_in_one_row_is_not_taken_for_rows(
    check: str, door_of: Callable[[str], Callable[[], VLM]], monkeypatch: pytest.MonkeyPatch
) -> None:
    """OPT's matrices take (batch * tokens, features); read as rows, a key of another question would be kept."""
    make = door_of("blip2_opt")
    assert findings_of(make, names=[check])[0].kept
    for module in ("forward", "interventions"):
        monkeypatch.setattr(f"lifelong.models.passes.{module}.runs_flat", lambda *_: False)
    assert not findings_of(make, names=[check])[0].kept


def test_what_stays_in_a_model_is_found(door_of: Callable[[str], Callable[[], VLM]]) -> None:
    make = door_of("llava")

    def hooked() -> VLM:
        door = make()
        score = door.score

        def leaving(*args: Any, **kwargs: Any) -> Any:
            handles.append(door.model.register_forward_hook(lambda *_: None))
            return score(*args, **kwargs)

        door.score = leaving  # type: ignore[method-assign]
        return door

    handles: list[Any] = []
    try:
        assert "has a hook" in findings_of(hooked, names=["nothing left"])[0].why
    finally:
        for handle in handles:
            handle.remove()


# Answers


@pytest.mark.parametrize(
    ("name", "prefix", "end"),
    [
        ("llava", "", "</s>"),
        ("llava_ends", "", "</s>"),  # the second of three
        ("gemma3", "", "<end_of_turn>"),  # not <eos>
        ("glm4v", "", "<|user|>"),  # where the next turn begins
        ("smolvlm", " ", "<end_of_utterance>"),
        ("blip2_opt", " ", "\u010a"),  # published: a space before the answer
        ("minigpt4", "", "\u2581###"),
        ("instructblip", "", "</s>"),  # whose tokenizer writes that space itself
    ],
)
def test_an_answer_begins_and_ends_as_the_family_writes_it(
    name: str, prefix: str, end: str, door_of: Callable[[str], Callable[[], VLM]]
) -> None:
    door = door_of(name)()
    ids = door.target_ids("owl")
    assert (door.form.prefix, door.tokenizer.convert_ids_to_tokens(ids[-1])) == (prefix, end)
    assert door.tokenizer.decode(ids[:-1]).strip() == "owl"
    with pytest.raises(ValueError, match="has no token"):
        door.target_ids("")


def test_a_family_that_takes_one_picture_says_so(door_of: Callable[[str], Callable[[], VLM]]) -> None:
    two = Prompt((ImageRef("a", "a"), "and", ImageRef("b", "b"), "?"))
    assert "2 pictures in one prompt, this model takes 1" in door_of("blip2_opt")().unaskable([(two, "x")])[0]


# Loading


def test_a_model_is_checked_once(
    folder_of: Callable[[str], Path], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    folder, made = str(folder_of("llava_tied")), []

    def counted(*args: Any, **kwargs: Any) -> Any:
        made.append(1)
        return findings_of(*args, **kwargs)

    monkeypatch.setattr("lifelong.models.checks.verdict.findings_of", counted)
    for _ in range(2):
        VLM.load(folder, checked=tmp_path)
    VLM.load(folder, dtype="bfloat16", checked=tmp_path)
    assert len(made) == 2 == len(list(tmp_path.iterdir()))
    assert "transformers" in json.loads(next(tmp_path.iterdir()).read_text())


def test_a_model_that_does_not_keep_a_check_is_refused_by_its_name(
    folder_of: Callable[[str], Path], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(MODEL_CHECKS, "resume", lambda bench: "from layer 0: far off")
    with pytest.raises(ModelError, match="'resume': from layer 0: far off.*lifelong model check"):
        VLM.load(str(folder_of("llava_tied")), checked=tmp_path)
    assert not list(tmp_path.iterdir())


def test_a_folder_of_the_home_is_found(folder_of: Callable[[str], Path], monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HOME", str(folder_of("llava").parent))
    assert VLM.load("~/llava", check=False).name == "llava"


def test_a_decoder_whose_embeddings_are_hidden_is_refused_in_one_line(
    folder_of: Callable[[str], Path], monkeypatch: pytest.MonkeyPatch
) -> None:
    def hidden(model: object) -> None:
        raise AttributeError("MambaModel has no attribute `embed_tokens`")

    monkeypatch.setattr("transformers.LlavaForConditionalGeneration.get_input_embeddings", hidden)
    with pytest.raises(ModelError, match="word embeddings cannot be found.*embed_tokens"):
        VLM.load(str(folder_of("llava")))


def test_a_family_that_there_is_not_is_told_with_a_near_name(tmp_path: Path) -> None:
    with pytest.raises(ModelError, match="qwen2_vl"):
        build_family("qwen2vl", tmp_path / "x")


def test_the_table_has_a_line_for_each_family_and_says_why_one_is_refused() -> None:
    table = table_of_families([Examined("a", refused="an encoder-decoder"), Examined("b")])
    assert "| a | - |" in table and "- a: an encoder-decoder" in table


# Parts of a layer


class OtherLayer(nn.Module):
    """A layer of another make: query, key and value in one, gate and up in one."""

    def __init__(self) -> None:
        super().__init__()
        self.attention = nn.ModuleDict({"query_key_value": nn.Linear(8, 24), "dense": nn.Linear(8, 8)})
        self.feed_forward = nn.ModuleDict({"wo": nn.Linear(16, 8), "wi": nn.Linear(8, 32)})


def test_parts_are_found_by_their_role(door_of: Callable[[str], Callable[[], VLM]]) -> None:
    layer = OtherLayer()
    roles = ("mlp.down_proj", "mlp.up_proj", "self_attn", "self_attn.q_proj", "self_attn.v_proj")
    found = [find_submodule(layer, role) for role in roles]
    fused = layer.attention["query_key_value"]
    assert found == [layer.feed_forward["wo"], layer.feed_forward["wi"], layer.attention, fused, fused]
    opt, glm = door_of("blip2_opt")(), door_of("glm4v")()
    assert opt.submodule(0, "mlp.down_proj") is opt.decoder_layer(0).fc2
    assert glm.submodule(0, "mlp.up_proj") is glm.submodule(0, "mlp.gate_up_proj")
    with pytest.raises(ValueError, match="has no part 'mlp.dwn_proj'"):
        glm.submodule(0, "mlp.dwn_proj")


def test_a_feed_forward_part_is_found_by_what_it_holds_or_told_to_be_none(
    door_of: Callable[[str], Callable[[], VLM]],
) -> None:
    class Inner(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.w1, self.w2, self.w3 = nn.Linear(8, 32), nn.Linear(32, 8), nn.Linear(8, 32)

    layer = OtherLayer()
    layer.feed_forward = Inner()  # type: ignore[assignment]
    layer.around = nn.Sequential(layer.feed_forward)
    assert find_submodule(layer, "mlp") is layer.feed_forward
    layer.feed_forward = nn.Identity()  # type: ignore[assignment]
    layer.block = nn.ModuleList([nn.Linear(8, 32), nn.Linear(32, 8)])
    with pytest.raises(ValueError, match="has no part 'mlp'.*not one module.*mlp.down_proj"):
        find_submodule(layer, "mlp")


def test_a_feed_forward_part_in_two_modules_is_hooked_and_read_as_one(
    door_of: Callable[[str], Callable[[], VLM]],
) -> None:
    """OPT's layer calls fc1 and fc2 itself: a hook sees what the first took and what the second gave, as rows."""
    vlm = door_of("blip2_opt")()
    layer: Any = vlm.decoder_layer(1)
    part = vlm.submodule(1, "mlp")
    asked, seen = [Query("How are you today?"), Query("Why?")], []

    def hook(module: Any, args: Any, output: Any, layout: Any) -> Any:
        seen.append((args[0], output))
        return output + args[0]

    plain = vlm.score(asked, ["well", "so"])
    with vlm.hook(part, hook):
        changed = vlm.score(asked, ["well", "so"])
        inside = vlm.capture(asked, vlm.submodule(1, "mlp.down_proj"))
    assert vlm.changes.lowest == vlm.layers + 1 and np.array_equal(
        vlm.score(asked, ["well", "so"])[0].logprobs, plain[0].logprobs
    )
    took, gave = seen[0]
    assert took.dim() == 3 and len(took) == 2
    assert torch.equal(layer.fc2(layer.activation_fn(layer.fc1(took))), gave)
    assert abs(changed[0].logprobs - plain[0].logprobs).max() > 1e-6

    for mine, own in zip(vlm.capture(asked, part), vlm.capture(asked, layer.fc1), strict=True):
        assert torch.equal(mine, own)
    assert len(inside) == 2 and vlm.name_of_module(part).endswith("layers.1.fc1+fc2")
    assert vlm.structure.depth(part) == 1


def test_a_hidden_window_counts_as_one(door_of: Callable[[str], Callable[[], VLM]]) -> None:
    """Equal lengths where any layer forgets tokens, padding where none does."""
    assert door_of("gemma3")().passes.same_length_decoding and door_of("paligemma2")().passes.same_length_decoding
    assert not door_of("llava")().passes.same_length_decoding
