"""Which settings are tried: none twice, all values evenly, and what an edge of a grid is."""

from __future__ import annotations

from typing import Any

import pytest

from lifelong.editing.find import editor_class, editor_names
from lifelong.running.parts import options_of
from lifelong.running.words import ConfigError
from lifelong.studies.candidates import Candidates, grid_numbers, is_number, space_of
from lifelong.studies.edges import edge_warnings

SEARCHED = [name for name in editor_names() if editor_class(name).searched]


def candidates(vlm: Any, editor: str, space: Any = None, seed: int = 0) -> Candidates:
    return Candidates(editor_class(editor), space_of(editor, space), vlm, seed)


def all_of(found: Candidates) -> list[dict[str, Any]]:
    out = list(found.first())
    while (setting := found.even()) is not None:
        out.append(setting)
    return out


@pytest.mark.parametrize("name", SEARCHED)
def test_every_editors_space_is_valid_and_its_numbers_go_up_from_below_the_default_to_above(name: str) -> None:
    """So that the best setting can lie inside. What has no value beyond an end is one of its bounds, or a choice."""
    fields = editor_class(name).Options.model_fields
    for key, values in space_of(name).items():
        numbers, default = grid_numbers(values), fields[key].get_default(call_default_factory=True)
        assert len(values) > 1 and len(set(map(str, values))) == len(values), key
        assert [v for v in values if is_number(v)] == numbers, key
        assert default in values or is_number(default) or default is None, key


@pytest.mark.parametrize("name", SEARCHED)
def test_settles_is_a_form_with_the_same_behaviour_of_its_own(name: str, tiny_vlm: Any) -> None:
    """A settled form is valid and settles to itself, for random settings of the grid."""
    found = candidates(tiny_vlm, name)
    kind = editor_class(name)
    for setting in [*found.first(), *(s for s in (found.even() for _ in range(10)) if s is not None)]:
        settled = kind.settles(options_of(kind, setting), tiny_vlm)
        assert kind.settles(options_of(kind, settled.model_dump()), tiny_vlm) == settled


@pytest.mark.parametrize("name", [n for n in editor_names() if editor_class(n).published is not None])
def test_the_published_setting_is_valid(name: str) -> None:
    options_of(editor_class(name), editor_class(name).published or {})


def test_trials_begin_with_the_defaults_and_the_published_setting(tiny_vlm: Any) -> None:
    assert list(candidates(tiny_vlm, "liveedit").first()) == [{}, dict(editor_class("liveedit").published or {})]
    assert list(candidates(tiny_vlm, "ft").first()) == [{}]  # its defaults are the published ones


def test_what_earlier_trials_chose_is_tried_too_and_once(tiny_vlm: Any) -> None:
    """So that a wider grid, with more settings than trials, cannot lose the best setting known."""
    kind, space = editor_class("grace"), space_of("grace", {"radius": (2.0, 20.0)})
    known = [{"radius": 33.0}, dict(kind.published or {}), {"radius": 33.0}, {"radius": -1.0}]
    found = Candidates(kind, space, tiny_vlm, 0, known=known)
    assert list(found.first())[-1] == {"radius": 33.0}
    assert {"radius": 33.0} not in all_of(found)
    assert list(found.left_out.values()) == ["radius=-1.0"]


def test_settings_that_come_to_the_same_are_tried_once(tiny_vlm: Any) -> None:
    """The whole space is walked: layers that round to one, and a threshold that soft mixing never reads."""
    space = {"layer": (0.0, 0.1, 0.2, 0.9, 1.0), "steps": (25, 50)}
    layers = {tiny_vlm.layer_at(x) for x in space["layer"]}
    assert len(all_of(candidates(tiny_vlm, "ft", space))) == 2 * len(layers)
    mixed = all_of(candidates(tiny_vlm, "serac", {"threshold": (0.3, 0.5, 0.7), "mixing": ("hard", "soft")}))
    grid = [s for s in mixed if "supersede" not in s]
    assert len(grid) == 4 and sum(s.get("mixing") == "soft" for s in grid) == 1
    rates = all_of(candidates(tiny_vlm, "melo", {"learning_rate": (None, 1e-3 * 1600 / tiny_vlm.width)}))
    assert rates == [{}, {"supersede": "keep"}]


