"""LiveEdit on a tiny random model: what is trained is what is applied, and who meets which expert."""

import numpy as np
import pytest
import torch

from lifelong.editing.contract import Keys, Route
from lifelong.editing.pools import Targets, held_out
from lifelong.editors.liveedit import LiveEdit, train
from lifelong.editors.liveedit.calibration import above, margin
from lifelong.editors.liveedit.examples import HiddenTable, examples_of
from lifelong.editors.liveedit.options import LiveEditOptions
from lifelong.editors.liveedit.rows import expert_inputs, routing_view
from streams.stream import Stream, load_stream
from streams.types import Edit, Query

OPTIONS = {"width": 16, "heads": 2, "features": 2, "steps": 2, "batch": 4, "routing_batch": 6, "pool": 12}


def options(**changes: object) -> LiveEditOptions:
    return LiveEditOptions.model_validate({**OPTIONS, **changes})


@pytest.fixture(scope="module")
def stream() -> Stream:
    return load_stream("toy", edits=12, seed=0)


@pytest.fixture
def editor(tiny_vlm) -> LiveEdit:
    out = LiveEdit(tiny_vlm, options())
    for name, parameter in out.modules.named_parameters():
        if "expert_generator.out" in name:
            parameter.data.mul_(20)  # a random model hardly notices a residual of the usual size
    return out


def all_kept(keys: Keys) -> Keys:
    """The same keys with thresholds that every expert passes."""
    low = np.full_like(keys["threshold"], -1e6)
    return Keys({**keys.arrays, "threshold": low})


def test_training_and_editing_apply_the_same_residual(editor: LiveEdit, stream: Stream) -> None:
    """The logits that `fit` optimises are those of the hook that answers, with several experts mixed."""
    edits = [e for e in stream.edits if e.query.image][:3]
    editor.edit(edits)
    queries, targets = [e.query for e in edits], [e.target for e in edits]
    hidden = editor.vlm.hidden(queries, editor.layer, targets)
    with torch.no_grad():
        u, v = editor.modules.experts(*expert_inputs(hidden, editor.vlm.embeddings(), editor.vlm.device))
        rows = routing_view(hidden, editor.vlm.device)
        psi = editor.modules.edit_side.text_branch(rows.prompt, rows.prompt_seen)
        trained = train._resume(editor.vlm, editor.modules, hidden, torch.ones(3, 3, dtype=torch.bool), u, v, psi)
    routes = editor.route(all_kept(editor.encode(queries)))
    assert [len(r.ids) for r in routes] == [3, 3, 3]
    with editor.applied(queries, routes) as answerer:
        scored = answerer.score(targets)
    base = editor.vlm.score(queries, targets)
    for logits, found, before in zip(trained, scored, base, strict=True):
        ids = torch.as_tensor(found.target_ids, dtype=torch.long)
        expected = logits.log_softmax(-1).gather(1, ids[:, None])[:, 0].detach().numpy()
        np.testing.assert_allclose(found.logprobs, expected, atol=2e-4)
        assert np.abs(found.logprobs - before.logprobs).max() > 1e-2


def test_soft_weights_are_sigmoid_times_softmax(editor: LiveEdit, stream: Stream) -> None:
    edits = [e for e in stream.edits if e.query.image][:4]
    editor.edit(edits)
    keys = all_kept(editor.encode([edits[0].query]))
    route = editor.route(keys)[0]
    scores = {
        e.id: float(
            editor.banks["image"].payload("text", editor.banks["image"].rows_of([e.id])).numpy()[0] @ keys["text"][0]
        )
        for e in edits
    }
    total = sum(np.exp(s) for s in scores.values())
    expected = {i: np.exp(s) / total / (1 + np.exp(-s)) for i, s in scores.items()}
    assert dict(zip(route.ids, route.weights, strict=True)) == pytest.approx(expected, rel=1e-5)
    assert list(route.weights) == sorted(route.weights, reverse=True)


