"""Every shipped editor keeps the contract, and the checks notice editors that do not."""

from __future__ import annotations

import re
import sys
from collections.abc import Iterator
from contextlib import contextmanager

import pytest
import torch

from lifelong.editing.checks.bench import Workbench
from lifelong.editing.checks.check import check_editor, checks_for, run_check
from lifelong.editing.contract import Editor, Keys, Route
from lifelong.editing.find import editor_class, editor_names


def pairs() -> list:
    return [
        pytest.param(name, check, id=f"{name}:{check.name}")
        for name in editor_names()
        for check in checks_for(editor_class(name))
    ]


@pytest.fixture(scope="module")
def benches(tiny_vlm) -> dict[str, Workbench]:
    """One bench per editor, so that each is fitted once."""
    return {name: Workbench(editor_class(name), tiny_vlm) for name in editor_names()}


@pytest.mark.parametrize(("name", "check"), pairs())
def test_editor(name, check, benches):
    check.run(benches[name])


class Careless(Editor):
    """Breaks the contract in three ways (no paper)."""

    removes = True

    def edit(self, edits):
        with torch.no_grad():
            self.vlm.embeddings().add_(1e-3)

    def route(self, keys: Keys) -> list[Route]:
        return [Route(("never-seen",), (1.0,))] * len(keys)

    @contextmanager
    def applied(self, queries, routes) -> Iterator:
        yield self.vlm.answerer(queries)


@pytest.mark.parametrize("name", [n for n in editor_names() if n != "none"])
def test_an_editor_says_what_an_expert_is_and_what_it_costs(name):
    """Its source or that it is a reference, memory with the number of edits, the cost of a query."""
    kind = editor_class(name)
    told = f"{sys.modules[kind.__module__].__doc__} {kind.__doc__}"
    assert re.search(r"arXiv \d{4}\.\d{5}|[Rr]eference", told)
    assert re.search(r"expert", told) and re.search(r"[Mm]emory|bytes", told)
    assert re.search(r"quer(y|ies)\s+costs?", told)


def test_checks_notice_a_careless_editor():
    from lifelong.models.tiny import tiny_vlm

    bench = Workbench(Careless, tiny_vlm(1))
    failed = {c.name for c in checks_for(Careless) if run_check(c, bench).outcome == "failed"}
    assert failed >= {"says_where_it_comes_from", "route_names_stored_edits", "the_base_is_untouched"}
    assert failed >= {"removal_restores_the_base", "nothing_happens_before_the_first_edit"}


def test_a_file_outside_the_package_is_checked(tmp_path, tiny_vlm):
    path = tmp_path / "mine.py"
    path.write_text(
        '"""Mine."""\nfrom lifelong import Editor\n\n\nclass Mine(Editor):\n    """A reference."""\n\n'
        "    def edit(self, edits):\n        raise RuntimeError('no disk')\n"
    )
    report = check_editor(str(path), tiny_vlm)
    assert not report.ok and "no disk" in report.text() and report.editor == "mine.py"


def test_a_route_of_ids_and_scores_is_the_one_written_out():
    short, whole = Route(("a", "b"), (0.9, 0.8)), Route(("a", "b"), (0.9, 0.8), (1.0, 1.0), (0, 0))
    assert short == whole and short.digest == whole.digest != Route(("a", "b"), (0.9, 0.8), (1.0, 0.5)).digest
    assert Route() == Route((), (), (), ()) and not Route().digest
