"""Claims about what the atlas asks: nothing out of scope bears on its edit, and axes of studies ask what they say."""

from __future__ import annotations

import functools
import json
import re
from collections import Counter, defaultdict
from pathlib import Path

import numpy as np
import pytest

from lifelong.probing.measure import SUPERSEDED, WITHDRAWN
from streams.atlas.hops import HOPS
from streams.atlas.relations import RELATIONS
from streams.atlas.targets import tied
from streams.atlas.world import Entity, load_world
from streams.axes import EDITS_CELL, GRID_CELLS, RETIRED_VARIANTS
from streams.orders.near_subjects import letters
from streams.stream import Stream, StreamError, load_stream
from streams.times.traffic import TrafficFacts, TrafficOptions, draw_traffic, pose
from streams.types import Edit, Probe

WORLD = load_world()
README = Path(__file__).parents[2] / "streams" / "atlas" / "README.md"
BEAR = (
    {"capital", "continent", "region", "language", "currency", "currency_code"},
    {"group", "subgroup", "kind_of", "kind_of2"},
)
"""Relations of one thing that bear on each other, by hand."""


@functools.cache
def stream(edits: int = 300, **options) -> Stream:
    return load_stream("atlas", edits=edits, seed=0, **options)


def asked(found: Stream, axis: str = "") -> list[tuple[Edit, Probe]]:
    return [(e, p) for e in found.edits for p in found.probes(e.id) if not axis or p.axis == axis]


def drawn(probe: Probe) -> list[Entity]:
    uri = probe.query.image.uri.removeprefix("atlas:") if probe.query.image else ""
    return [WORLD.by_id[one.partition("/")[0]] for one in uri.split("+") if one]


@functools.cache
def patterns() -> list[tuple[re.Pattern, str]]:
    words = [(t, r.name) for r in RELATIONS.values() for t in (*r.train, *r.held_out)]
    return [(re.compile(re.escape(t).replace(re.escape("{x}"), "(.+)")), name) for t, name in words]


def relations_of(probe: Probe) -> set[str]:
    """The relations that a question may ask, from its words alone: the name of the currency of x is no name of x."""
    fit = [(len(pattern.pattern), name) for pattern, name in patterns() if pattern.fullmatch(probe.query.prompt)]
    return {name for length, name in fit if length == max(fit)[0]}


def bear(one: str, other: str) -> bool:
    named = {"name", "country"} & {one, other}
    follow = {r for r in RELATIONS if RELATIONS[r].follows_identity}
    return one == other or any({one, other} <= some for some in BEAR) or bool(named and {one, other} & follow)


def test_over_2000_edits_nothing_that_should_stay_is_answered_by_the_edits_own_target() -> None:
    kept = [(e, p) for e, p in asked(stream(2000)) if p.reference == "baseline"]
    assert len(kept) > 10_000
    assert not [p for e, p in kept if e.target.casefold() in {a.casefold() for a in p.answers}]


@pytest.mark.parametrize(("edits", "order"), [(2000, "shuffled"), (80, "near_misses"), (300, "modal_conflicts")])
def test_no_other_fact_of_the_edited_thing_bears_on_the_edit(edits: int, order: str) -> None:
    found = stream(edits) if order == "shuffled" else stream(edits, order=order)
    variants = ("same-image", "same-subject", "text-similar/image-edit")
    own = [(e, p) for e, p in asked(found) if p.variant in variants]
    assert len(own) > 0.5 * edits  # a tenth of the facts is kept: three of five things have one that may be asked
    for edit, probe in own:
        found = {r for r in relations_of(probe) if r in WORLD.by_id[edit.subject].facts}
        assert found and not any(bear(r, edit.relation) for r in found), (edit.relation, probe.query.prompt)


def test_what_bears_on_each_other_does_so_in_both_directions_and_every_step_is_among_it() -> None:
    for domain in ("emoji", "flag"):
        names = [r.name for r in RELATIONS.values() if domain in r.domains]
        for one in names:
            for other in names:
                assert tied(one, other) == tied(other, one) == bear(one, other), (one, other)
    assert all(tied(hop.relation, hop.answer_relation) for hop in HOPS)


def test_an_edit_by_name_is_asked_about_a_thing_spelt_alike_and_about_no_picture_but_in_pairs() -> None:
    likeness: dict[str, list[float]] = defaultdict(list)
    for edit, probe in asked(stream(600)):
        if edit.query.image is not None:
            continue
        name = WORLD.name(WORLD.by_id[edit.subject])
        assert probe.axis != "specificity" and (probe.query.image is None or probe.axis in ("paired", "locality"))
        if probe.variant in ("near", "text", "same-subject"):
            assert probe.modality == "text" and probe.query.image is None and probe.reference == "baseline"
        if probe.variant == "near":
            assert edit.relation in relations_of(probe)
            assert probe.query.prompt not in {t.replace("{x}", name) for t in RELATIONS[edit.relation].train}
        if probe.variant == "same-subject":
            assert name in probe.query.prompt
        if probe.variant in ("near", "text"):
            likeness[probe.variant].append(float(letters(name) @ letters(probe.query.prompt)))
    assert len(likeness["near"]) > 110 and np.mean(likeness["near"]) > 2 * np.mean(likeness["text"])


