"""The frozen model's answers are shared: what another process is computing is waited for, not computed again."""

from __future__ import annotations

import random
import threading

import numpy as np
import pytest

import lifelong.probing.baseline as module
from lifelong.log.files import held
from lifelong.models.tiny import tiny_vlm
from lifelong.probing.baseline import Baseline
from streams.stream import load_stream


def test_a_lock_is_one_processs_at_a_time_and_leaves_no_file(tmp_path):
    path = tmp_path / "a" / "x.lock"
    with held(path) as first, held(path) as second:
        assert first and not second
    assert not path.exists()


def test_a_chunk_that_another_process_computes_is_put_off_and_read(tmp_path, monkeypatch: pytest.MonkeyPatch):
    """While one chunk is locked all others are answered; it is computed here only if its owner gave up."""
    monkeypatch.setattr(module, "CHUNK_ROWS", 16)
    stream = load_stream("toy", edits=4, seed=3)
    probes = [p for e in stream.edits for p in stream.probes(e.id)]
    plain = Baseline.prepare(tiny_vlm(), probes, tmp_path / "plain", max_tokens=4)
    files = sorted((tmp_path / "plain").rglob("*.parquet"))
    locked = tmp_path / "shared" / files[0].parent.name / files[0].with_suffix(".lock").name
    seen: list[tuple[int, int]] = []
    results: list[Baseline] = []

    def work() -> None:
        baseline = Baseline.prepare(
            tiny_vlm(), probes, tmp_path / "shared", max_tokens=4, on_progress=lambda d, n: seen.append((d, n))
        )
        results.append(baseline)

    with held(locked):
        thread = threading.Thread(target=work)
        thread.start()
        thread.join(20)
        assert thread.is_alive() and len(seen) == len(files) - 1 > 0
    thread.join(60)
    assert seen[-1] == (len(plain), len(plain))
    assert all(results[0].text(p.query) == plain.text(p.query) for p in probes)


def test_a_damaged_answer_of_the_cache_is_asked_again_and_said(tmp_path):
    stream = load_stream("toy", edits=1, seed=3)
    probes = [p for p in stream.every_probe() if p.axis == "locality"][:1]
    plain = Baseline.prepare(tiny_vlm(), probes, tmp_path, max_tokens=4)
    (file,) = tmp_path.rglob("*.parquet")
    data, random_bit = file.read_bytes(), random.Random(24)
    asks = module._asks_of(probes)
    noticed = 0
    for _ in range(200):
        flipped = bytearray(data)
        flipped[random_bit.randrange(len(data))] ^= 1 << random_bit.randrange(8)
        file.write_bytes(flipped)
        found = module._read(file, asks)
        noticed += found is None
        if found is not None:
            assert [r.text for r in found] == [plain.text(ask.query) for ask in asks]
            for ask, reply in zip(asks, found, strict=True):
                for target in ask.targets:
                    assert np.array_equal(reply.forced[target].logprobs, plain.forced(ask.query, target).logprobs)
    assert noticed > 100
    file.write_bytes(data[:-20])
    (file.parent / f".{file.name}.4242.tmp").write_text("torn")
    said: list[str] = []
    again = Baseline.prepare(tiny_vlm(), probes, tmp_path, max_tokens=4, say=said.append)
    assert said == [f"{file}: damaged; the frozen model is asked again"] and file.read_bytes() == data
    assert [again.text(p.query) for p in probes] == [plain.text(p.query) for p in probes]
    assert [p.name for p in file.parent.iterdir()] == [file.name]
