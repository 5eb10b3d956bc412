"""The sentences of the editor contract as functions: each raises `ContractError` when an editor breaks it.

Knows the contract only, no editor in particular. The names are what tests and reports show.
"""

from __future__ import annotations

import json
import math
import re
import tempfile
from dataclasses import replace
from pathlib import Path

import numpy as np
import torch
from pydantic import ValidationError

from lifelong.editing.checks.bench import ContractError, Workbench, answers_of, require, take
from lifelong.editing.contract import Keys, Privileged, State, UnsupportedError
from lifelong.editing.find import EDITORS
from lifelong.log.checkpoint import load_state, save_state
from streams.types import Query


def says_where_it_comes_from(bench: Workbench) -> None:
    """The class's docstring names its paper by arXiv id, or says `reference`."""
    words = bench.kind.__doc__ or ""
    named = re.search(r"\b\d{4}\.\d{4,5}\b", words) or "reference" in words.lower()
    require(bool(named), f"the docstring of {bench.kind.__name__} has neither an arXiv id nor the word 'reference'")


def unknown_option_is_an_error(bench: Workbench) -> None:
    """An option that does not exist is refused."""
    try:
        bench.kind.Options(**{"no_such_option": 1})
    except ValidationError:
        return
    raise ContractError(f"{bench.kind.Options.__name__} takes no_such_option=1; derive it from EditorOptions")


def class_attributes_make_sense(bench: Workbench) -> None:
    """`turn` is at least 1, and only a shipped reference is privileged."""
    turn = bench.make().turn
    require(isinstance(turn, int) and turn >= 1, f"turn is {turn!r}")
    reference = bench.kind.__module__.startswith(f"{EDITORS}.") and (bench.kind.__doc__ or "").startswith("Reference")
    allowed = reference or not issubclass(bench.kind, Privileged)
    require(allowed, f"{bench.kind.__name__} is Privileged: only shipped references may see the probes")


def nothing_happens_before_the_first_edit(bench: Workbench) -> None:
    """Without edits every query is out of scope and answered by the base."""
    answers = bench.ask(bench.make())
    require(not any(r.in_scope for r in answers.routes), "a query has a route although nothing was edited")
    require(not answers.different(bench.base()), "an answer differs from the base although nothing was edited")


def an_edit_changes_something(bench: Workbench) -> None:
    """After edits the state, a route or an answer to an edit's own question is another; not with changes_nothing."""
    own = [e.query for e in bench.edits], [e.target for e in bench.edits]
    fresh, edited = bench.make(), bench.edited()
    before, after = answers_of(fresh, *own), answers_of(edited, *own)
    same_state = _plain(fresh.state(), without="revision") == _plain(edited.state(), without="revision")
    same = same_state and before.routes == after.routes and not before.different(after)
    name = bench.kind.__name__
    if bench.kind.changes_nothing:
        require(same, f"{name} says changes_nothing = True, but its state, routes or answers change with edits")
        return
    require(
        not same,
        f"edit of {name} changes nothing: state, routes and answers to the edits' own questions are as before it."
        " Store what is learnt and use it in route and applied, or say changes_nothing = True",
    )


def a_change_leaves_a_mark(bench: Workbench) -> None:
    """`mark` is another after every edit that changes the state; asking for it changes nothing."""
    editor, first = bench.make(), bench.edits[0]
    again = replace(first, id="again", target=bench.edits[1].target, supersedes=first.id)
    for low in range(0, len(bench.edits) + 1, editor.turn):
        batch = [*bench.edits, again][low : low + editor.turn]
        before, mark = _plain(editor.state(), without="revision"), editor.mark()
        require(_plain(editor.state(), without="revision") == before, "asking for the mark changed the state")
        passed_over = editor.edit(batch) or {}
        require(
            set(passed_over) <= {e.id for e in batch}, f"edit passes over {sorted(passed_over)}, not all its edits"
        )
        changed = _plain(editor.state(), without="revision") != before
        require(
            not changed or editor.mark() != mark or len(passed_over) == len(batch),
            f"edit {batch[0].id} changed the state, but mark is {mark!r} as before",
        )


def encode_ignores_edits(bench: Workbench) -> None:
    """Keys are the same, bit for bit, before and after edits."""
    editor = bench.make()
    before = editor.encode(bench.queries)
    take(editor, bench.edits)
    after = editor.encode(bench.queries)
    require(before.arrays.keys() == after.arrays.keys(), "the names of the keys changed with the edits")
    for name, array in before.arrays.items():
        require(np.array_equal(array, after[name]), f"keys {name!r} changed with the edits")