@pytest.mark.parametrize(
    ("name", "switch", "back", "idle"),
    [
        ("rag", {"keys": "text"}, {"keys": "both"}, {"image_weight": 0.3}),
        ("rag", {"keys": "image"}, {"keys": "both"}, {"encoder": "minilm"}),
        ("ike", {"keys": "text"}, {"keys": "both"}, {"image_weight": 0.3}),
        ("ike", {}, {"capacity": 5}, {"eviction": "fifo"}),
        ("lora", {"module": "vision"}, {}, {"first_layer": 1.0}),
        ("unike", {"external": "none"}, {}, {"alpha": 0.2}),
        ("unike", {"zeta": "none"}, {}, {"beta": 0.5}),
        ("lemoe", {"unit": False}, {}, {"temperature": 0.5}),
        ("liveedit", {"soft_routing": False}, {}, {"faint": 0.5}),
        ("serac", {"mixing": "soft"}, {}, {"threshold": 0.1}),
        ("mscke", {}, {"counterfactual": "mend"}, {"mend_layer": 0.0}),
        ("ft", {"module": "vision"}, {}, {"layer": 0.0}),
    ],
)
def test_what_another_option_switches_off_makes_no_other_setting(
    tiny_vlm: Any, name: str, switch: Any, back: Any, idle: Any
) -> None:
    """And it does where that option is the other way round."""
    found = candidates(tiny_vlm, name)
    assert found.form(switch | idle) == found.form(switch)
    assert found.form(back | idle) != found.form(back)


def test_what_the_edits_of_the_trials_never_ask_makes_no_other_setting(tiny_vlm: Any) -> None:
    """MELO's published setting differs from its defaults about edits of one question only."""
    kind = editor_class("melo")
    space = space_of("melo", {"radius": (0.5, 75.0)})
    first = [list(Candidates(kind, space, tiny_vlm, 0, idle).first()) for idle in ((), ("supersede",))]
    assert first == [[{}, {"supersede": "keep"}], [{}]]


def test_a_key_above_the_last_layer_but_one_is_at_that(tiny_vlm: Any) -> None:
    found = candidates(tiny_vlm, "melo")
    assert found.form({"key_layer": 0.99}) == found.form({"key_layer": (tiny_vlm.layers - 2) / tiny_vlm.layers})


def test_all_values_are_tried_evenly(tiny_vlm: Any) -> None:
    """Ten of 100 settings: each value of either option once."""
    found = candidates(tiny_vlm, "grace", {"radius": [float(i) for i in range(2, 12)], "steps": list(range(60, 70))})
    settings = [found.even() or {} for _ in range(10)]
    assert len({s["radius"] for s in settings}) == len({s["steps"] for s in settings}) == 10


def test_a_setting_beside_the_best_is_one_step_of_one_option_away(tiny_vlm: Any) -> None:
    space = {"radius": (0.5, 1.0, 2.0, 4.0), "steps": (10, 50, 90)}
    found = candidates(tiny_vlm, "grace", space)
    list(found.first())
    beside = []
    while (one := found.beside([{"radius": 2.0}])) is not None:
        beside.append(one)
    assert sorted(map(str, beside)) == sorted(
        map(str, [{"radius": 4.0}, {"radius": 2.0, "steps": 10}, {"radius": 2.0, "steps": 90}])
    )  # radius=1.0 is the defaults, which were tried


def test_what_cannot_be_made_here_is_left_out_and_takes_nothing_from_the_budget(tiny_vlm: Any) -> None:
    found = candidates(tiny_vlm, "rag", {"encoder": ("base", "path:/nowhere"), "k": (1, 2)})
    assert all_of(found) == [{}, {"k": 2}]
    assert len(found.left_out) == 1 and "nowhere" in next(iter(found.left_out))


