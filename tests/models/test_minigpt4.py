"""MiniGPT-4, converted from published files of small shapes, is what the published formulas say."""

from __future__ import annotations

import io
import json
import math
import pickle
import shutil
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from minigpt4_files import (
    BLOCKS,
    HEADS,
    INNER,
    LAYERS,
    PATCH,
    QUERIES,
    QUERY,
    TEXT,
    WIDTH,
    pieces,
    published_files,
)
from safetensors.torch import load_file
from torch import Tensor
from torch.nn import functional as F
from transformers import LlamaConfig, LlamaForCausalLM
from typer.testing import CliRunner

from lifelong.cli.main import app
from lifelong.editing.ops import weight_of
from lifelong.editing.weights.regions import find_region
from lifelong.models.folders.check import ModelError
from lifelong.models.minigpt4.convert import PublishedFiles, convert_minigpt4
from lifelong.models.tiny import noise_image
from lifelong.models.vlm import VLM
from streams.types import ImageRef, Prompt, Query

A, B = ImageRef("noise:a", "a"), ImageRef("noise:b", "b")
ASKED = [Query("What is the dog?", A), Query("Who?"), Query("Which the animal is it?", B), Prompt((A, "and", B, "?"))]
TARGETS = ["cat", "the dog", "a", "img"]


@pytest.fixture(scope="module")
def files(tmp_path_factory: pytest.TempPathFactory) -> PublishedFiles:
    return published_files(tmp_path_factory.mktemp("published"))


@pytest.fixture(scope="module")
def folder(files: PublishedFiles, tmp_path_factory: pytest.TempPathFactory) -> Path:
    return convert_minigpt4(files, tmp_path_factory.mktemp("models") / "mini", heads=HEADS, say=lambda _: None)


@pytest.fixture(scope="module")
def mini(folder: Path) -> VLM:
    vlm = VLM.load(str(folder))
    vlm.reader.open_image = noise_image
    return vlm


# The published formulas, in plain torch, on the published tensors


def attended(q: Tensor, k: Tensor, v: Tensor, heads: int) -> Tensor:
    """Scaled dot-product attention of (tokens, width), head by head."""
    size = q.shape[1] // heads
    out = []
    for h in range(heads):
        own = slice(h * size, (h + 1) * size)
        out.append(torch.softmax(q[:, own] @ k[:, own].T / math.sqrt(size), -1) @ v[:, own])
    return torch.cat(out, 1)


def features_by_hand(files: PublishedFiles, pixels: Tensor) -> Tensor:
    """The features (queries, width of the language model) of one picture (3, height, width)."""
    eva, blip = torch.load(files.tower, weights_only=True), torch.load(files.qformer, weights_only=True)["model"]
    linear = torch.load(files.projection, weights_only=True)["model"]

    def norm(x: Tensor, table: dict[str, Tensor], name: str, eps: float) -> Tensor:
        return F.layer_norm(x, x.shape[-1:], table[f"{name}.weight"], table[f"{name}.bias"], eps)

    def through(x: Tensor, table: dict[str, Tensor], name: str) -> Tensor:
        return x @ table[f"{name}.weight"].T + table[f"{name}.bias"]

    # EVA ViT-g: queries and values have a bias, keys have none; every norm comes before what it is for.
    cut = pixels.unfold(1, PATCH, PATCH).unfold(2, PATCH, PATCH).permute(1, 2, 0, 3, 4).flatten(0, 1).flatten(1)
    x = cut @ eva["patch_embed.proj.weight"].flatten(1).T + eva["patch_embed.proj.bias"]
    x = torch.cat([eva["cls_token"][0], x]) + eva["pos_embed"][0]
    for i in range(BLOCKS):
        seen = norm(x, eva, f"blocks.{i}.norm1", 1e-6)
        q, k, v = (seen @ w.T for w in eva[f"blocks.{i}.attn.qkv.weight"].chunk(3))
        q, v = q + eva[f"blocks.{i}.attn.q_bias"], v + eva[f"blocks.{i}.attn.v_bias"]
        x = x + through(attended(q, k, v, HEADS.tower), eva, f"blocks.{i}.attn.proj")
        inner = F.gelu(through(norm(x, eva, f"blocks.{i}.norm2", 1e-6), eva, f"blocks.{i}.mlp.fc1"))
        x = x + through(inner, eva, f"blocks.{i}.mlp.fc2")
    seen = norm(x, blip, "ln_vision", 1e-5)

    # The Q-Former: a BERT whose norms come after each sum; every second layer looks at the picture as well.
    y = norm(blip["query_tokens"][0], blip, "Qformer.bert.embeddings.LayerNorm", 1e-12)
    for i in range(LAYERS):
        layer = f"Qformer.bert.encoder.layer.{i}"
        for kind, at in [("attention", None), *([("crossattention", seen)] if i % 2 == 0 else [])]:
            source = y if at is None else at
            q = through(y, blip, f"{layer}.{kind}.self.query")
            k, v = (through(source, blip, f"{layer}.{kind}.self.{n}") for n in ("key", "value"))
            found = through(attended(q, k, v, HEADS.qformer), blip, f"{layer}.{kind}.output.dense")
            y = norm(found + y, blip, f"{layer}.{kind}.output.LayerNorm", 1e-12)
        inner = F.gelu(through(y, blip, f"{layer}.intermediate_query.dense"))
        y = norm(
            through(inner, blip, f"{layer}.output_query.dense") + y, blip, f"{layer}.output_query.LayerNorm", 1e-12
        )
    return through(y, linear, "llama_proj")