def test_only_a_step_from_the_edited_answer_to_another_fact_is_a_hop() -> None:
    for _, probe in asked(stream(600, grid=True)):
        assert probe.hops == ((probe.axis, probe.variant) == ("portability", "hop"))
        assert probe.axis != "portability" or probe.variant == "hop"


def test_a_fact_told_by_both_is_asked_by_each_half_alone() -> None:
    halves = defaultdict(set)
    for edit, probe in asked(stream(grid=True), "paired"):
        told, _, by = probe.variant.partition("-to-")
        assert told == {"text": "name", "generic": "picture", "partial": "both"}[edit.prompt_kind] != by
        assert probe.reference == "target" and probe.target == edit.target and probe.hops == 0
        name = WORLD.name(WORLD.by_id[edit.subject])
        assert (probe.query.image is None) == (by == "name") == (name in probe.query.prompt)
        assert by == "name" or (drawn(probe)[0].id == edit.subject and re.search("picture|image", probe.query.prompt))
        halves[edit.id].add(probe.variant)
    kinds = Counter(e.prompt_kind for e in stream(grid=True).edits)
    assert sum(len(h) == 2 for h in halves.values()) > 0.9 * kinds["partial"]
    assert sum("name-to-picture" in h for h in halves.values()) > 0.9 * kinds["text"]


def test_a_cell_of_the_grid_shows_and_asks_what_its_name_says() -> None:
    cells = Counter()
    for edit, probe in asked(stream(grid=True), "grid"):
        thing, shown = WORLD.by_id[edit.subject], drawn(probe)
        text, image = re.fullmatch(r"text-(\w+)/image-(\w+)", probe.variant).groups()  # type: ignore[union-attr]
        cells[probe.variant] += 1
        assert (probe.reference == "target") == (probe.variant == EDITS_CELL) == (probe.query == edit.query)
        if image == "none":
            assert not shown
        elif image == "edit":
            assert probe.query.image == edit.query.image
        else:
            assert shown[0].id != thing.id and (shown[0].subgroup == thing.subgroup) == (image == "similar")
        if text == "edit" or probe.variant == "text-similar/image-none":
            assert edit.relation in relations_of(probe) or probe.variant == EDITS_CELL
        elif text == "similar":
            assert edit.relation not in {r for r in relations_of(probe) if r in shown[0].facts}
        elif image in ("edit", "similar"):  # by a name, for what the pictured thing does not have
            assert not any(thing.domain in RELATIONS[r].domains for r in relations_of(probe))
    pictures = sum(e.query.image is not None for e in stream(grid=True).edits)
    assert set(cells) == set(GRID_CELLS) and sum(cells.values()) > 0.85 * len(GRID_CELLS) * pictures
    assert not [e for e, _ in asked(stream(grid=True), "grid") if e.query.image is None]


def test_what_studies_ask_takes_turns_and_costs_no_probe_in_twenty() -> None:
    probes = asked(stream(2000))
    assert 10.7 < len(probes) / 2000 < 11.3  # it was 10.7 before there were any
    edits = {axis: len({e.id for e, p in probes if p.axis == axis}) for axis in ("grid", "paired", "negation")}
    pictures = sum(e.query.image is not None for e in stream(2000).edits)
    assert edits["grid"] == pytest.approx(pictures / 2, rel=0.1)
    assert edits["negation"] == pytest.approx(pictures / 4 + (2000 - pictures) / 2, rel=0.15)
    assert {p.variant for _, p in probes if p.axis == "grid"} == set(GRID_CELLS)


def test_a_negated_question_is_the_edits_own_thing_with_a_not_and_should_stay() -> None:
    for edit, probe in asked(stream(grid=True), "negation"):
        assert (
            " not " in probe.query.prompt and probe.reference == "baseline" and probe.query.image == edit.query.image
        )
        assert probe.answers == WORLD.by_id[edit.subject].facts[edit.relation]


def test_modal_conflicts_tell_a_fact_by_name_and_by_picture_and_the_question_decides_whose_answer_is_right() -> None:
    found = stream(order="modal_conflicts", reedits=0.3, grid=True)
    facts = defaultdict(list)
    for place, edit in enumerate(found.edits):
        assert edit.supersedes is None
        facts[edit.subject, edit.relation].append((place, edit))
    pairs = [told for told in facts.values() if len(told) == 2]
    assert len(pairs) == pytest.approx(90, abs=8) and max(map(len, facts.values())) == 2
    for (before, first), (after, second) in pairs:
        assert first.target.casefold() != second.target.casefold() and second.source == "modal-conflict"
        assert (first.query.image is None) != (second.query.image is None) and after - before <= 40
    disputed = {e.id for told in pairs for _, e in told}
    for edit, probe in asked(found):
        if probe.axis == "conflict":
            assert probe.variant == ("by-picture" if edit.query.image else "by-name")
            assert probe.target == edit.target and probe.query.image == edit.query.image
            assert probe.query.prompt != edit.query.prompt
        assert probe.axis != "paired" or edit.id not in disputed
    asks = {e.id for e, p in asked(found) if p.axis == "conflict"}
    assert disputed <= asks and len(asks - disputed) <= 10  # those whose second edit comes after the last


