"""Claims about the atlas stream on the real world: what is edited, what is probed, and that nothing contradicts."""

import re
from collections import Counter, defaultdict

import pytest

from streams.atlas import edits
from streams.atlas.prompts import gives_away
from streams.atlas.relations import RELATIONS
from streams.atlas.world import FAMILY, load_world
from streams.stream import StreamError, load_stream
from streams.types import Edit, Probe

N = 600


@pytest.fixture(scope="module")
def world():
    return load_world()


@pytest.fixture(scope="module")
def stream():
    return load_stream("atlas", edits=N, seed=3, known="all")


@pytest.fixture(scope="module")
def probes(stream):
    return [(e, p) for e in stream.edits for p in stream.probes(e.id)]


@pytest.fixture(scope="module")
def relation_of():
    """Which relation a question asks, from the wordings alone."""
    patterns = [
        (re.compile("^" + re.escape(t).replace(re.escape("{x}"), "(this|the) (picture|image)") + "$"), r.name)
        for r in RELATIONS.values()
        for t in (*r.train, *r.held_out)
    ]

    def _relation_of(probe: Probe) -> set[str]:
        return {name for pattern, name in patterns if pattern.match(probe.query.prompt)}

    return _relation_of


def _drawn(probe):
    return probe.query.image.uri.removeprefix("atlas:").split("+") if probe.query.image else []


def test_edits_are_of_known_facts_of_the_edit_split_that_are_there_to_be_edited(stream, world):
    assert len(stream) == N == len({(e.subject, e.relation) for e in stream.edits})
    for edit in stream.edits:
        entity = world.by_id[edit.subject]
        assert entity.split == "edit" and world.role(entity.id, edit.relation) == "edited"
        assert edit.target.casefold() not in {a.casefold() for a in entity.facts[edit.relation]}
        assert not gives_away(edit.query.prompt, [edit.target])
        if edit.query.image:
            assert edit.query.image.uri.rpartition("/")[2] in entity.training


def test_kinds_of_prompts_have_their_shares_all_along(stream):
    for n in (100, N):
        shares = Counter(e.prompt_kind for e in stream.edits[:n])
        assert shares["partial"] / n == pytest.approx(0.5, abs=0.12)
        assert shares["text"] / n == pytest.approx(0.2, abs=0.1)
    assert all((e.query.image is None) == (e.prompt_kind == "text") for e in stream.edits)


def test_an_identity_edit_is_the_only_edit_of_its_entity(stream):
    counts = Counter(e.subject for e in stream.edits)
    identities = [e for e in stream.edits if RELATIONS[e.relation].identity]
    assert identities and all(counts[e.subject] == 1 for e in identities)


def test_real_updates_are_there_and_say_so(stream, world):
    real = [e for e in stream.edits if e.source == "real-update:to-older"]
    assert real and all(world.by_id[e.subject].older[e.relation] == e.target for e in real)


def test_every_edit_has_the_probes_it_must_have(stream, probes):
    have = defaultdict(set)
    for edit, probe in probes:
        have[edit.id].add((probe.axis, probe.variant))
    for edit in stream.edits:
        assert {("reliability", "edit"), ("generality", "template"), ("locality", "text")} <= have[edit.id]
    for need, least in ((("locality", "near"), 0.95), (("locality", "far"), 0.99)):
        assert sum(need in h for h in have.values()) / N >= least, need
    pictures = [e for e in stream.edits if e.query.image]
    for need, least in ((("generality", "unseen"), 0.9), (("specificity", "must"), 0.98)):
        assert sum(need in have[e.id] for e in pictures) / len(pictures) > least


def test_no_probe_tells_the_answer(probes):
    for edit, probe in probes:
        assert not gives_away(probe.query.prompt, (*probe.answers, edit.target)), probe


def test_the_same_question_never_has_two_answers(stream, probes):
    asked = defaultdict(set)
    for _, probe in probes:
        asked[probe.query.digest].add((probe.reference, probe.answers))
    for probe in stream.general:
        asked[probe.query.digest].add((probe.reference, probe.answers))
    assert all(len(found) == 1 for found in asked.values())
    assert len({e.query.digest for e in stream.edits}) == N


def test_locality_asks_kept_facts_that_no_edit_touches(stream, probes, world, relation_of):
    edited = {(e.subject, e.relation) for e in stream.edits}
    renamed = {e.subject for e in stream.edits if RELATIONS[e.relation].identity}
    checked = 0
    for probe in [p for _, p in probes if p.axis == "locality" and p.query.image] + list(stream.general):
        if not probe.query.image:
            continue
        entity = _drawn(probe)[0].partition("/")[0]
        (relation,) = relation_of(probe)
        assert world.role(entity, relation) == "kept" and (entity, relation) not in edited
        assert entity not in renamed or not RELATIONS[relation].follows_identity
        assert probe.reference == "baseline" and probe.answers == world.by_id[entity].facts[relation]
        checked += 1
    assert checked > 2 * N


def test_image_generality_is_by_another_artist(probes, world):
    for edit, probe in probes:
        if probe.axis == "generality" and probe.variant in ("seen", "unseen"):
            entity, _, rendering = _drawn(probe)[0].partition("/")
            first = edit.query.image.uri.rpartition("/")[2]
            assert entity == edit.subject and FAMILY.get(first, first) != FAMILY.get(rendering, rendering)
            assert (rendering in world.by_id[entity].held_out) == (probe.variant == "unseen")


