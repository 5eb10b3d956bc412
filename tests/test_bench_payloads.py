"""Experts beyond the memory budget are held on disk and come back as they were made."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import pytest

from lifelong.bench_payloads import ExpertSize, fill_and_read
from lifelong.shards import Shard

MIB = 2**20


def test_memory_stays_bounded_while_ten_times_as_much_is_stored(tmp_path: Path) -> None:
    code = (
        "import json; from lifelong.bench_payloads import ExpertSize, fill_and_read\n"
        "size = ExpertSize(5, 4096, 16)\n"
        f"how = dict(place='disk:{tmp_path}', resident_bytes=2**24, reads=20)\n"
        "few, many = (fill_and_read(n, size, **how) for n in (250, 2500))\n"
        "print(json.dumps([few, many]))"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    few, many = json.loads(done.stdout)
    assert many["payload_bytes"] > 390 * MIB and many["verified"] == 160
    assert many["rss_peak_bytes"] - few["rss_peak_bytes"] < 60 * MIB
    assert not list(tmp_path.iterdir())


def test_an_expert_that_comes_back_changed_is_an_error(monkeypatch) -> None:
    append = Shard.append

    def spoiling(self, *given):
        append(self, *given)
        self.payloads["v"][0, 0, 0] += 1

    monkeypatch.setattr(Shard, "append", spoiling)
    with pytest.raises(RuntimeError, match="changed"):
        fill_and_read(4, ExpertSize(1, 8, 8), reads=5)
