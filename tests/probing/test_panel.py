"""The panel: what is asked when, what the facts say, and that nothing sees an answer."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from lifelong.editing.contract import Answerer, Editor, Keys, Route
from lifelong.editors.grace import Grace, GraceOptions
from lifelong.editors.none import Unedited
from lifelong.log import Gauged, Probed, Timed
from lifelong.models.tiny import tiny_vlm
from lifelong.models.vlm import VLM
from lifelong.probing.baseline import Baseline, MissingBaselineError
from lifelong.probing.due import draw_queries, log_age_sample
from lifelong.probing.panel import Panel, PanelSettings
from streams.stream import Stream, load_stream
from streams.times.traffic import TrafficFacts, TrafficOptions, draw_traffic, pose
from streams.types import Edit, Probe, Query

QUIET = PanelSettings(latency_routes=0, latency_answers=0)


@pytest.fixture(scope="module")
def vlm() -> VLM:
    return tiny_vlm()


@pytest.fixture(scope="module")
def stream() -> Stream:
    return load_stream("toy", edits=6, seed=3)


@pytest.fixture(scope="module")
def baseline(vlm: VLM, stream: Stream) -> Baseline:
    return Baseline.prepare(vlm, stream.every_probe(), max_tokens=6)


class Parrot(Editor):
    """Answers the edits' own queries through a table, says what it was asked, and keeps the rest to the base."""

    def __init__(self, vlm: VLM) -> None:
        super().__init__(vlm)
        self.table: dict[str, Edit] = {}
        self.seen: list[tuple[Query, ...]] = []
        self.applications = 0

    def edit(self, edits: Sequence[Edit]) -> None:
        self.table.update((e.query.digest, e) for e in edits)

    def encode(self, queries: Sequence[Query]) -> Keys:
        self.seen.append(tuple(queries))
        return Keys({"digest": np.array([[int(q.digest, 16)] for q in queries], dtype=np.uint64)})

    def route(self, keys: Keys) -> list[Route]:
        hits = [self.table.get(f"{int(row[0]):016x}") for row in keys["digest"]]
        return [Route((e.id,), (1.0,), (1.0,), (0,)) if e else Route() for e in hits]

    @contextmanager
    def applied(self, queries: Sequence[Query], routes: Sequence[Route]) -> Iterator[Answerer]:
        self.applications += 1
        yield self.vlm.answerer(queries)


class Everywhere(Parrot):
    """The same, but declared as one whose edits may change any answer."""

    routed = False


def run(editor: Editor, stream: Stream, baseline: Baseline, settings: PanelSettings, steps: Sequence[int]) -> list:
    panel = Panel(editor.vlm, editor, stream.probes, stream.general, settings, baseline)
    facts: list = []
    for step, edit in enumerate(stream.edits, 1):
        editor.edit([edit])
        facts += panel.instant(step, float(step), [edit])
        if step in steps:
            history = [e.id for e in stream.edits[:step]]
            facts += panel.full(step, float(step), history, last=step == len(stream))
    return facts


@pytest.mark.parametrize("brute", [False, True])
def test_the_none_editor_agrees_with_the_baseline_exactly(vlm, stream, baseline, brute):
    """Law 4, on every probe at every step, also when everything is answered again."""
    facts = run(Unedited(vlm), stream, baseline, QUIET.model_copy(update={"brute": brute}), [1, 3, 6])
    probed = [f for f in facts if isinstance(f, Probed)]
    reference = {p.id: p for p in stream.every_probe()}
    against_base = [f for f in probed if reference[f.probe_id].reference == "baseline" and f.scorer != "nll"]
    assert {f.step for f in against_base} == {1, 2, 3, 4, 5, 6}
    assert {f.score for f in against_base} == {1.0}
    for f in probed:
        if f.scorer == "generated":
            assert f.answer == baseline.text(reference[f.probe_id].query)
    assert all(f.reused != brute for f in probed)


