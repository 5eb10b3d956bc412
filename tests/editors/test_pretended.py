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
CHILD = """
import sys, lifelong, torch
from pretended import pretended_device
from lifelong.models.cache import TieredCache
from lifelong.models.tiny import tiny_vlm
small = {
    "liveedit": {"steps": 2, "pool": 20, "half": False, "payloads": "pretended"},
    "recipe": {"steps": 1, "pool": 20, "routing_steps": 2, "half": False},
    "mend": {"steps": 2, "pool": 20}, "ke": {"steps": 2, "pool": 20}, "lte": {"steps": 1, "pool": 20, "half": False},
    "mscke": {"steps": 2, "pool": 20}, "serac": {"pool": 20}, "t_patcher": {"steps": 3, "memory": 20},
    "unike": {"fit_steps": 2, "memory": 10, "silent": 20, "steps": 3}, "grace": {"steps": 3}, "ft": {"steps": 3},
    "lora": {"steps": 2}, "wise": {"steps": 3, "outside": 2}, "lemoe": {"steps": 3}, "melo": {"steps": 3},
}
dtype, out, *editors = sys.argv[1:]
panels = {"panels.latency_routes": 1, "panels.latency_answers": 1, "panels.instant_axes": ["reliability"]}
with pretended_device() as device:
    if dtype == "check":
        far = torch.ones(2, device=device)
        for wrong in (lambda: far + torch.ones(2), lambda: far.numpy(), lambda: torch.stack([far, torch.ones(2)]),
                      lambda: torch.nn.functional.layer_norm(far, (2,), torch.ones(2, dtype=torch.float16, device=device)),
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
    for editor in editors:
        options = {f"editor.{key}": value for key, value in small.get(editor, {}).items()}
        lifelong.run(editor=editor, model="tiny", stream="toy", edits=2, panels=[2], threads=1, dtype=dtype,
                     device=device, out=out, quiet=True, **{"fit.edits": 20}, **panels, **options)
        print("ran", editor, flush=True)
"""


def child(*words: str) -> list[str]:
    env = {**os.environ, "PYTHONPATH": os.pathsep.join([str(TESTS.parent), str(TESTS)]), "OMP_NUM_THREADS": "1"}
    done = subprocess.run([sys.executable, "-c", CHILD, *words], env=env, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr[-3000:]
    return done.stdout.split("\n")[:-1]


def test_the_device_refuses_what_cuda_refuses_and_a_cache_of_two_tiers_moves_what_it_keeps(tmp_path) -> None:
    told = child("check", str(tmp_path))
    assert told[:5] == ["refused"] * 5
    assert told[5] == "8 16 3"  # one of three on the device
    assert told[6:9] == [f"{name} pretended True 8" for name in "abc"]
    assert told[9] == "3 0 True"


def test_editors_run_on_it_in_the_type_of_large_models(tmp_path) -> None:
    assert child("bfloat16", str(tmp_path), "ft", "liveedit") == ["ran ft", "ran liveedit"]


@pytest.mark.soak
@pytest.mark.parametrize("editor", editor_names())
def test_every_editor_runs_on_it(editor, tmp_path) -> None:
    assert child("float32", str(tmp_path), editor) == [f"ran {editor}"]