@pytest.mark.parametrize(
    "options", [{"grid": True}, {"order": "modal_conflicts", "reedits": 0.5, "grid": True}], ids=str
)
@pytest.mark.parametrize("name", ["atlas", "toy"])
def test_no_question_of_a_stream_has_two_answers(name: str, options: dict) -> None:
    options = options if name == "atlas" else {k: v for k, v in options.items() if k != "grid"}
    found = load_stream(name, edits=300, seed=1, **options)
    answers = defaultdict(set)
    for probe in found.every_probe():
        answers[probe.query.digest].add((probe.reference, probe.answers))
    assert not [a for a in answers.values() if len(a) > 1]


def test_real_updates_have_their_share_until_all_are_told() -> None:
    told = [e.source == "real-update:to-older" for e in stream(2000).edits]
    assert sum(told[:200]) == 10 and 12 <= sum(told) <= 16
    for edit in stream(2000).edits:  # every edit changes what is known
        assert edit.target.casefold() not in {a.casefold() for a in WORLD.by_id[edit.subject].facts[edit.relation]}


def test_the_page_of_the_atlas_has_every_variant_that_is_asked_and_no_other() -> None:
    rows = re.findall(r"^\| ([\w-]+) \| ([^|]+) \|", README.read_text(), re.MULTILINE)
    described = {(axis, variant) for axis, names in rows for variant in re.findall(r"`([\w/-]+)`", names)}
    streams = (stream(grid=True), stream(order="modal_conflicts", reedits=0.3, grid=True))
    found = {(p.axis, p.variant) for one in streams for p in one.every_probe()}
    assert found == described - {("axis", "variant")}


def test_people_do_not_ask_what_only_studies_ask() -> None:
    found = stream(60, grid=True)
    facts = TrafficFacts.of(found.edits, np.arange(60.0))
    posed = pose(found, facts, draw_traffic(facts, np.linspace(0, 80, 900), TrafficOptions(), 0), 0)
    assert len(posed) == 900 and not {p.probe.axis for p in posed} & {"grid", "negation", "paired", "conflict"}


def test_a_record_that_could_not_show_a_false_fire_is_said(tmp_path: Path) -> None:
    path = tmp_path / "a.jsonl"
    probes = [{"axis": "locality", "prompt": "And this?", "target": answer} for answer in ("Heron", "stork")]
    path.write_text(json.dumps({**RECORD, "probes": probes}))
    (note,) = load_stream("jsonl", edits=1, path=str(path)).notes
    assert note.endswith("whose answer is their edit's, so that no error shows: 1.")


RECORD = {"prompt": "What is this?", "target": "heron"}


@pytest.mark.parametrize(
    ("probe", "said"),
    [
        ({"axis": "grid"}, r"field 'probes\[0\]\.variant': it is missing"),
        (
            {"axis": "grid", "variant": "text-edit"},
            r"field 'probes\[0\]\.variant': expected one of text-edit/image-edit",
        ),
        ({"axis": "grid", "variant": "text-none/image-none"}, "expected one of"),
        ({"axis": "locality", "variant": "superseded"}, "'superseded' is what the log says .*; call it otherwise"),
        ({"axis": "reliability", "variant": "withdrawn"}, "'withdrawn' is what the log says"),
        ({"axis": "pared"}, "'pared'"),
        ({"axis": "general"}, "expected one of"),
    ],
)
def test_a_variant_that_no_probe_can_have_is_an_error(tmp_path: Path, probe: dict, said: str) -> None:
    path = tmp_path / "a.jsonl"
    path.write_text(json.dumps({**RECORD, "probes": [{"prompt": "Who?", "target": "Ann", **probe}]}))
    with pytest.raises(StreamError, match=said):
        load_stream("jsonl", edits=1, path=str(path))


@pytest.mark.parametrize(
    ("axis", "variant", "reference"),
    [
        ("grid", EDITS_CELL, "target"),
        ("grid", "text-edit/image-none", "baseline"),
        ("negation", "", "baseline"),
        ("locality", "mine", "baseline"),
        ("paired", "both-to-name", "target"),
        ("conflict", "by-name", "target"),
    ],
)
def test_a_record_need_not_say_what_its_probe_is_compared_with(tmp_path, axis, variant, reference) -> None:
    path = tmp_path / "a.jsonl"
    probe = {"axis": axis, "variant": variant, "prompt": "Who?", "target": "Ann"}
    path.write_text(json.dumps({**RECORD, "probes": [probe]}))
    found = load_stream("jsonl", edits=1, path=str(path))
    (made,) = (p for p in found.probes(found.edits[0].id) if p.axis == axis)
    assert made.reference == reference and made.variant == variant and made.hops == 0


def test_the_words_that_a_variant_may_not_be_are_those_of_the_log() -> None:
    assert set(RETIRED_VARIANTS) == {SUPERSEDED, WITHDRAWN}