def llama_of(files: PublishedFiles) -> LlamaForCausalLM:
    """The language model as transformers loads it from its own folder."""
    config = LlamaConfig(**json.loads((files.language / "config.json").read_text()))
    model = LlamaForCausalLM(config).eval()
    for path in sorted(files.language.glob("*.bin")):
        model.load_state_dict(torch.load(path, weights_only=True), strict=False)
    return model


def sentencepiece_ids(text: str) -> list[int]:
    """The ids of one text by SentencePiece's rule: a space before it, and the best pair is merged first."""
    table = {piece: (i, score) for i, (piece, score, kind) in enumerate(pieces()) if kind == 1}
    parts = list("▁" + text.replace(" ", "▁"))
    while True:
        pairs = [
            (table[a + b][1], -i) for i, (a, b) in enumerate(zip(parts, parts[1:], strict=False)) if a + b in table
        ]
        if not pairs:
            break
        at = -max(pairs)[1]
        parts[at : at + 2] = [parts[at] + parts[at + 1]]
    names = [piece for piece, _, _ in pieces()]
    ids: list[int] = []
    for part in parts:
        ids += [table[part][0]] if part in table else [names.index(f"<0x{byte:02X}>") for byte in part.encode()]
    return ids


def pixels_of(mini: VLM, image: ImageRef) -> Tensor:
    return mini.processor.image_processor(images=[noise_image(image)], return_tensors="pt")["pixel_values"][0]


def plain_logits(mini: VLM, files: PublishedFiles, prompt: Query | Prompt, ids: list[int]) -> Tensor:
    """Logits (tokens, vocab) of a plain Llama over a prompt with features computed by hand, and further ids."""
    prompt = prompt if isinstance(prompt, Prompt) else Prompt.of(prompt)
    llama, whole = llama_of(files), [*mini.prompt_ids([prompt])[0].tolist(), *ids]
    marks = torch.tensor(whole) == mini.model.config.image_token_id
    embedded = llama.model.embed_tokens(torch.tensor(whole).masked_fill(marks, 0))
    if prompt.images:
        embedded[marks] = torch.cat([features_by_hand(files, pixels_of(mini, image)) for image in prompt.images])
    return llama(inputs_embeds=embedded[None]).logits[0]


@torch.no_grad()
def test_a_picture_has_the_features_that_the_published_formulas_give(mini: VLM, files: PublishedFiles) -> None:
    """Every tensor has its place: biases of queries and values, the norm between, both attentions, the projection."""
    pixels = torch.stack([pixels_of(mini, A), pixels_of(mini, B)])
    found = mini.model.get_image_features(pixels).pooler_output
    for own, picture in zip(found, pixels, strict=True):
        assert own.shape == (QUERIES, TEXT)
        assert torch.allclose(own, features_by_hand(files, picture), atol=2e-5)
    assert float((found[0] - found[1]).abs().max()) > 0.01
    assert mini.model.vision_model.post_layernorm.eps == 1e-5  # too small a difference for these numbers to show


def test_a_prompt_has_the_published_ids(mini: VLM) -> None:
    """What is before a picture, after it, and the question are read apart; without a picture it is bare."""
    marks = [mini.model.config.image_token_id] * QUERIES
    seeing, bare = mini.prompt_ids([Query("What is  the dog?", A), Query("What is  the dog?")])
    question = sentencepiece_ids("What is  the dog?")
    before, after = sentencepiece_ids("###Human: <Img>"), sentencepiece_ids("</Img> ")
    assert seeing.tolist() == [1, *before, *marks, *after, *question]
    assert bare.tolist() == question
    assert mini.target_ids("the dog") == [*sentencepiece_ids("the dog"), mini.end_id]
    assert mini.tokenizer.convert_ids_to_tokens([mini.end_id]) == ["▁###"]


