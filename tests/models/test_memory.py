"""One budget in bytes: rows follow from it, a full device halves them, and what is kept moves aside."""

from __future__ import annotations

import pytest
import torch
from transformers import LlamaConfig

from lifelong.models import memory
from lifelong.models.memory import MemoryBudget, is_out_of_memory, memory_of
from lifelong.models.passes.room import Room, bytes_per_token
from lifelong.models.tiny import tiny_vlm
from lifelong.models.vlm import VLM

CPU = torch.device("cpu")


def test_small_models_take_64_rows_whatever_the_machine_has(tiny_vlm, monkeypatch) -> None:
    atlas = VLM.load("atlas")
    context = int(atlas.lengths.context or 0)
    monkeypatch.setattr(memory, "host_bytes", lambda: 1 << 30)  # a machine of one gigabyte
    for vlm in (tiny_vlm, atlas):
        least = MemoryBudget(memory_of(CPU, 10**8).near)
        room = Room(CPU, vlm.passes.room.token_bytes, least.batch_bytes)
        assert room.rows_of(context) == vlm.passes.room.rows_of(context) == 64


def test_rows_follow_from_keys_values_and_a_layers_work() -> None:
    text = LlamaConfig(hidden_size=4096, intermediate_size=11008, num_hidden_layers=32, num_attention_heads=32)
    whole = bytes_per_token(text, 2)
    assert whole == 2 * (2 * 32 * 4096) + 2 * (
        4 * 4096 + 3 * 11008
    )  # keys and values of 7 billion parameters: 0.5 MB
    grouped = LlamaConfig(**{**text.to_dict(), "num_key_value_heads": 8})
    assert whole - bytes_per_token(grouped, 2) == 2 * (2 * 32 * 4096) * 3 // 4
    assert bytes_per_token(text, 4) == 2 * whole
    card = MemoryBudget(int(0.9 * 24e9) - int(14.1e9))  # a card of 24 GB
    assert Room(CPU, whole, card.batch_bytes).rows_of(636) == 4


def test_a_budget_that_is_given_cuts_the_batches(tiny_queries) -> None:
    vlm, rows = tiny_vlm(0, memory_bytes=4 * 100_000), []
    narrow = vlm.passes.room.token_bytes * 60
    assert vlm.memory.near == 400_000 and vlm.passes.room.tokens == 100_000 // vlm.passes.room.token_bytes
    forward = vlm.model.forward
    vlm.model.forward = lambda **kw: (rows.append(kw["input_ids"].numel()), forward(**kw))[1]
    vlm.score(tiny_queries, ["red"] * 7)
    assert len(rows) > 1 and max(rows) * vlm.passes.room.token_bytes <= max(100_000, narrow)


def full_above(vlm: VLM, rows: int, monkeypatch: pytest.MonkeyPatch) -> None:
    forward = vlm.model.forward

    def limited(*args, **kwargs):
        if len(kwargs["input_ids"]) > rows:
            raise torch.OutOfMemoryError("made up: out of memory")
        return forward(*args, **kwargs)

    monkeypatch.setattr(vlm.model, "forward", limited)


def test_a_full_device_halves_the_rows_once_and_answers_are_the_same(tiny_queries, monkeypatch) -> None:
    targets = ["red", "a cat", "Nairobi", "he", "blue", "renard", "here"]
    wide, vlm, said = tiny_vlm(0), tiny_vlm(0), []
    vlm.on_full(said.append)
    full_above(vlm, 2, monkeypatch)
    for one, other in zip(wide.score(tiny_queries, targets), vlm.score(tiny_queries, targets), strict=True):
        assert one.nll == pytest.approx(other.nll, abs=1e-4)
    assert vlm.generate(tiny_queries, max_tokens=6) == wide.generate(tiny_queries, max_tokens=6)
    states = [v.hidden(tiny_queries, 2).states for v in (wide, vlm)]
    assert all(torch.allclose(a, b, atol=1e-4) for a, b in zip(*states, strict=True))
    with torch.no_grad():
        logits = [v.answer_logits(tiny_queries, targets) for v in (wide, vlm)]
    assert all(torch.allclose(a, b, atol=1e-3) for a, b in zip(*logits, strict=True))
    assert len(said) == 1 and "out of memory with 7 rows" in said[0]
    assert vlm.times_full == 2 and vlm.passes.room.rows == 1  # 7, 3, then one at a time; never tried again


def test_answers_that_were_begun_go_on_in_halves_too(tiny_queries, monkeypatch) -> None:
    targets = ["red"] * 7
    wide, vlm = tiny_vlm(0), tiny_vlm(0)
    vlm.on_full(lambda _: None)
    answerers = [v.answerer(tiny_queries) for v in (wide, vlm)]
    for answerer in answerers:
        answerer.score(targets)
    full_above(vlm, 4, monkeypatch)
    assert answerers[1].generate(max_tokens=5) == answerers[0].generate(max_tokens=5)
    assert vlm.times_full == 1


def test_one_row_that_does_not_fit_and_other_errors_are_raised(tiny_queries, monkeypatch) -> None:
    vlm = tiny_vlm(0)
    vlm.on_full(lambda _: None)
    full_above(vlm, 0, monkeypatch)
    with pytest.raises(torch.OutOfMemoryError):
        vlm.score(tiny_queries[:1], ["red"])
    monkeypatch.setattr(vlm.model, "forward", lambda *_, **__: (_ for _ in ()).throw(RuntimeError("shapes differ")))
    with pytest.raises(RuntimeError, match="shapes"):
        vlm.score(tiny_queries, ["red"] * 7)
    assert vlm.times_full == 0


@pytest.mark.parametrize("words", ["CUDA out of memory.", "MPS backend out of memory", "can't allocate memory: you"])
def test_every_device_says_in_its_words_that_it_is_full(words) -> None:
    assert is_out_of_memory(RuntimeError(words)) and is_out_of_memory(MemoryError())
    assert not is_out_of_memory(RuntimeError("mat1 and mat2 shapes")) and not is_out_of_memory(ValueError(words))


def test_a_stopwatch_waits_for_whichever_accelerator_the_model_is_on(monkeypatch) -> None:
    waited: list[str] = []
    monkeypatch.setattr(torch.accelerator, "synchronize", lambda device: waited.append(str(device)))
    for kind in ("cuda", "xpu", "mps"):
        monkeypatch.setattr(torch.accelerator, "current_accelerator", lambda *_, kind=kind, **__: torch.device(kind))
        memory.synchronize(torch.device(kind, 0))
        memory.synchronize(CPU)
    assert waited == ["cuda:0", "xpu:0", "mps:0"]