def test_every_probe_has_its_scorers_and_a_fact_says_where_it_stands(vlm, stream, baseline):
    facts = [f for f in run(Parrot(vlm), stream, baseline, QUIET, [6]) if isinstance(f, Probed)]
    by_probe: dict[str, set[str]] = {}
    for f in facts:
        if f.step == 6:
            by_probe.setdefault(f.probe_id, set()).add(f.scorer)
    for probe in stream.every_probe():
        wanted = {"generated", "nll"} if probe.axis == "general" else {"teacher_forced", "generated"}
        assert wanted <= by_probe[probe.id]
        if probe.axis == "locality":
            assert {"locality_top1_answer", "locality_top1_all", "locality_top10_all"} <= by_probe[probe.id]
    own = [f for f in facts if f.axis == "reliability" and f.edit_id == stream.edits[0].id]
    assert [f.age for f in own if f.scorer == "generated"] == [0, 5]
    assert all(f.routed_home and f.routed_ids == (f.edit_id,) and f.route_score == 1.0 for f in own)
    assert all(f.prompt_kind == stream.edits[0].prompt_kind for f in own)


def test_a_refused_probe_tells_how_near_the_nearest_expert_was(vlm, stream, baseline):
    """Also one that is reused, which stands at every panel beside what was nearest then; nothing stored is null."""
    grace = Grace(vlm, GraceOptions(steps=1))
    probed = [f for f in run(grace, stream, baseline, QUIET, [1, 6]) if isinstance(f, Probed)]
    refused = [f for f in probed if not f.routed_n]
    assert len(refused) > 50 and all(f.best_score is not None and f.best_score < 0 for f in refused)
    assert all(f.route_score is None for f in refused)
    assert all(f.best_score == f.route_score for f in probed if f.routed_n)
    nearest = {(f.step, f.probe_id): f.best_score or 0.0 for f in probed}
    general = [(nearest[1, p.id], nearest[6, p.id]) for p in stream.general]
    assert all(now >= before for before, now in general) and any(now > before for before, now in general)
    for other in (Unedited(vlm), Parrot(vlm)):
        facts = run(other, stream, baseline, QUIET, [6])
        assert {f.best_score for f in facts if isinstance(f, Probed)} == {None}


def test_instant_probes_may_be_of_some_axes_only(vlm, stream, baseline):
    """And the panel at the same step asks the others, each cell once."""
    settings = QUIET.model_copy(update=dict(instant_axes=("reliability",)))
    facts = [f for f in run(Parrot(vlm), stream, baseline, settings, [3, 6]) if isinstance(f, Probed)]
    cells = [(f.step, f.probe_id, f.scorer) for f in facts]
    assert len(cells) == len(set(cells))
    assert {f.axis for f in facts if f.step in (1, 2, 4, 5)} == {"reliability"}
    every = {f.probe_id for f in facts if f.step == 6}
    assert every == {p.id for p in stream.every_probe()}


def test_a_cell_is_asked_once_a_step_however_often_it_falls_due(vlm, stream, baseline):
    """Instant probes, gaps and a full panel of one step do not repeat each other."""
    settings = QUIET.model_copy(update=dict(gaps=(1, 2)))
    facts = [f for f in run(Parrot(vlm), stream, baseline, settings, [3, 6]) if isinstance(f, Probed)]
    cells = [(f.step, f.probe_id, f.scorer) for f in facts]
    assert len(cells) == len(set(cells))
    asked = {(f.step, f.age) for f in facts if f.axis == "reliability"}
    assert {(4, 0), (4, 1), (4, 2)} <= asked and (4, 3) not in asked
    assert {(6, age) for age in range(6)} <= asked


def test_an_editor_that_may_change_any_answer_is_asked_again_and_by_age(vlm, stream, baseline):
    settings = QUIET.model_copy(update=dict(sample=2, instant=False))
    facts = [f for f in run(Everywhere(vlm), stream, baseline, settings, [5, 6]) if isinstance(f, Probed)]
    ages = {step: {f.age for f in facts if f.step == step and f.edit_id} for step in (5, 6)}
    assert ages == {5: {0, 4}, 6: {0, 1, 2, 3, 4, 5}}
    assert not any(f.reused for f in facts)