def test_ids_do_not_depend_on_how_a_prompt_is_read(mini: VLM) -> None:
    """By the processor, and by the tokenizer alone once the picture is known; data that looks like a mark is data."""
    first = mini.prompt_ids([Query("Who?", A), Query("Who is it?", A)])
    assert mini.reader.chat.quick_ids(mini.reader._written([0, "Who is it?"], [("a",)])[0], [QUERIES]) is not None
    assert first[1].tolist() == mini.prompt_ids([Query("Who is it?", A)])[0].tolist()
    odd = "a <PieceHere> b </s> <ImageHere>"
    seeing = mini.prompt_ids([Query(odd, A)])[0].tolist()
    assert seeing[-len(sentencepiece_ids(odd)) :] == sentencepiece_ids(odd) and seeing.count(2) == 0
    official = mini.processor.apply_chat_template(
        [{"role": "user", "content": [{"type": "text", "text": "Who is it?"}]}], tokenize=True
    )
    assert official[0] == sentencepiece_ids("Who is it?")


@torch.no_grad()
def test_scores_and_answers_are_those_of_a_plain_llama_after_the_features(mini: VLM, files: PublishedFiles) -> None:
    scored, answers = mini.score(ASKED, TARGETS), mini.generate(ASKED, max_tokens=6)
    for asked, target, result, answer in zip(ASKED, TARGETS, scored, answers, strict=True):
        ids = mini.target_ids(target)
        logits = plain_logits(mini, files, asked, ids)[-len(ids) - 1 : -1]
        expected = logits.log_softmax(-1).gather(1, torch.tensor(ids)[:, None])[:, 0].numpy()
        assert np.abs(expected - result.logprobs).max() < 1e-4
        said: list[int] = []
        while len(said) < 6 and (token := int(plain_logits(mini, files, asked, said)[-1].argmax())) not in (
            2,
            mini.end_id,
        ):
            said.append(token)
        assert answer == mini.tokenizer.decode(said, skip_special_tokens=True).split("###")[0].split("\n")[0].strip()
    assert len(set(answers)) == len(answers) and all(answers)


def test_a_batch_is_its_rows_and_resuming_is_the_whole_pass_at_every_layer(mini: VLM) -> None:
    whole = mini.score(ASKED, TARGETS, top=3)
    others = [[mini.score([q], [t], top=3)[0] for q, t in zip(ASKED, TARGETS, strict=True)]]
    others += [mini.resume_score(mini.hidden(ASKED, layer, TARGETS), top=3) for layer in range(mini.layers)]
    for other in others:
        for a, b in zip(whole, other, strict=True):
            assert np.abs(a.logprobs - b.logprobs).max() < 1e-5 and (a.top_ids == b.top_ids).all()
    answerer = mini.answerer(ASKED)
    answerer.score(TARGETS)
    assert answerer.generate(max_tokens=5) == mini.generate(ASKED, max_tokens=5)


def test_hidden_states_are_those_of_the_plain_llama(mini: VLM, files: PublishedFiles) -> None:
    with torch.no_grad():
        marks = mini.prompt_ids(ASKED[:1])[0] == mini.model.config.image_token_id
        llama = llama_of(files)
        embedded = llama.model.embed_tokens(mini.prompt_ids(ASKED[:1])[0].masked_fill(marks, 0))
        embedded[marks] = features_by_hand(files, pixels_of(mini, A))
        states = llama(inputs_embeds=embedded[None], output_hidden_states=True).hidden_states
    for layer in range(mini.layers):
        own = mini.hidden(ASKED[:1], layer)
        assert torch.allclose(own.states[0], states[layer][0], atol=1e-4)
        assert int(own.image[0].sum()) == QUERIES


def test_gradients_through_resuming_are_those_of_the_whole_pass(mini: VLM) -> None:
    weight = weight_of(mini.submodule(3, "mlp.down_proj"))
    found = []
    for resumed in (True, False):
        new = weight.detach().clone().requires_grad_()
        with mini.swap({mini.name_of(weight): new}):
            if resumed:
                logits = mini.resume(mini.hidden(ASKED, 2, TARGETS), grad=True, answers_only=True)
            else:
                logits = mini.answer_logits(ASKED, TARGETS, grad=True)
            torch.cat(logits).float().log_softmax(-1)[:, 5].sum().backward()
        found.append(new.grad)
    assert torch.allclose(found[0], found[1], atol=1e-4) and float(found[0].abs().max()) > 0.01


