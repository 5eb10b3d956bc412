"""The files of fits: damage is named or learnt again, one process learns for all, leftovers of a kill are removed."""

from __future__ import annotations

import threading
from pathlib import Path
from typing import cast

import pytest
import torch

from lifelong.editing import fits
from lifelong.editing.contract import Editor, EditorOptions
from lifelong.editing.fits import Fit
from lifelong.editing.training import Unfinished
from lifelong.log import LogError
from lifelong.log.checkpoint import State, load_state, save_state
from lifelong.log.files import held
from streams.types import Pool


class Learns(Editor):
    """Learns one number, and counts how often."""

    trains = True
    learnt = 0

    def edit(self, edits) -> None:
        pass

    def fit(self, pool) -> None:
        Learns.learnt += 1

    def fitted(self) -> State:
        return State({"weight": torch.ones(64)}, {"threshold": 0.5})


@pytest.fixture()
def fit() -> Fit:
    Learns.learnt = 0
    return Fit(Learns, "learns", EditorOptions(), cast(Pool, Pool((), "", 0)), "0123456789abcdef")


def flip(path: Path, place: int = -9) -> None:
    data = bytearray(path.read_bytes())
    data[place] ^= 4
    path.write_bytes(data)


def test_a_damaged_fit_of_the_cache_is_learnt_again_and_said_once(fit: Fit, tiny_vlm, tmp_path: Path) -> None:
    assert fit.state(tiny_vlm, tmp_path)[1] == "learnt" and fit.state(tiny_vlm, tmp_path)[1] == "cached"
    flip(fit.places(tmp_path)["cached"])
    said: list[str] = []
    state, source = fit.state(tiny_vlm, tmp_path, said.append)
    assert source == "learnt" and torch.equal(state.tensors["weight"], torch.ones(64)) and Learns.learnt == 2
    assert len(said) == 1 and "safetensors: damaged" in said[0] and "learnt again" in said[0]


def test_a_damaged_fit_that_was_shipped_is_named(fit: Fit, tiny_vlm, tmp_path: Path, monkeypatch) -> None:
    monkeypatch.setattr(fits, "SHIPPED", tmp_path)
    shipped = fit.places(tmp_path / "cache")["shipped"]
    shipped.parent.mkdir(parents=True)
    save_state(shipped, State({"weight": torch.ones(64)}, {}))
    assert fit.state(tiny_vlm, tmp_path / "cache")[1] == "shipped"
    flip(shipped)
    with pytest.raises(LogError, match="0123456789abcdef.safetensors: damaged.*install"):
        fit.state(tiny_vlm, tmp_path / "cache")
    assert not Learns.learnt


def test_what_a_kill_left_behind_is_removed_and_other_files_stay(fit: Fit, tiny_vlm, tmp_path: Path) -> None:
    unfinished = tmp_path / f"{fit.digest}-unfinished"
    unfinished.mkdir()
    (unfinished / ".fit-learns.safetensors.4242.tmp").write_text("torn")
    (unfinished / "fit-learns.safetensors").write_text("torn")
    (tmp_path / f".{fit.digest}.safetensors.4242.tmp").write_text("torn")
    said: list[str] = []
    assert fit.state(tiny_vlm, tmp_path, said.append)[1] == "learnt"
    assert [p.name for p in tmp_path.iterdir()] == [f"{fit.digest}.safetensors"]
    assert "begins again" in said[0]
    (tmp_path / "loops").mkdir()
    (tmp_path / "loops" / "notes.txt").write_text("mine")
    Unfinished(tmp_path / "loops").clear()
    assert (tmp_path / "loops" / "notes.txt").read_text() == "mine"


def test_two_processes_share_one_fit(fit: Fit, tiny_vlm, tmp_path: Path) -> None:
    """While another process holds the lock nothing is learnt; what it learnt is taken."""
    said: list[str] = []
    found: list[str] = []
    with held(tmp_path / f"{fit.digest}.lock"):
        thread = threading.Thread(target=lambda: found.append(fit.state(tiny_vlm, tmp_path, said.append)[1]))
        thread.start()
        while not said:
            assert thread.is_alive()
        save_state(fit.places(tmp_path)["cached"], State({"weight": torch.zeros(1)}, {}))
    thread.join(60)
    assert found == ["cached"] and not Learns.learnt and "another process is learning" in said[0]
    assert not (tmp_path / f"{fit.digest}.lock").exists()


def test_every_shipped_fit_tells_its_own_damage() -> None:
    files = sorted(fits.SHIPPED.glob("*/weights/*.safetensors"))
    assert files
    for file in files:
        load_state(file)