def encode_gives_one_row_per_query(bench: Workbench) -> None:
    """Keys have one row per query, equal to those of the query encoded alone."""
    editor = bench.make()
    together = editor.encode(bench.queries)
    require(len(together) == len(bench.queries), f"{len(bench.queries)} queries gave {len(together)} key rows")
    alone = Keys.concat([editor.encode([q]) for q in bench.queries])
    for name, array in together.arrays.items():
        close = np.allclose(array, alone[name], rtol=1e-4, atol=1e-4)
        require(close, f"keys {name!r} of a query depend on the other queries of the batch")


def route_is_pure(bench: Workbench) -> None:
    """Routing changes neither the editor nor the next routing."""
    editor = bench.edited()
    keys, before = editor.encode(bench.queries), _plain(editor.state())
    first, second = editor.route(keys), editor.route(keys)
    require(first == second, "routing the same keys twice gave two results")
    require(_plain(editor.state()) == before, "routing changed the editor's state")


def route_names_stored_edits(bench: Workbench) -> None:
    """A route holds ids of edits taken, with one score, weight and revision each, and no id twice."""
    known = {e.id for e in bench.edits}
    for route in bench.ask(bench.edited()).routes:
        lengths = {len(route.ids), len(route.scores), len(route.weights), len(route.revisions)}
        require(len(lengths) == 1, f"ids, scores, weights and revisions of a route differ in length: {route}")
        require(set(route.ids) <= known, f"a route names {sorted(set(route.ids) - known)}, which were never edits")
        require(len(set(route.ids)) == len(route.ids), f"a route names an edit twice: {route.ids}")


def memos_change_nothing(bench: Workbench) -> None:
    """Routing with remembered comparisons equals routing without, also after more edits."""
    editor = bench.edited(bench.edits[:3])
    keys = editor.encode(bench.queries)
    remembered = Keys(keys.arrays, {})
    editor.route(remembered)
    take(editor, bench.edits[3:])
    require(editor.route(remembered) == editor.route(keys), "a memo changed the routes after more edits")


def best_scores_are_numbers(bench: Workbench) -> None:
    """Best scores are finite numbers or None, equal with remembered comparisons, and change no route."""
    editor = bench.edited(bench.edits[:3])
    keys = editor.encode(bench.queries)
    remembered = Keys(keys.arrays, {})
    for later in ([], bench.edits[3:]):
        take(editor, later)
        routes = editor.route(keys)
        best = editor.best_scores(keys, routes)
        require(len(best) == len(keys), f"{len(keys)} queries have {len(best)} best scores")
        wrong = [b for b in best if b is not None and not (isinstance(b, float) and math.isfinite(b))]
        require(not wrong, f"a best score is {wrong[:1]}, neither a finite number nor None")
        again = editor.best_scores(remembered, editor.route(remembered))
        require(again == best, "a memo changed the best scores")
        require(editor.route(remembered) == routes, "asking for best scores changed the routes")


def a_batch_equals_its_rows(bench: Workbench) -> None:
    """A batch of n gives what n batches of one give."""
    editor = bench.edited()
    together = bench.ask(editor)
    for row in range(0, len(bench.probes), 3):
        alone = bench.ask(editor, [row])
        require(alone.routes[0].ids == together.routes[row].ids, f"probe {row} alone has another route")
        picked = type(alone)(together.routes[row : row + 1], together.scored[row : row + 1])
        require(not alone.different(picked), f"probe {row} alone is answered in another way")


def an_unrouted_query_sees_the_base(bench: Workbench) -> None:
    """With routed = True a query without a route is answered by the frozen base."""
    answers, base = bench.ask(bench.edited()), bench.base()
    leaks = [i for i in answers.different(base) if not answers.routes[i].in_scope]
    require(not leaks, f"{len(leaks)} queries without a route are not answered as by the base")


def an_unchanged_route_keeps_the_answer(bench: Workbench) -> None:
    """Equal route digest and `revision` mean an equal answer, also after more edits and re-edits."""
    editor, before, revision = bench.make(), None, -1
    first = bench.edits[0]
    again = replace(first, id="again", target=bench.edits[1].target, supersedes=first.id)
    for edit in (*bench.edits, again):
        take(editor, [edit])
        now = bench.ask(editor)
        if before is not None and revision == editor.revision:
            pairs = zip(before.routes, now.routes, strict=True)
            kept = {i for i, (a, b) in enumerate(pairs) if a.digest == b.digest}
            stale = sorted(kept & set(now.different(before)))
            require(not stale, f"after edit {edit.id} {len(stale)} answers changed although their routes did not")
        before, revision = now, editor.revision