def test_an_answer_ends_where_its_text_has_three_hashes_however_they_are_tokenised(mini: VLM) -> None:
    """One token after a space, two or three after a word; what follows is never said, with and without a cache."""
    ids = mini.tokenizer.get_vocab()
    for spelt in (["▁###"], ["##", "#"], ["#", "##"], ["#", "#", "#"]):
        script = [ids[t] for t in ("▁the", *spelt, "▁the", "▁the", "▁the")]

        def rig(_: object, args: tuple, output: Tensor, layout: object, script: list[int] = script) -> Tensor:
            out, step = torch.zeros_like(output), layout.decode_step  # type: ignore[attr-defined]
            out[:, :, script[min(step, len(script) - 1)]] = 9.0
            return out

        with mini.hook(mini.structure.head, rig):  # type: ignore[arg-type]
            assert mini.generate([Query("Who?")]) == ["the"]
        assert mini.text_of(script) == "the"
        said: list[int] = []
        assert [mini.say(said, token) for token in script[: 1 + len(spelt)]] == [*[True] * len(spelt), False]


def test_the_connector_is_the_q_former_and_the_projection(mini: VLM) -> None:
    """No part of the tower is among what `module=vision` tunes."""
    found = find_region(mini, "vision", [0], ()).modules
    assert {name.split(".")[0] for name in found} == {"qformer", "projection"}


def test_in_bfloat16_it_says_nearly_the_same(mini: VLM, folder: Path) -> None:
    half = VLM.load(str(folder), dtype="bfloat16")
    half.reader.open_image = noise_image
    for a, b in zip(mini.score(ASKED, TARGETS), half.score(ASKED, TARGETS), strict=True):
        assert abs(a.nll - b.nll) < 0.1 * a.nll


def changed(files: PublishedFiles, folder: Path, part: str, change: Callable[[dict], object]) -> PublishedFiles:
    """The files with one of them changed."""
    path = getattr(files, part)
    loaded = torch.load(path, weights_only=True)
    change(loaded.get("model", loaded))
    torch.save(loaded, folder / path.name)
    return replace(files, **{part: folder / path.name})


WRONG = {
    "missing blocks.1.attn.v_bias": ("tower", lambda t: t.pop("blocks.1.attn.v_bias")),
    "missing ln_vision.bias": ("qformer", lambda t: t.pop("ln_vision.bias")),
    "missing llama_proj.weight": ("projection", lambda t: t.pop("llama_proj.weight")),
    "of no known part blocks.0.gamma_1": ("tower", lambda t: t.update({"blocks.0.gamma_1": torch.ones(WIDTH)})),
    "of no known part llama_model.x.lora_A": (
        "projection",
        lambda t: t.update({"llama_model.x.lora_A": torch.ones(2)}),
    ),
    "blocks.2.attn.q_bias (31,) for (32,)": ("tower", lambda t: t.update({"blocks.2.attn.q_bias": torch.ones(31)})),
    "llama_proj.weight (16, 24) for (32, 24)": (
        "projection",
        lambda t: t.update({"llama_proj.weight": torch.ones(16, 24)}),
    ),
    "2 blocks; expected 3": (
        "tower",
        lambda t: [t.pop(k) for k in list(t) if k.startswith(("blocks.2", "blocks.3"))],
    ),
}


@pytest.mark.parametrize("said", WRONG)
def test_a_tensor_that_does_not_belong_is_named(files: PublishedFiles, tmp_path: Path, said: str) -> None:
    part, change = WRONG[said]
    wrong = changed(files, tmp_path, part, change)
    with pytest.raises(ModelError) as told:
        convert_minigpt4(wrong, tmp_path / "mini", heads=HEADS, say=lambda _: None)
    assert said.split(" ")[-1] in str(told.value) or all(word in str(told.value) for word in said.split(" ")[:3])
    assert all(
        word in str(told.value) for word in said.replace("missing blocks", "missing visual_encoder.blocks").split()
    )
    assert getattr(wrong, part).name in str(told.value) and "\n" not in str(told.value)
    assert [path.name for path in tmp_path.iterdir()] == [getattr(wrong, part).name]


