"""What trained editors ship is what a run with default options looks for, so that no user trains first."""

from __future__ import annotations

from pathlib import Path

import pytest

from lifelong.editing.find import editor_class
from lifelong.editing.fits import SHIPPED
from lifelong.running.prepare import prepare, resolve

SHIPS = sorted(folder.parent.name for folder in SHIPPED.glob("*/weights"))


def test_the_main_jobs_trained_editors_ship_their_fits() -> None:
    assert {"liveedit", "rag"} <= set(SHIPS)


@pytest.mark.parametrize("name", SHIPS)
def test_a_shipped_fit_is_the_one_that_a_run_looks_for(name: str) -> None:
    ready = prepare(resolve(None, {"editor": name, "edits": 1}))
    assert editor_class(name).trains and ready.fit is not None
    wanted = ready.fit.places(Path("nowhere"))["shipped"]
    assert [p.name for p in wanted.parent.iterdir()] == [wanted.name], "a stale fit, or none for this model and pool"
    editor = ready.editor()
    editor.close()
