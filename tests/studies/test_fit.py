"""`lifelong fit`: what is learnt beforehand is what a run finds, and is learnt once."""

from __future__ import annotations

from pathlib import Path

import pytest

from lifelong.editing.find import UnknownEditorError
from lifelong.log.checkpoint import load_state
from lifelong.running.prepare import prepare, resolve
from lifelong.studies.fit import fit

SMALL = {"model": "tiny", "stream": "toy", "editor.steps": 2, "editor.pool": 8, "threads": 1}


def test_a_fit_is_learnt_once_and_is_the_one_that_a_run_takes(tmp_path: Path) -> None:
    cache, into = tmp_path / "cache", tmp_path / "package"
    (first,) = fit(["liveedit"], into=into, cache=str(cache), **SMALL)
    (second,) = fit(["liveedit"], cache=str(cache), **SMALL)
    assert (first.origin, second.origin) == ("learnt", "cached")
    ready = prepare(resolve(None, {"editor": "liveedit", "edits": 3, "cache": str(cache), **SMALL}))
    assert ready.fit is not None and ready.fit.places(cache / "fit")["cached"] == second.path
    assert first.path == into / "liveedit" / "weights" / f"{ready.fit.digest}.safetensors"
    assert first.path and second.path
    assert load_state(first.path).tensors.keys() == load_state(second.path).tensors.keys()


def test_an_editor_that_learns_nothing_says_so_and_a_misspelt_one_is_named(tmp_path: Path) -> None:
    (found,) = fit(["grace"], model="tiny", stream="toy", cache=str(tmp_path), threads=1)
    assert found.path is None and "nothing to learn" in found.line()
    with pytest.raises(UnknownEditorError, match="grace"):
        fit(["grase"], model="tiny", stream="toy")