def test_what_is_wrong_with_the_language_model_is_named(files: PublishedFiles, tmp_path: Path) -> None:
    language = shutil.copytree(files.language, tmp_path / "vicuna")
    first = sorted(language.glob("*.bin"))[0]
    table = torch.load(first, weights_only=True)
    gone = table.pop("lm_head.weight", None) is not None
    name = "lm_head.weight" if gone else table.popitem()[0]
    torch.save(table | {"model.more.weight": torch.ones(1)}, first)
    with pytest.raises(ModelError) as told:
        convert_minigpt4(replace(files, language=language), tmp_path / "mini", heads=HEADS, say=lambda _: None)
    assert f"missing {name}" in str(told.value) and "of no known part model.more.weight" in str(told.value)


class Harm:
    """A pickle that would run a program."""

    def __reduce__(self) -> tuple[object, tuple[str]]:
        return eval, ("1/0",)


def test_files_that_are_no_tensors_run_nothing_and_are_one_line(files: PublishedFiles, tmp_path: Path) -> None:
    out = io.BytesIO()
    pickle.dump({"model": Harm()}, out)
    for body in (out.getvalue(), b"", b"PK\x03\x04 no zip", json.dumps({"a": 1}).encode()):
        (tmp_path / "bad.pth").write_bytes(body)
        with pytest.raises(ModelError, match="bad.pth") as told:
            convert_minigpt4(replace(files, projection=tmp_path / "bad.pth"), tmp_path / "m", heads=HEADS)
        assert "\n" not in str(told.value) and "ZeroDivision" not in str(told.value)
    (tmp_path / "there").mkdir()
    with pytest.raises(ModelError, match="there already"):
        convert_minigpt4(files, tmp_path / "there", heads=HEADS)


def test_every_published_number_is_written_once_and_no_pickle(folder: Path, files: PublishedFiles) -> None:
    assert {p.suffix for p in folder.iterdir()} == {".json", ".safetensors", ".jinja"}
    written = {name: t for path in folder.glob("*.safetensors") for name, t in load_file(path).items()}
    bias = written["vision_model.encoder.layers.0.self_attn.qkv.bias"]
    eva = torch.load(files.tower, weights_only=True)
    assert torch.equal(
        bias, torch.cat([eva["blocks.0.attn.q_bias"], torch.zeros(WIDTH), eva["blocks.0.attn.v_bias"]])
    )
    assert written["vision_model.encoder.layers.2.mlp.fc1.weight"].shape == (INNER, WIDTH)
    assert written["query_tokens"].shape == (1, QUERIES, QUERY) and not any("rotary" in name for name in written)


def test_the_command_takes_each_file_by_its_name(files: PublishedFiles, tmp_path: Path) -> None:
    """The published sizes are expected there: files of small shapes are told apart by what is said of each."""
    words = ["--eva", files.tower, "--qformer", files.qformer, "--projection", files.projection]
    words = ["model", "convert", "minigpt4", *map(str, words), "--vicuna", str(files.language)]
    told = CliRunner().invoke(app, [*words, "-o", str(tmp_path / "m")]).exception
    assert isinstance(told, ModelError) and f"{files.tower}: {BLOCKS + 1} blocks; expected 39 at least" in str(told)
    swapped = [
        str(files.qformer) if w == str(files.tower) else str(files.tower) if w == str(files.qformer) else w
        for w in words
    ]
    told = CliRunner().invoke(app, [*swapped, "-o", str(tmp_path / "m")]).exception
    assert isinstance(told, ModelError) and "no 'visual_encoder.patch_embed.proj.weight' in" in str(told)


def test_editors_run_on_it(folder: Path, tmp_path: Path) -> None:
    """The frozen model, weights, a codebook and a memory of sentences: every score is a number, and ft learns."""
    import lifelong
    from lifelong.log import Probed, RunLog

    right = {}
    for editor in ("none", "ft", "grace", "rag"):
        words: dict[str, Any] = {
            "model": str(folder),
            "stream": "toy",
            "edits": 3,
            "panels.latency_routes": 0,
            "panels.latency_answers": 0,
            "threads": 1,
        }
        words |= {"editor.learning_rate": 0.1} if editor == "ft" else {}
        run = lifelong.run(quiet=True, editor=editor, out=str(tmp_path), cache=str(tmp_path / "cache"), **words)  # pyright: ignore
        rows = RunLog.open(run).table(Probed).to_pylist()
        assert len(rows) and all(np.isfinite(row["score"]) for row in rows)
        kept = [row["score"] for row in rows if (row["axis"], row["scorer"]) == ("reliability", "teacher_forced")]
        right[editor] = np.mean(kept)
    assert right["none"] < right["ft"]
