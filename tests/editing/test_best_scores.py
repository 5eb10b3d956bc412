"""Every router says how near the nearest stored expert was, also of a question that it refuses to serve."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import numpy as np
import pytest

from lifelong.bank import Bank
from lifelong.editing.contract import Editor, Keys, Route
from lifelong.editing.find import editor_class, editor_names
from lifelong.editing.radius_bank import RadiusBank, nearness
from streams.stream import load_stream
from streams.types import Query

QUICK: dict[str, dict[str, Any]] = {"liveedit": {"faint": 0.0}, "ike": {"threshold": 0.8}, "grace": {"steps": 2}}
ROUTERS = sorted(set(editor_names()) - {"none", "ft", "ft_vision", "lora", "ke", "mend", "t_patcher", "unike"})
SEARCHING = sorted(set(ROUTERS) - {"oracle", "told"})


def edited(name: str, vlm) -> tuple[Editor, list[Query]]:
    """An editor as it is before any fit, with edits in it, and questions in and out of their scope."""
    kind, stream = editor_class(name), load_stream("toy", edits=8, seed=0)
    editor = kind(vlm, kind.Options(**QUICK.get(name, {})))
    if name == "ike":  # it edits nothing without demonstrations
        editor.fit(stream.pool(8, 0))
    for low in range(0, 6, editor.turn):
        editor.edit(stream.edits[low : min(6, low + editor.turn)])
    return editor, [p.query for e in stream.edits for p in stream.probes(e.id)]


def kind_of(query: Query) -> bool:
    return query.image is not None


@pytest.mark.parametrize("name", SEARCHING)
def test_no_refused_question_is_nearer_than_a_served_one_of_its_kind(name: str, tiny_vlm) -> None:
    editor, queries = edited(name, tiny_vlm)
    keys = editor.encode(queries)
    routes = editor.route(keys)
    best = [b for b in editor.best_scores(keys, routes) if b is not None]
    assert len(best) == len(queries)
    for kind in (True, False):
        here = [(b, r.in_scope) for b, r, q in zip(best, routes, queries, strict=True) if kind_of(q) == kind]
        served, refused = ([b for b, inside in here if inside is which] for which in (True, False))
        if served and refused:
            assert max(refused) <= min(served)


@pytest.mark.parametrize("name", ROUTERS)
def test_before_the_first_edit_nothing_is_near(name: str, tiny_vlm) -> None:
    kind = editor_class(name)
    editor = kind(tiny_vlm, kind.Options(**QUICK.get(name, {})))
    keys = editor.encode([Query("Who made it?")])
    assert editor.best_scores(keys, editor.route(keys)) == [None]


def test_grace_tells_the_distance_of_what_its_radius_does_not_reach(tiny_vlm) -> None:
    editor, queries = edited("grace", tiny_vlm)
    keys = editor.encode(queries)
    stored = editor.routing_banks()[0]
    entries = stored.keys_of(stored.rows_of(stored.ids()))
    gaps = np.linalg.norm(keys["key"][:, None].astype(np.float64) - entries[None], axis=2).min(1)
    routes = editor.route(keys)
    assert not all(r.in_scope for r in routes)
    assert [r.best for r in routes] == pytest.approx((-gaps).tolist(), rel=1e-6)


def test_liveedit_tells_the_visual_score_above_the_sentinels_whatever_the_filter_keeps(tiny_vlm) -> None:
    editor, queries = edited("liveedit", tiny_vlm)
    keys = editor.encode(queries)
    found = editor.best_scores(keys, editor.route(keys))
    raised = Keys({**keys.arrays, "threshold": keys["threshold"] + 9})  # the filter keeps nobody
    routes = editor.route(raised)
    assert not any(r.in_scope for r in routes)
    assert editor.best_scores(raised, routes) == pytest.approx([b - 9 for b in found], abs=1e-5)  # pyright: ignore
    banks = dict(zip(("image", "text"), editor.routing_banks(), strict=True))
    for i, query in enumerate(queries):
        bank: Bank = banks["image" if query.image else "text"]
        scores = bank.keys_of(bank.rows_of(bank.ids())) @ keys["visual"][i]
        assert found[i] == pytest.approx(float(scores.max()) - float(keys["threshold"][i, 0]), abs=1e-4)


def test_a_best_score_is_no_part_of_a_route() -> None:
    route = Route(("a",), (0.5,))
    told = replace(route, best=0.5)
    assert told == route and told.digest == route.digest and replace(Route(), best=-1.0) == Route()
    assert replace(Route(), best=-1.0).digest == "" and not replace(Route(), best=-1.0).in_scope


def test_an_empty_bank_of_radii_is_near_to_nothing() -> None:
    (entry, distance), *_ = RadiusBank(2, 1.0).inside(np.zeros((1, 2), np.float32))
    assert entry is None and nearness(distance) is None
