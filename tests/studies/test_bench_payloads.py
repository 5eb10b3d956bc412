"""Experts beyond the memory budget are held on disk and come back as they were made."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import pytest

from lifelong.bank.storage.shards import Shard
from lifelong.studies.bench.payloads import ExpertSize, fill_and_read

MIB = 2**20


def test_memory_stays_bounded_while_ten_times_as_much_is_stored(tmp_path: Path) -> None:
    code = (
        "import json; from lifelong.studies.bench.payloads import ExpertSize, fill_and_read\n"
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


@pytest.mark.skipif(not Path("/proc/self/status").is_file(), reason="private memory is read from /proc")
def test_a_bank_on_disk_is_resumed_without_reading_it_into_memory(tmp_path: Path) -> None:
    """Files of a checkpoint are mapped as well: the process keeps no private copy of the payloads."""
    code = f"""
import json, pathlib, torch
from lifelong.bank import Bank
from lifelong.log.checkpoint import read_checkpoint, write_checkpoint
def private():
    return next(int(l.split()[1]) * 1024 for l in open("/proc/self/status") if l.startswith("RssAnon"))
folder, make = pathlib.Path({str(tmp_path)!r}), lambda: Bank(16, payloads="disk:{tmp_path}")
bank, rows = make(), torch.arange(64.0)
for n in range(12):
    bank.add([f"e{{64 * n + i}}" for i in range(64)], torch.randn(64, 16).numpy(),
             {{"u": (n * rows)[:, None, None].expand(64, 10, 4096)}})
(folder / "objects").mkdir()
state = bank.state()
write_checkpoint(folder, 1, state, {{"parts": {{}}}}, set())
del bank, state
before, again = private(), make()
again.load(read_checkpoint(folder, 1))
grown = private() - before
whole = sum(p.stat().st_size for p in (folder / "objects").iterdir())
right = all((again.payload("u", again.rows_of([f"e{{64 * n + 63}}"])) == 63 * n).all() for n in range(12))
print(json.dumps([grown, whole, right]))
"""
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    grown, whole, right = json.loads(done.stdout)
    assert right and whole > 120 * MIB
    assert grown < 30 * MIB


def test_an_expert_that_comes_back_changed_is_an_error(monkeypatch) -> None:
    append = Shard.append

    def spoiling(self, *given):
        append(self, *given)
        self.payloads["v"][0, 0, 0] += 1

    monkeypatch.setattr(Shard, "append", spoiling)
    with pytest.raises(RuntimeError, match="changed"):
        fill_and_read(4, ExpertSize(1, 8, 8), reads=5)
