"""What a run will ask is known before it begins: no more is asked of the frozen model, and no less."""

from __future__ import annotations

from typing import Any

import pytest

import lifelong
from lifelong.editors.rag import Rag
from lifelong.log import Probed, RunLog
from lifelong.probing.baseline import Baseline
from lifelong.probing.due import ever_asked
from lifelong.running.config import Panels
from streams.stream import load_stream

REEDITS: dict[str, Any] = {"order": "reedits", "reedits": 0.5}
PANELS = [
    {"at": (5, 20)},
    {"at": (5, 20), "instant_axes": ("reliability",)},
    {"at": (10, 20), "instant": False, "most": 4},
    {"at": (12,), "instant_axes": ("reliability", "locality"), "sample": 3},
]


@pytest.mark.parametrize("panels", PANELS, ids=str)
@pytest.mark.parametrize("editor", ["oracle", {"name": "ft", "steps": 2}], ids=["oracle", "ft"])
def test_what_is_asked_is_what_was_foreseen(tmp_path, editor: Any, panels: dict[str, Any]) -> None:
    """The run, which has no other frozen answers, asks just these probes (edits that nothing routes to as well)."""
    words = {"model": "tiny", "stream": "toy", "edits": 30, "panels.latency_routes": 0, "out": str(tmp_path)}
    words |= {f"stream.{k}": v for k, v in REEDITS.items()} | {f"panels.{k}": v for k, v in panels.items()}
    log = RunLog.open(lifelong.run(None, quiet=True, editor=editor, **words))  # pyright: ignore[reportArgumentType]
    asked = set(log.table(Probed)["probe_id"].to_pylist())
    stream, chosen = load_stream("toy", edits=30, seed=0, **REEDITS), Panels.model_validate(panels)
    foreseen = ever_asked(stream, chosen, chosen.steps(30), routed=editor == "oracle")
    assert asked == {p.id for p in foreseen}


def test_the_frozen_model_is_asked_before_anything_is_learnt(tmp_path, monkeypatch) -> None:
    """Its seconds are then not those of a fit."""
    happened: list[str] = []
    fit, prepare = Rag.fit, Baseline.prepare
    monkeypatch.setattr(Rag, "fit", lambda self, pool: (happened.append("fit"), fit(self, pool))[1])
    monkeypatch.setattr(Baseline, "prepare", lambda *a, **k: (happened.append("frozen"), prepare(*a, **k))[1])
    words = {"model": "tiny", "stream": "toy", "fit.edits": 4, "out": str(tmp_path), "cache": str(tmp_path / "cache")}
    lifelong.run(None, quiet=True, editor="rag", edits=3, **words)  # pyright: ignore[reportArgumentType]
    assert happened == ["frozen", "fit"]