def test_an_editor_with_routes_is_asked_about_all_edits_or_about_as_many_as_it_says(vlm, stream, baseline):
    for most, wanted in ((0, {0, 1, 2, 3, 4}), (2, {0, 4})):
        settings = QUIET.model_copy(update=dict(most=most, instant=False))
        facts = [f for f in run(Parrot(vlm), stream, baseline, settings, [5, 6]) if isinstance(f, Probed)]
        ages = {step: {f.age for f in facts if f.step == step and f.edit_id} for step in (5, 6)}
        assert ages == {5: wanted, 6: {0, 1, 2, 3, 4, 5}}


def test_a_replaced_edit_leaves_retention_and_a_withdrawn_one_is_compared_with_the_base(vlm, stream, baseline):
    first, second, third = (e.id for e in stream.edits[:3])
    panel = Panel(vlm, Unedited(vlm), stream.probes, (), QUIET, baseline)
    facts = panel.full(3, 0.0, [first, second, third], {first: third, second: ""})
    probed = [f for f in facts if isinstance(f, Probed)]
    assert {(f.axis, f.variant) for f in probed if f.edit_id == first} == {("reliability", "superseded")}
    withdrawn = [f for f in probed if f.edit_id == second]
    assert {f.variant for f in withdrawn} == {"withdrawn"}
    assert {f.score for f in withdrawn} == {1.0}
    assert "superseded" not in {f.variant for f in probed if f.edit_id == third}


def test_a_withdrawal_without_a_step_is_asked_about_again(vlm, stream, baseline):
    """A second panel of the same step asks nothing twice, unless an edit was taken back in between."""
    history = [e.id for e in stream.edits]
    panel = Panel(vlm, Unedited(vlm), stream.probes, (), QUIET, baseline)
    asked = []
    for retired in ({}, {}, {history[0]: ""}):
        asked.append(sum(isinstance(f, Probed) for f in panel.full(6, 0.0, history, retired)))
    assert asked[0] > 0 and asked[1] == 0 and asked[2] > 0


def test_no_editor_sees_an_answer(vlm, stream, baseline):
    """Law 12: what an editor is given for one query does not change with the probe's hidden target."""

    def asked(target: str) -> tuple[list, list]:
        def probes(edit_id: str) -> tuple[Probe, ...]:
            return tuple(replace(p, target=target) for p in stream.probes(edit_id))

        editor = Parrot(vlm)
        editor.edit(stream.edits)
        base = Baseline.prepare(vlm, [p for e in stream.edits for p in probes(e.id)], max_tokens=6)
        panel = Panel(vlm, editor, probes, (), QUIET, base)
        facts = [f for f in panel.full(6, 0.0, [e.id for e in stream.edits]) if isinstance(f, Probed)]
        return editor.seen, sorted({(f.probe_id, f.route_digest, tuple(f.routed_ids)) for f in facts})

    assert asked("red stone") == asked("blue")


def test_latency_samples_are_raw_split_and_leave_the_caches_alone(vlm, stream, baseline):
    settings = PanelSettings(latency_routes=5, latency_answers=2)
    kept = vlm.cache
    timed = [f for f in run(Parrot(vlm), stream, baseline, settings, [6]) if isinstance(f, Timed)]
    counts = {name: sum(f.operation == name for f in timed) for name in ("encode", "route", "apply", "answer")}
    assert counts == {"encode": 5, "route": 5, "apply": 2, "answer": 2}
    assert all(f.wall_s >= 0 and f.step == 6 for f in timed)
    assert vlm.cache is kept and vlm.reader.cache is kept


def test_gauges_count_all_probing_since_the_last_panel(vlm, stream, baseline):
    facts = run(Parrot(vlm), stream, baseline, QUIET, [2, 6])
    gauges = {(f.step, f.name): f.value for f in facts if isinstance(f, Gauged)}
    for start, step in ((0, 2), (2, 6)):
        cells = {(f.step, f.probe_id) for f in facts if isinstance(f, Probed) and start < f.step <= step}
        assert gauges[step, "probes_asked"] == len(cells)
    assert gauges[6, "rss_bytes"] > 1e6 and gauges[6, "answer_wall_s"] > 0