def test_a_text_query_meets_experts_of_text_edits_only(editor: LiveEdit, stream: Stream) -> None:
    image = next(e for e in stream.edits if e.query.image)
    text = Edit("text-edit", Query("What is the colour of thing 3?"), "blue", "thing 3")
    editor.edit([image, text])
    routes = editor.route(all_kept(editor.encode([text.query, image.query])))
    assert [r.ids for r in routes] == [("text-edit",), (image.id,)]


def test_the_papers_form_leaves_text_queries_unedited(tiny_vlm) -> None:
    editor = LiveEdit(tiny_vlm, options(text_only="paper", generator="paper"))
    text = Edit("text-edit", Query("What is the colour of thing 3?"), "blue", "thing 3")
    editor.edit([text])
    assert editor.bank_len() == 0
    assert editor.route(all_kept(editor.encode([text.query]))) == [Route()]


def test_fit_learns_to_prefer_its_own_edits_and_leaves_the_model_alone(tiny_vlm, stream: Stream) -> None:
    chosen = options(steps=200, routing_batch=8, learning_rate=1e-2, mixed=0)
    editor, pool = LiveEdit(tiny_vlm, chosen), stream.pool(24, 0)
    before = tiny_vlm.score([stream.edits[0].query], ["red"])[0].logprobs
    table = HiddenTable(tiny_vlm, editor.layer)
    seen = [e for e in examples_of(pool.items, table) if e.has_image]
    table.compute()

    def loss() -> float:
        parts = train.routing_losses(tiny_vlm, editor.modules, table, seen, np.random.default_rng(0))
        return float(parts["hard_neighbour"])

    untrained = loss()
    train.fit_liveedit(tiny_vlm, editor.modules, pool, editor.layer, chosen, seed=0)
    assert loss() < untrained - 0.3
    assert np.array_equal(before, tiny_vlm.score([stream.edits[0].query], ["red"])[0].logprobs)
    other = LiveEdit(tiny_vlm, chosen)
    other.load_fitted(editor.fitted())
    keys = other.encode([stream.edits[0].query])
    assert np.abs(keys["visual"] - editor.encode([stream.edits[0].query])["visual"]).max() < 1e-2


def test_a_fit_draws_new_targets_for_its_edits(stream: Stream) -> None:
    items = stream.pool(24, 0).items
    targets, rng = Targets(items), np.random.default_rng(0)
    of_relation = {i.edit.target for i in items if i.edit.relation == items[0].edit.relation}
    drawn = [targets.draw(items[0].edit.relation, rng) for _ in range(200)]
    assert of_relation < set(drawn)
    assert any(d not in {i.edit.target for i in items} for d in drawn), "no words of two targets together"


@pytest.mark.parametrize("recall", [0.5, 0.9])
def test_the_margin_lets_the_wanted_share_of_rephrases_find_their_edit(tiny_vlm, stream: Stream, recall) -> None:
    editor = LiveEdit(tiny_vlm, options())
    items = [i for i in stream.pool(24, 0).items if i.edit.query.image]
    table = HiddenTable(tiny_vlm, editor.layer)
    examples = examples_of(items, table)
    table.compute()
    editor.margins["image"] = margin(above(editor.modules, table, examples), recall)
    editor.options = options(faint=0)
    found: dict[bool, list[bool]] = {True: [], False: []}
    for example in examples:
        edit = next(i.edit for i in items if i.edit.query == table.asked[example.edit][0])
        editor.edit([edit])
        asked = [table.asked[row][0] for row in example.rephrases]
        for query, route in zip(asked, editor.route(editor.encode(asked)), strict=True):
            found[query.image == edit.query.image].append(route.in_scope)
        editor.remove([edit.id])
    shares = [np.mean(kind) for kind in found.values()]  # in other words, of another picture
    assert min(shares) == pytest.approx(recall, abs=1.5 / min(map(len, found.values()))), shares


