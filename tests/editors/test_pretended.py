"""Every editor runs on a device that refuses what CUDA refuses: mixed devices, `.numpy()`, layer norms of two types.

In processes of their own: torch knows one such device for as long as a process lives.
"""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

from lifelong.editing.find import editor_names

TESTS = Path(__file__).parents[1]
START = """
import sys, lifelong, torch
from pretended import pretended_device
"""
CHECK = """
from lifelong.editing.contract import Route
from lifelong.editing.find import editor_class
from lifelong.models.cache import TieredCache
from lifelong.models.tiny import tiny_vlm
from streams.types import Edit, ImageRef, Query

with pretended_device() as device:
    far, half = torch.ones(2, device=device), torch.ones(2, dtype=torch.float16, device=device)
    for wrong in (lambda: far + torch.ones(2), lambda: far.numpy(), lambda: torch.stack([far, torch.ones(2)]),
                  lambda: torch.nn.functional.layer_norm(far, (2,), half),
                  lambda: torch.randn(2, device=device, generator=torch.Generator())):
        try:
            wrong()
        except (RuntimeError, TypeError):
            print("refused")
    cache = TieredCache(1000, 8)
    for name in "abc":
        cache.put(name, torch.full((2,), float(ord(name)), device=device), 8)
    print(cache.near_used_bytes, cache.used_bytes, len(cache))
    for name in "abc":
        got = cache.get(name)
        print(name, got.device.type, got.tolist() == [ord(name)] * 2, cache.near_used_bytes)
    print(cache.hits, cache.misses, "b" in cache)
    grads = []
    for place in ("cpu", device):
        torch.manual_seed(0)
        cell = torch.nn.LSTM(3, 4, bidirectional=True)
        words = [torch.randn(n, 3) for n in (4, 2)]
        there = cell.to(place)
        packed = torch.nn.utils.rnn.pack_sequence([w.to(place) for w in words], enforce_sorted=False)
        there(packed)[1][0].square().sum().backward()
        grads.append([p.grad.cpu() for p in there.parameters()])
    print("alike", all(torch.allclose(a, b, atol=1e-6) for a, b in zip(*grads)))
    vlm = tiny_vlm(0, dtype=torch.bfloat16, device=device)
    edit = Edit("a", Query("Who made this bowl?", ImageRef("noise:a", "a")), "Ann", "bowl")
    few = {"ft": {"steps": 2}, "grace": {"steps": 2}, "liveedit": {"payloads": device}}
    for name, options in few.items():
        kind = editor_class(name)
        editor = kind(vlm, kind.Options(**options))
        editor.edit([edit])
        with editor.applied([edit.query], [Route(("a",), (1.0,))]) as answerer:
            print(name, answerer.score(["Ann"])[0].nll > 0, len(answerer.generate(max_tokens=2)))
"""
PLACES = """
from lifelong.editing.find import editor_class
from lifelong.editors.recipe.reading import FeatureReader
from lifelong.models.tiny import tiny_vlm
from streams.types import Edit, Query

def edits(n):
    return [Edit(f"e{i}", Query(f"Who made bowl {i}?"), "Ann", "bowl") for i in range(n)]

def made(name, vlm, **options):
    kind = editor_class(name)
    return kind(vlm, kind.Options(**options))

with pretended_device() as device:
    vlm = tiny_vlm(0, device=device)
    patcher = made("t_patcher", vlm, steps=2, memory=0)
    patcher.edit(edits(1))
    patcher.load_fitted(patcher.fitted())
    patcher.load(patcher.state())
    unike = made("unike", vlm, silent=0, steps=2)
    sites = [patcher.site, *unike.sites]
    print({t.device.type for s in sites for t in (s.silent, *map(s.patches.table, ("keys", "values", "states")))})
    print({t.device.type for t in (*patcher.state().tensors.values(), *patcher.fitted().tensors.values())})
    wise, masks = made("wise", vlm, steps=1, outside=0, shard=2), []
    for edit in edits(3):
        wise.edit([edit])
        masks.append(wise._mask[1])
    print(masks[0].device.type, masks[0] is masks[1], masks[1] is masks[2])
    for room in (vlm.memory.near, 4):
        reader = FeatureReader(tiny_vlm(0, device=device, memory_bytes=room), 1, pictures=False)
        print(reader.features([edits(1)[0].query]).device.type)
"""
RUNS = """
small = {
    "liveedit": {"steps": 2, "pool": 20, "half": False, "payloads": "pretended"},
    "recipe": {"steps": 1, "pool": 20, "routing_steps": 2, "half": False},
    "mend": {"steps": 2, "pool": 20}, "ke": {"steps": 2, "pool": 20}, "lte": {"steps": 1, "pool": 20},
    "mscke": {"steps": 2, "pool": 20}, "serac": {"pool": 20}, "t_patcher": {"steps": 3, "memory": 20},
    "unike": {"fit_steps": 2, "memory": 10, "silent": 20, "steps": 3}, "grace": {"steps": 3}, "ft": {"steps": 3},
    "lora": {"steps": 2}, "wise": {"steps": 3, "outside": 2}, "lemoe": {"steps": 3}, "melo": {"steps": 3},
}
editor, out = sys.argv[1:]
panels = {"panels.latency_routes": 1, "panels.latency_answers": 1, "panels.instant_axes": ["reliability"]}
options = {f"editor.{key}": value for key, value in small.get(editor, {}).items()}
with pretended_device() as device:
    lifelong.run(editor=editor, model="tiny", stream="toy", edits=2, panels=[2], threads=1, device=device, out=out,
                 quiet=True, **{"fit.edits": 20}, **panels, **options)
print("ran", editor)
"""


def child(program: str, *words: str) -> list[str]:
    env = {**os.environ, "PYTHONPATH": os.pathsep.join([str(TESTS.parent), str(TESTS)]), "OMP_NUM_THREADS": "1"}
    told = [sys.executable, "-c", START + program, *words]
    done = subprocess.run(told, env=env, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr[-3000:]
    return done.stdout.split("\n")[:-1]


def test_the_device_refuses_what_cuda_refuses_and_caches_and_editors_do_not_mix_devices_or_types() -> None:
    told = child(CHECK)
    assert told[:5] == ["refused"] * 5
    assert told[5] == "8 16 3"  # one of three on the device
    assert told[6:9] == [f"{name} pretended True 8" for name in "abc"]
    assert told[9] == "3 0 True"
    assert told[10] == "alike True"
    assert told[11:] == [f"{name} True 1" for name in ("ft", "grace", "liveedit")]


def test_tables_lie_where_every_pass_reads_them_and_what_has_no_room_there_on_the_host() -> None:
    """Neurons and states to be silent on with the model; what a fit or a run keeps on the host; one mask a memory."""
    assert child(PLACES) == ["{'pretended'}", "{'cpu'}", "pretended True False", "pretended", "cpu"]


@pytest.mark.soak
@pytest.mark.parametrize("editor", editor_names())
def test_every_editor_runs_on_it(editor, tmp_path) -> None:
    assert child(RUNS, editor, str(tmp_path))[-1] == f"ran {editor}"