def test_the_baseline_is_computed_once_and_shared_byte_for_byte(vlm, stream, tmp_path: Path, monkeypatch):
    first = Baseline.prepare(vlm, stream.every_probe(), tmp_path, max_tokens=6)
    files = {p: p.read_bytes() for p in tmp_path.rglob("*.parquet")}
    assert files and not list(tmp_path.rglob("*.tmp"))
    monkeypatch.setattr(vlm, "answerer", lambda *a, **k: pytest.fail("the model was asked although all is cached"))
    second = Baseline.prepare(vlm, stream.every_probe(), tmp_path, max_tokens=6)
    assert {p: p.read_bytes() for p in tmp_path.rglob("*.parquet")} == files
    for probe in stream.every_probe():
        a, b = first.forced(probe.query, probe.target), second.forced(probe.query, probe.target)
        assert first.text(probe.query) == second.text(probe.query)
        assert np.array_equal(a.argmax_ids, b.argmax_ids) and np.array_equal(a.logprobs, b.logprobs)
        assert (a.top_ids is None) == (b.top_ids is None) and np.array_equal(a.top_ids, b.top_ids)  # type: ignore


def test_a_damaged_baseline_file_is_computed_again(vlm, stream, tmp_path: Path):
    Baseline.prepare(vlm, stream.general, tmp_path, max_tokens=6)
    (path,) = tmp_path.rglob("*.parquet")
    whole = path.read_bytes()
    path.write_bytes(whole[: len(whole) // 2])
    Baseline.prepare(vlm, stream.general, tmp_path, max_tokens=6)
    assert path.read_bytes() == whole


def test_a_probe_that_the_baseline_never_saw_is_an_error_with_the_fix(baseline):
    with pytest.raises(MissingBaselineError, match="Give Baseline.prepare every probe"):
        baseline.text(Query("Never asked?"))


def test_samples_by_age_hold_the_newest_the_oldest_and_exactly_n():
    for n in (3, 10, 199):
        sample = log_age_sample([str(i) for i in range(200)], n)
        assert len(sample) == len(set(sample)) == n
        assert sample[0] == "0" and sample[-1] == "199"
        assert sample == sorted(sample, key=int)
    gaps = np.diff([int(i) for i in log_age_sample([str(i) for i in range(2000)], 50)])
    assert gaps[:5].min() > gaps[-5:].max()


def test_latency_queries_depend_on_seed_and_step_only(stream):
    of = [e.id for e in stream.edits], stream.probes, stream.general
    assert draw_queries(*of, 20, 1, 7) == draw_queries(*of, 20, 1, 7)
    assert draw_queries(*of, 20, 1, 7) != draw_queries(*of, 20, 1, 8)
    assert len(draw_queries(of[0][:1], stream.probes, (), 10, 0, 1)) == 10
    assert draw_queries((), stream.probes, stream.general, 0, 0, 1) == []
    with pytest.raises(ValueError, match="at least one visible edit"):
        draw_queries((), stream.probes, stream.general, 1, 0, 1)


def test_latency_is_sampled_in_the_mix_of_traffic():
    """The shares of scopes and of questions with several pictures are those of drawn traffic, not of the probes."""
    stream = load_stream("atlas", edits=120, seed=0)
    drawn = draw_queries([e.id for e in stream.edits], stream.probes, stream.general, 4000, 0, 120)
    facts = TrafficFacts.of(stream.edits, np.zeros(120))
    asked = draw_traffic(facts, np.ones(4000), TrafficOptions(zipf=0, recency=0), 0)
    posed = [p.probe.query for p in pose(stream, facts, asked, 0)]
    every = [p.query for p in stream.every_probe()]

    def shares(queries: Sequence[Query]) -> list[float]:
        pictures = np.array([0 if q.image is None else 1 + q.image.uri.count("+") for q in queries])
        return [float((pictures == n).mean()) for n in (0, 1)] + [float((pictures > 1).mean())]

    assert shares(drawn) == pytest.approx(shares(posed), abs=0.03)
    assert shares(every)[2] > 2 * shares(drawn)[2]
