"""The configuration: typed, frozen, and every mistake is one line that names what is near."""

from __future__ import annotations

import tomllib
from pathlib import Path

import pytest

from lifelong.running.catalog import listing
from lifelong.running.config import Panels, RunConfig, find_table, from_table, hash8, load_config, recipe_names
from lifelong.running.words import ConfigError, override, parse_words, to_toml


def test_words_overrule_a_file(tmp_path: Path) -> None:
    file = tmp_path / "mine.toml"
    file.write_text('edits = 50\neditor = "grace"\n[stream]\nname = "atlas"\norder = "shuffled"\n')
    config = load_config(str(file), parse_words(["edits=20", "editor.radius=0.8", "panels=1,2,5"]))
    assert config.edits == 20 and config.editor.flat() == {"name": "grace", "radius": 0.8}
    assert config.stream.options == {"order": "shuffled"} and config.panels.at == (1, 2, 5)


@pytest.mark.parametrize(
    "word, hint",
    [
        ("editr=ft", "'editor'"),
        ("panels.evry=5", "'every'"),
        ("edits=none", "a whole number from 1"),
        ("edits=0", "edits=0: expected a whole number from 1"),
        ("seed=-1", "seed=-1"),
        ("panels=0,5", "from 1"),
        ("panels.every.x=5", "at most one dot"),
    ],
)
def test_a_wrong_word_is_one_line_naming_the_key(word: str, hint: str) -> None:
    with pytest.raises(ConfigError) as caught:
        load_config(None, parse_words([word]))
    assert hint in str(caught.value) and word.split("=")[0].split(".")[0] in str(caught.value)
    assert "\n" not in str(caught.value)


def test_a_word_without_a_value_is_refused() -> None:
    with pytest.raises(ConfigError, match="expected key=value"):
        parse_words(["grace"])


def test_an_unknown_recipe_and_a_broken_file_are_named(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match="no recipe"):
        load_config("curvs")
    (tmp_path / "config.toml").touch()
    with pytest.raises(ConfigError, match=r"is a folder.*config.toml is the configuration of this run"):
        load_config(str(tmp_path))
    (tmp_path / "bad.toml").write_text("edits = = 5")
    with pytest.raises(ConfigError, match="bad.toml"):
        load_config(str(tmp_path / "bad.toml"))


def test_a_sweep_is_not_run_as_one_run() -> None:
    with pytest.raises(ConfigError, match="lifelong sweep curves"):
        load_config("curves")


def test_the_resolved_copy_reads_back_as_the_same_configuration() -> None:
    words = ["stream=jsonl", 'stream.path=a "b" \\ é', "editor=grace", "editor.radius=0.8", "panels.every=50"]
    config = load_config(None, parse_words(words))
    assert from_table(tomllib.loads(to_toml(config.table())), {}) == config


def test_the_hash_sees_options_and_digests_but_not_where_the_run_lies() -> None:
    base = load_config(None, {"editor": "grace"})
    digests = {"model": "m", "stream": "s"}
    assert hash8(base, digests) == hash8(load_config(None, {"editor": "grace", "out": "elsewhere"}), digests)
    others = [
        load_config(None, {"editor": "grace", "editor.radius": 2.0}),
        load_config(None, {"editor": "grace", "seed": 1}),
    ]
    assert len({hash8(c, digests) for c in [base, *others]} | {hash8(base, {**digests, "stream": "t"})}) == 4


def test_another_editor_drops_the_options_of_the_one_in_the_file() -> None:
    table = {"editor": {"name": "grace", "radius": 1.0}}
    assert override(table, {"editor": "ft"}) == {"editor": "ft"}
    assert override(table, {"editor": "grace"}) == table


def test_panels_end_with_the_last_edit_and_never_pass_it() -> None:
    assert Panels(at=(1, 5, 30)).steps(20) == (1, 5, 20)
    assert Panels(at=(5,), every=8).steps(20) == (5, 8, 16, 20)
    assert Panels(sample=7).steps(10) == (1, 2, 5, 10)
    for none in ([], {"at": []}):  # without any listed, the usual ones
        assert load_config(None, {"panels": none}).steps(10) == (1, 2, 5, 10)


def test_a_sweep_with_every_varied_key_settled_is_one_run() -> None:
    one = load_config("curves", {"editor": "grace", "edits": 30})
    assert (one.editor.name, one.edits, one.title()) == ("grace", 30, "grace-atlas")
    with pytest.raises(ConfigError, match="such as editor=.*ft"):
        load_config("curves", {"editor.radius": 1})


def test_two_values_of_one_key_are_an_error_naming_both() -> None:
    for words in (["editor=grace", "editor=ft"], ["editor.name=grace", "editor=ft"]):
        with pytest.raises(ConfigError, match="editor is given twice, as grace and as ft"):
            parse_words(words)


def test_a_number_of_thousands_of_digits_and_deep_lists_are_texts() -> None:
    for word in ("9" * 5000, "[" * 5000, "1\nseed = 2"):
        assert parse_words([f"name={word}"])["name"] == word


@pytest.mark.parametrize(
    "text", ["grid = 5", "[run]\nedits = 1\n[grid]\nseed = [0]\n", "run = 5\n[grid]\nseed = [0]"]
)
def test_a_grid_or_run_that_is_no_table_is_named(text: str, tmp_path: Path) -> None:
    (tmp_path / "g.toml").write_text(text)
    with pytest.raises(ConfigError, match=r"g\.toml(: (grid|run) is '5'; expected a table| is a sweep)"):
        load_config(str(tmp_path / "g.toml"))


def test_every_key_is_described_and_so_is_every_option_of_a_part() -> None:
    keys = {one["name"]: one for one in listing("keys")}
    assert {k for k in RunConfig.model_fields if k != "fit"} <= set(keys)
    assert {
        "panels.every",
        "fit.edits",
        "queries.rate",
        "queries.zipf",
        "arrivals.burstiness",
        "clock.edit_s",
    } <= set(keys)
    assert all(one["about"] and one["takes"] for one in keys.values())
    assert keys["editor"]["default"] == "none" and "list editors" in keys["editor.*"]["about"]
    load_config(None, {k: one["default"] for k, one in keys.items() if k.startswith("panels.")})


def test_a_recipe_runs_under_its_own_name() -> None:
    for name in recipe_names():
        named = find_table(name).get("name")
        assert named in (None, Path(name).name), name