def an_answer_may_be_given_later(bench: Workbench) -> None:
    """With lasting = True a route leads to the same answer after further edits."""
    editor = bench.edited(bench.edits[:3])
    before = bench.ask(editor)
    take(editor, [*bench.edits[3:], bench.extra])
    with editor.applied(bench.queries, before.routes) as answerer:
        later = type(before)(before.routes, answerer.score(bench.targets))
    changed = before.different(later)
    require(not changed, f"{len(changed)} answers under routes of an earlier step changed with further edits")


def the_base_is_untouched(bench: Workbench) -> None:
    """Outside `applied` and after `close` the model is the base bit for bit and no hook is left."""
    before = bench.fingerprint()
    editor = bench.make()
    require(bench.fingerprint() == before, "making or fitting the editor changed the model or left a hook")
    take(editor, bench.edits)
    require(bench.fingerprint() == before, "edit changed the model or left a hook outside applied")
    bench.ask(editor)
    require(bench.fingerprint() == before, "the model is not the base after applied")
    editor.close()
    require(bench.fingerprint() == before, "the model is not the base after close")


def the_base_is_untouched_after_an_error(bench: Workbench) -> None:
    """The model is the base bit for bit when the body of `applied` raises."""
    editor, before = bench.edited(), bench.fingerprint()
    routes = editor.route(editor.encode(bench.queries))
    try:
        with editor.applied(bench.queries, routes):
            raise _Stop
    except _Stop:
        pass
    require(bench.fingerprint() == before, "the model is not the base after an error inside applied")


def state_goes_on_exactly(bench: Workbench) -> None:
    """A fresh editor that loads a state routes and answers equally, and takes the next edit equally."""
    editor, twin = bench.edited(), bench.make()
    twin.load(editor.state())
    require(_plain(twin.state()) == _plain(editor.state()), "the state after load is not the state that was loaded")
    for later in ([], [bench.extra]):
        take(editor, later)
        take(twin, later)
        first, second = bench.ask(editor), bench.ask(twin)
        require(first.routes == second.routes, "routes differ after load")
        require(not first.different(second), "answers differ after load")
        require(editor.nbytes() == twin.nbytes() and editor.bank_len() == twin.bank_len(), "sizes differ after load")


def state_is_plain(bench: Workbench) -> None:
    """A state is finite tensors and JSON values, unchanged by later edits."""
    editor = bench.edited()
    state = editor.state()
    before = json.dumps(state.meta, sort_keys=True)
    copies = {name: t.clone() for name, t in state.tensors.items()}
    take(editor, [bench.extra])
    require(json.dumps(state.meta, sort_keys=True) == before, "a later edit changed the JSON of an earlier state")
    for name, tensor in state.tensors.items():
        require(torch.equal(tensor, copies[name]), f"a later edit changed tensor {name!r} of an earlier state")
        finite = not tensor.is_floating_point() or bool(torch.isfinite(tensor).all())
        require(finite, f"tensor {name!r} of the state is not finite")


def the_same_seed_gives_the_same_editor(bench: Workbench) -> None:
    """Two editors with one seed and the same edits have equal states."""
    require(
        _plain(bench.edited().state()) == _plain(bench.edited().state()),
        "two runs with the same seed end in different states",
    )


def removal_restores_the_base(bench: Workbench) -> None:
    """With removes = True the answers after taking every edit back are the base's; else `UnsupportedError`."""
    editor = bench.edited()
    ids = [e.id for e in bench.edits]
    if not bench.kind.removes:
        try:
            editor.remove(ids)
        except UnsupportedError:
            return
        raise ContractError("removes = False, but remove did not raise UnsupportedError")
    editor.remove(ids[:2])
    routes = bench.ask(editor).routes
    require(not any(set(r.ids) & set(ids[:2]) for r in routes), "a removed edit is still routed to")
    editor.remove(ids[2:])
    answers = bench.ask(editor)
    require(not any(r.in_scope for r in answers.routes), "a query has a route although every edit was taken back")
    require(not answers.different(bench.base()), "an answer differs from the base after every edit was taken back")
    take(editor, bench.edits[:1])


def no_answer_leaks_into_routing(bench: Workbench) -> None:
    """The same queries with two different hidden targets are routed equally."""
    editor = bench.edited()
    routes = []
    for targets in (bench.targets, [t[::-1] for t in bench.targets]):
        found = editor.route(editor.encode(bench.queries))
        with editor.applied(bench.queries, found) as answerer:
            answerer.score(targets)
        routes.append(found + editor.route(editor.encode(bench.queries)))
    require(routes[0] == routes[1], "routes depend on the target that was scored")