def test_the_filter_is_set_on_subjects_that_training_never_sees(tiny_vlm, stream: Stream) -> None:
    table = HiddenTable(tiny_vlm, 1)
    examples = examples_of(stream.pool(24, 0).items, table)
    rest, unseen = held_out(examples, 0.3, np.random.default_rng(0))
    assert unseen and not {e.fact[0] for e in rest} & {e.fact[0] for e in unseen}
    assert len(rest) + len(unseen) == len(examples)


def test_a_faint_newcomer_changes_no_route(tiny_vlm) -> None:
    editor = LiveEdit(tiny_vlm, options())
    size = 2 * 16

    def put(name: str, score: float) -> None:
        text = torch.zeros(1, size)
        text[0, 0] = score
        editor.banks["image"].add([name], np.ones((1, size), dtype=np.float32), {"text": text})

    one, words = np.ones((1, size), dtype=np.float32), np.eye(1, size, dtype=np.float32)
    low, sees = np.full((1, 1), -1e6, dtype=np.float32), np.ones((1, 1), dtype=np.float32)
    keys = Keys({"visual": one, "text": words, "threshold": low, "sees": sees})
    put("a", 3.0)
    put("b", 2.0)
    (before,) = editor.route(keys)
    put("c", -9.0)
    assert editor.route(keys) == [before] and before.ids == ("a", "b")
    editor.options = options(faint=0)
    assert editor.route(keys)[0].ids == ("a", "b", "c")


def test_a_margin_moves_the_hard_filter(tiny_vlm, stream: Stream) -> None:
    editor = LiveEdit(tiny_vlm, options())
    edit = next(e for e in stream.edits if e.query.image)
    editor.edit([edit])
    keys = editor.encode([edit.query])
    for limit, ids in ((-1e6, (edit.id,)), (1e6, ())):
        editor.margins = {"image": limit, "text": limit}
        assert editor.route(keys)[0].ids == ids


def test_margin_0_is_the_papers_hard_filter_whatever_fit_found(tiny_vlm, stream: Stream) -> None:
    """Eq. 5: an expert is kept where it looks strictly more like the query than the sentinel does."""
    editor = LiveEdit(tiny_vlm, options(margin=0, faint=0))
    editor.margins = {"image": -1e6, "text": -1e6}
    edits = [e for e in stream.edits if e.query.image]
    editor.edit(edits)
    queries = [p.query for e in edits for p in stream.probes(e.id) if p.query.image]
    with torch.no_grad():
        hidden = tiny_vlm.hidden([e.query for e in edits], editor.layer, [e.target for e in edits])
        told = routing_view(hidden, tiny_vlm.device)
        asked = routing_view(tiny_vlm.hidden(queries, editor.layer), tiny_vlm.device)
        look = editor.modules.edit_side.visual_branch
        stored = look(told.prompt, told.prompt_seen, told.seen, told.seen_seen)
        seen, sentinel = editor.modules.seen_and_sentinel(
            asked.prompt, asked.prompt_seen, asked.seen, asked.seen_seen
        )
        likeness = editor.modules.similarity(seen, stored)
        limit = editor.modules.similarity(seen, sentinel).diagonal()
    kept = [{e.id for e, s in zip(edits, row, strict=True) if s > t} for row, t in zip(likeness, limit, strict=True)]
    routes = editor.route(editor.encode(queries))
    assert [set(r.ids) for r in routes] == kept and 0 < sum(map(len, kept)) < len(queries) * len(edits)


def test_an_own_margin_overrules_that_of_fit_and_needs_no_other_fit(tiny_vlm, stream: Stream) -> None:
    edit = next(e for e in stream.edits if e.query.image)
    for own, ids in ((-1e6, (edit.id,)), (1e6, ())):
        editor = LiveEdit(tiny_vlm, options(margin=own))
        editor.edit([edit])
        assert editor.route(editor.encode([edit.query]))[0].ids == ids
        assert LiveEdit.fit_options(editor.options) == LiveEdit.fit_options(options())