def test_the_same_seed_tries_the_same_settings(tiny_vlm: Any) -> None:
    found = [candidates(tiny_vlm, "wise", seed=seed) for seed in (3, 3, 4)]
    first, second, third = ([one.even() for _ in range(4)] for one in found)
    assert first == second != third


def warned(vlm: Any, editor: str, space: Any, best: dict[str, Any], scores: Any = ()) -> list[str]:
    return edge_warnings(candidates(vlm, editor, space), best, [(best, 1.0), *scores])


@pytest.mark.parametrize(
    ("space", "best", "added"),
    [
        ({"radius": (1.0, 10.0, 100.0)}, {"radius": 100.0}, "add 1000.0"),
        ({"radius": (1.0, 10.0, 100.0)}, {}, "add 0.1"),
        ({"steps": (50, 100)}, {"steps": 100}, "add 150"),
        ({"radius": (1.0, 10.0, 100.0)}, {"radius": 10.0}, ""),
        ({"radius": (100.0,)}, {"radius": 100.0}, ""),  # nothing was searched
        ({"expand": ("coverage", "moving_average")}, {"expand": "moving_average"}, ""),  # no order
        ({"layer": (0.0, 0.5)}, {"layer": 0.0}, ""),  # there is no lower layer
    ],
)  # fmt: skip
def test_an_edge_is_the_first_or_last_number_of_a_grid(tiny_vlm: Any, space: Any, best: Any, added: str) -> None:
    said = " ".join(warned(tiny_vlm, "grace", space, best))
    assert (added in said) if added else not said


def test_the_last_layer_is_no_edge(tiny_vlm: Any) -> None:
    assert not warned(tiny_vlm, "ft", {"layer": (0.0, 0.2, 1.0)}, {})
    assert not warned(tiny_vlm, "grace", {"layer": (0.0, 0.2, 0.97)}, {"layer": 0.97})


def test_a_bound_of_the_option_is_no_edge_but_a_value_short_of_it_is(tiny_vlm: Any) -> None:
    assert not warned(tiny_vlm, "wise", {"subspace": (0.2, 0.5, 1.0)}, {"subspace": 1.0})
    assert "add 0.9" in " ".join(warned(tiny_vlm, "serac", {"threshold": (0.5, 0.7, 0.8)}, {"threshold": 0.8}))


def test_a_plateau_is_no_edge(tiny_vlm: Any) -> None:
    """MELO's radius of 150 gives what 75 gives: going on would give it again."""
    space = {"radius": (0.5, 75.0, 150.0)}
    assert warned(tiny_vlm, "melo", space, {"radius": 150.0}, [({"radius": 75.0}, 0.9)])
    assert not warned(tiny_vlm, "melo", space, {"radius": 150.0}, [({"radius": 75.0}, 1.0)])


def test_a_plateau_may_be_seen_beside_the_best(tiny_vlm: Any) -> None:
    """The best one was not tried with the next radius; another rank was with both, which scored alike, or did not."""
    space = {"radius": (0.5, 75.0, 150.0), "rank": (2, 4)}
    best, other = {"radius": 150.0}, {"rank": 4, "radius": 150.0}
    for twin, told in ((0.9, False), (0.8, True)):
        pair = [(other, 0.9), ({"rank": 4, "radius": 75.0}, twin)]
        assert any("radius" in line for line in warned(tiny_vlm, "melo", space, best, pair)) == told
        own = [*pair, ({"radius": 75.0}, 1.0)]  # its own pair, where there is one, decides
        assert not any("radius" in line for line in warned(tiny_vlm, "melo", space, best, own))


def test_an_unknown_option_and_a_bad_value_are_refused_by_name() -> None:
    with pytest.raises(ConfigError, match="learning_rate"):
        space_of("ft", {"learningrate": (1.0,)})
    with pytest.raises(ConfigError, match="steps"):
        space_of("ft", {"steps": (0,)})
    with pytest.raises(ConfigError, match="empty list"):
        space_of("ft", {"steps": ()})
    with pytest.raises(ConfigError, match="names no options"):
        space_of("none")