def a_newer_answer_takes_the_older_ones_place(bench: Workbench) -> None:
    """With replaces = True a question edited again is answered as if the older edit had never been."""
    shown = next((e for e in bench.edits if e.query.image is not None), bench.edits[0])
    told = replace(shown, id="told", query=Query(shown.query.prompt))
    target = next(e.target for e in bench.edits if e.target != shown.target)
    for first in (shown, told):
        reworded = Query(f"Say it again. {first.query.prompt}", first.query.image)
        for words, said in ((first.query, ""), (first.query, first.id), (reworded, first.id)):
            again = replace(first, id="again", target=target, supersedes=said or None, query=words)
            alone, both, later = bench.edited([again]), bench.edited([first]), bench.make()
            later.load(both.state())  # what it replaces must be known after a resume as well
            take(both, [again])
            take(later, [again])
            wanted, *found = (answers_of(e, [words], [target]) for e in (alone, both, later))
            for one, when in zip(found, ("", ", also after load"), strict=True):
                same = wanted.routes[0].ids == one.routes[0].ids and not wanted.different(one)
                how = f"which {'says' if said else 'does not say'} that it supersedes the first"
                require(
                    same, f"a second edit of a question, {how}, is answered otherwise than it alone would be{when}"
                )


def order_does_not_matter(bench: Workbench) -> None:
    """An editor with append_only = True routes and answers the same whatever the order of edits.

    But where several edits are equally near (one wording about several pictures, routed by words alone): of equal
    keys the oldest is found.
    """
    first, second = bench.ask(bench.edited()), bench.ask(bench.edited(bench.edits[::-1]))
    pairs = [(a, b) for a, b in zip(first.routes, second.routes, strict=True)]
    other = {i for i, (a, b) in enumerate(pairs) if a.ids != b.ids}
    tied = {i for i in other if pairs[i][0].scores == pairs[i][1].scores and pairs[i][0].scores}
    require(other == tied, f"{len(other - tied)} routes depend on the order of the edits")
    require(len(tied) < len(pairs), "every route depends on the order of the edits, all of them being equally near")
    require(not set(first.different(second)) - tied, "answers depend on the order of the edits")


def bytes_grow_with_the_bank(bench: Workbench) -> None:
    """`nbytes` is a whole number that grows with the number of entries."""
    editor = bench.make()
    seen = [(editor.bank_len(), editor.nbytes())]
    for edit in bench.edits:
        take(editor, [edit])
        seen.append((editor.bank_len(), editor.nbytes()))
    require(all(isinstance(n, int) and n >= 0 for _, n in seen), f"nbytes gave {[n for _, n in seen]}")
    pairs = zip(seen, seen[1:], strict=False)
    shrunk = [(a, b) for a, b in pairs if (b[0] > a[0]) and not b[1] > a[1]]
    require(not shrunk, f"the bank grew but nbytes did not: (entries, bytes) {shrunk[:1]}")


def what_fit_learnt_can_be_carried_over(bench: Workbench) -> None:
    """With trains = True an editor that loads what `fit` learnt, from a file, equals the one that learnt it."""
    loaded, learner = bench.make(), bench.learner
    require(_plain(loaded.fitted()) == _plain(bench.learnt()), "load_fitted loses some of what fitted gave")
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "fit.safetensors"
        save_state(path, bench.learnt())
        loaded.load_fitted(load_state(path))
    bench.learner = None  # it takes edits now, once
    if learner is None:
        return
    given = []
    for editor in (learner, loaded):
        with bench.vlm.serving_with():  # neither finds what the other has read
            take(editor, bench.edits)
            given.append((_plain(editor.state()), bench.ask(editor)))
    (first, told), (second, again) = given
    require(first == second, "the editor that learnt and one that loaded take edits differently")
    require(told.routes == again.routes, "the editor that learnt and one that loaded route differently")
    same = all(np.array_equal(a.logprobs, b.logprobs) for a, b in zip(told.scored, again.scored, strict=True))
    require(same, "the editor that learnt and one that loaded answer differently")


class _Stop(Exception):
    """Raised inside `applied` to see what it leaves behind."""


def _plain(state: State, without: str = "") -> tuple[str, dict[str, bytes]]:
    """Return a state as values that can be compared, one of its plain values left out."""
    tensors = {n: t.detach().cpu().contiguous().numpy().tobytes() for n, t in state.tensors.items()}
    return json.dumps({k: v for k, v in state.meta.items() if k != without}, sort_keys=True), tensors