def test_locality_is_near_same_and_far_as_it_says(probes, world):
    for edit, probe in probes:
        if probe.axis != "locality" or not probe.query.image:
            continue
        mine, other = world.by_id[edit.subject], world.by_id[_drawn(probe)[0].partition("/")[0]]
        if probe.variant == "near":
            assert other.id != mine.id and other.subgroup == mine.subgroup
        elif probe.variant == "far":
            assert other.domain != mine.domain
        else:
            assert other.id == mine.id and (edit.query.image in (None, probe.query.image))


def test_specificity_asks_the_edited_and_another_thing_in_one_picture(probes, world):
    for edit, probe in probes:
        if probe.axis == "specificity":
            entities = [d.partition("/")[0] for d in _drawn(probe)]
            assert edit.subject in entities and 2 <= len(entities) == len(set(entities)) <= 4
            assert probe.reference == ("target" if probe.variant == "must" else "baseline")


def test_partial_prompts_name_something_true_and_unedited(stream, world):
    edited = {(e.subject, e.relation) for e in stream.edits}
    for edit in (e for e in stream.edits if e.prompt_kind == "partial"):
        facts = world.by_id[edit.subject].facts
        for relation in ("subgroup", "kind_of", "continent"):
            if (edit.subject, relation) in edited and relation in facts:
                assert facts[relation][0].casefold() not in edit.query.prompt.casefold()


def test_hops_have_a_new_answer(probes, world):
    hops = [(e, p) for e, p in probes if p.axis == "portability" and p.variant == "hop"]
    assert len(hops) > 50
    for edit, probe in hops:
        assert probe.hops == 1 and probe.reference == "target" and edit.target not in probe.answers


def test_ten_thousand_edits_do_not_contradict_and_half_are_no_translations():
    stream = load_stream("atlas", edits=10_000, seed=0, known="all")
    assert len({(e.subject, e.relation) for e in stream.edits}) == 10_000
    assert len({e.query.digest for e in stream.edits}) == 10_000
    assert not any(e.supersedes for e in stream.edits)
    assert sum(RELATIONS[e.relation].translation for e in stream.edits) <= 5_000


def test_longer_streams_reedit_and_say_what_they_supersede():
    stream = load_stream("atlas", edits=12_000, seed=0, known="all")
    seen: dict[tuple[str, str], str] = {}
    for edit in stream.edits:
        assert edit.supersedes == seen.get((edit.subject, edit.relation))
        seen[edit.subject, edit.relation] = edit.id
    assert len(stream) == 12_000 and any(e.supersedes for e in stream.edits)


def test_reedit_order_asks_for_conflicts_and_grouped_keeps_subjects_together(stream):
    reedits = load_stream("atlas", edits=200, seed=0, known="all", order="reedits", reedits=0.25)
    olds: dict[str | None, Edit] = {e.id: e for e in reedits.edits}
    again = [e for e in reedits.edits if e.supersedes]
    assert len(again) == 50
    assert all(olds[e.supersedes].query == e.query and olds[e.supersedes].target != e.target for e in again)
    subjects = [e.subject for e in load_stream("atlas", edits=300, seed=3, known="all", order="grouped").edits]
    assert sum(a != b for a, b in zip(subjects, subjects[1:], strict=False)) == len(set(subjects)) - 1


def test_the_same_seed_gives_the_same_stream_and_another_seed_another(stream):
    again = load_stream("atlas", edits=N, seed=3, known="all")
    assert again.digest == stream.digest and again.edits == stream.edits
    last = stream.edits[-1].id  # probes do not depend on what was asked before
    assert again.probes(last) == stream.probes(last)
    assert load_stream("atlas", edits=N, seed=4, known="all").digest != stream.digest


def test_the_pool_is_disjoint_from_the_stream(stream, world):
    pool = stream.pool(120, 1)
    assert len(pool.items) == 120 and pool.digest == stream.pool(120, 1).digest
    for item in pool.items:
        drawn = [d.partition("/") for p in item.probes for d in _drawn(p)]
        assert {world.by_id[e].split for e, _, _ in drawn} <= {"train"}
        assert all(r not in world.by_id[e].held_out for e, _, r in drawn)
        assert all(p.query.prompt not in _held_out_words() for p in item.probes)


def _held_out_words():
    return {
        t.replace("{x}", x) for r in RELATIONS.values() for t in r.held_out for x in ("this picture", "the picture")
    }


def test_a_missing_or_foreign_table_is_an_error(tmp_path):
    with pytest.raises(StreamError, match="no such file"):
        load_stream("atlas", edits=1, known=str(tmp_path / "none.parquet"))
    (tmp_path / "text.parquet").write_text("no table")
    with pytest.raises(StreamError, match="not a readable Parquet"):
        load_stream("atlas", edits=1, known=str(tmp_path / "text.parquet"))


def test_items_of_a_pool_are_made_when_they_are_looked_at_and_not_for_its_name(monkeypatch) -> None:
    made: list[int] = []
    real = edits._fit_items
    monkeypatch.setattr(edits, "_fit_items", lambda *given: made.append(given[2]) or real(*given))
    pool = load_stream("atlas", edits=1).pool(7)
    assert len(pool.items) == 7 and pool.digest and not made
    assert len(tuple(pool.items)) == 7 and pool.items[2:4] == tuple(pool.items)[2:4] and made == [7]
