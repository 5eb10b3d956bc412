"""Fits that are killed: what an earlier process kept is gone on with, and the same is learnt."""

from __future__ import annotations

import itertools
from pathlib import Path

import pytest
import torch

from lifelong.editing import training
from lifelong.editing.checks.bench import POOL, STEPS
from lifelong.editing.find import editor_class, editor_names
from lifelong.editing.fits import Fit
from lifelong.log.checkpoint import State, load_state
from streams.stream import load_stream

LOOPS = {"steps", "fit_steps", "routing_steps"}
TRAINED = ["ke", "liveedit", "lte", "mend", "mscke", "recipe", "serac", "unike"]


@pytest.mark.parametrize("name", [n for n in editor_names() if editor_class(n).trains])
def test_every_fit_that_takes_steps_keeps_them(name, tiny_vlm, tmp_path):
    learn(name, tiny_vlm, tmp_path)
    assert bool(list(tmp_path.iterdir())) == (name in TRAINED)


class Killed(BaseException):
    """What a fit ends with in these tests."""


def learn(name: str, vlm, unfinished: Path | None = None) -> State:
    fields = editor_class(name).Options.model_fields
    editor = editor_class(name)(vlm, editor_class(name).Options(**dict.fromkeys(LOOPS & set(fields), STEPS)), seed=0)
    editor.unfinished = unfinished
    try:
        editor.fit(load_stream("toy", edits=4, seed=0).pool(POOL, 0))
        return editor.fitted()
    finally:
        editor.close()


@pytest.mark.parametrize("name", TRAINED)
def test_a_fit_killed_twice_learns_what_an_unbroken_one_learns(name, tiny_vlm, tmp_path, monkeypatch):
    learn(name, tiny_vlm)  # fills the model's cache: states of another batch differ in the last digit
    whole = learn(name, tiny_vlm)
    monkeypatch.setattr(training, "KEPT_EVERY_S", 0.0)
    keep, kept = training._keep, itertools.count(1)

    def killing(*args) -> None:
        keep(*args)
        if next(kept) in (1, 3):
            raise Killed

    monkeypatch.setattr(training, "_keep", killing)
    for _ in range(2):
        with pytest.raises(Killed):
            learn(name, tiny_vlm, tmp_path)
    again = learn(name, tiny_vlm, tmp_path)
    assert next(kept) > 4, "the third process had something left to do"
    assert again.meta == whole.meta and again.tensors.keys() == whole.tensors.keys()
    for key, tensor in whole.tensors.items():
        # Cached states may have been computed in another batch: the last digit, far below one step of any optimiser.
        torch.testing.assert_close(again.tensors[key], tensor, rtol=1e-5, atol=1e-7, msg=key)


def test_a_finished_fit_leaves_nothing_unfinished(tiny_vlm, tmp_path):
    kind = editor_class("recipe")
    options = kind.Options(steps=2, routing_steps=2, batch=4, routing_batch=6)  # type: ignore[call-arg]
    fit = Fit.of(kind, "recipe", options, tiny_vlm, load_stream("toy", edits=4, seed=0).pool(POOL, 0))
    state, source = fit.state(tiny_vlm, tmp_path)
    assert source == "learnt" and [p.name for p in tmp_path.iterdir()] == [f"{fit.digest}.safetensors"]
    assert load_state(fit.places(tmp_path)["cached"]).tensors.keys() == state.tensors.keys()
