"""An editor's settings by name: where they come from, what they are called, and that one file says what is tuned."""

from __future__ import annotations

from pathlib import Path

import pytest

from lifelong.editing.find import editor_class, editor_names
from lifelong.running import settings
from lifelong.running.catalog import listing
from lifelong.running.config import RunConfig, find_table, from_table, recipe_names
from lifelong.running.prepare import resolve
from lifelong.running.settings import tuned_names, tuned_options
from lifelong.running.words import ConfigError, to_toml
from lifelong.studies.sweep import cells


@pytest.fixture
def tuned(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A folder of tuned options in the place of the one that ships."""
    (tmp_path / "grace.toml").write_text('[editor]\nname = "grace"\nradius = 7.0\nsteps = 9\n')
    (tmp_path / "mscke.toml").write_text('[editor]\nname = "mscke"\nsupersede = "keep"\n')
    monkeypatch.setattr(settings, "TUNED", tmp_path)
    return tmp_path


def of(editor: str, **options: object) -> dict[str, object]:
    return {"editor": {"name": editor, **options}}


def test_a_setting_stands_for_its_options_and_what_is_said_beside_it_counts_first(tuned: Path) -> None:
    found = resolve(None, of("grace", setting="tuned", steps=3)).config.editor.options
    assert (found["radius"], found["steps"]) == (7.0, 3) and "setting" not in found
    assert resolve(None, of("grace", setting="published")).config.editor.options["layer"] == 0.84
    assert resolve(None, {"editor": "grace", "editor.setting": "tuned"}).label == "grace (tuned)"


def test_another_tuning_is_one_file_that_changes(tuned: Path) -> None:
    (tuned / "grace.toml").write_text('[editor]\nname = "grace"\nradius = 8.0\n')
    assert resolve(None, of("grace", setting="tuned")).config.editor.options["radius"] == 8.0


def test_what_was_tuned_on_a_model_counts_there_and_what_was_not_is_that_of_the_embedded_one(tuned: Path) -> None:
    (tuned / "tiny").mkdir()
    (tuned / "tiny" / "grace.toml").write_text('[editor]\nname = "grace"\nradius = 2.0\n')

    def found(editor: str, model: str) -> dict:
        at = resolve(None, of(editor, setting="tuned") | {"model": model, "stream": "toy"})
        assert at.label.startswith(f"{editor} (") and "tuned" in at.label
        return at.config.editor.options

    assert found("grace", "tiny")["radius"] == 2.0 and found("grace", "atlas")["radius"] == 7.0
    assert found("mscke", "tiny")["supersede"] == "keep"
    assert found("grace", "shaped")["radius"] == 7.0 and settings.tuned_options("ft", "tiny") is None


def test_a_run_is_called_by_its_setting_and_by_what_differs_from_it(tuned: Path) -> None:
    def label(**options: object) -> str:
        return resolve(None, of("grace", **options)).label

    assert label(setting="tuned") == "grace (tuned)" and label(setting="published") == "grace (published)"
    assert label(setting="tuned", radius=1.0) == "grace (tuned) radius=1.0"
    assert label(setting="tuned", radius=7.0) == "grace (tuned)" and label() == "grace"
    assert resolve(None, of("grace", setting="tuned")).title == "grace-tuned-atlas"


def test_a_finished_runs_configuration_keeps_label_and_options_when_tuning_changes(
    tuned: Path, tmp_path: Path
) -> None:
    """Its config.toml spells everything out: a new tuning does not reach what was run before."""
    before = resolve(None, of("grace", setting="tuned"))
    file = tmp_path / "kept.toml"
    file.write_text(to_toml(before.config.table()))
    (tuned / "grace.toml").write_text('[editor]\nname = "grace"\nradius = 99.0\nlayer = 0.5\n')
    again = resolve(str(file))
    assert (again.config, again.label) == (before.config, "grace (tuned)")


def test_a_label_goes_when_the_editor_is_said_otherwise(tuned: Path, tmp_path: Path) -> None:
    file = tmp_path / "kept.toml"
    file.write_text(to_toml(resolve(None, of("grace", setting="tuned")).config.table()))
    assert resolve(str(file), {"editor.radius": 1.0}).label == "grace steps=9"
    assert resolve(str(file), {"editor": "ft"}).label == "ft"
    assert resolve(str(file), {"seed": 3}).label == "grace (tuned)"
    assert resolve(str(file), {"editor": "ft", "label": "mine"}).label == "mine"


def test_a_label_changes_no_runs_hash_and_is_one_line() -> None:
    from lifelong.running.config import hash8

    assert hash8(RunConfig(label="a (tuned)"), {}) == hash8(RunConfig(), {})
    for bad in ("two\nlines", " x", "a" * 101, "\x1b[31m"):
        with pytest.raises(ConfigError, match="label"):
            from_table({"label": bad}, {})


def test_settings_that_are_equal_are_one_cell_with_both_names(tuned: Path, tmp_path: Path) -> None:
    rows = ", ".join(f'{{name = "{n}", setting = "{s}"}}' for n in ("mscke", "grace") for s in ("published", "tuned"))
    file = tmp_path / "s.toml"
    file.write_text(f"[grid]\neditor = [{rows}]\nseed = [0, 1]\n")
    labels = [cell.label for cell in cells(str(file))]
    assert labels == [
        f"{label} seed={seed}"
        for label, seed in [
            ("mscke (published, tuned)", 0), ("mscke (published, tuned)", 1), ("grace (published)", 0),
            ("grace (published)", 1), ("grace (tuned)", 0), ("grace (tuned)", 1),
        ]
    ]  # fmt: skip


@pytest.mark.parametrize(
    ("editor", "setting", "said"),
    [
        ("grace", "tunned", "Did you mean 'tuned'"),
        ("grace", ["tuned"], "no such setting"),
        ("grace", 3, "no such setting"),
        ("grace", "", "no such setting"),
        ("ft", "tuned", "tuned are grace, mscke"),
        ("none", "tuned", "Leave the setting out"),
        ("none", "published", "no published method"),
        ("rag", "published", "no published method"),
    ],
)
def test_a_setting_that_there_is_not_is_said_in_one_line(
    tuned: Path, editor: str, setting: object, said: str
) -> None:
    with pytest.raises(ConfigError, match=said) as caught:
        resolve(None, of(editor, setting=setting))
    assert "\n" not in str(caught.value)


def test_an_editor_of_ones_own_has_a_published_setting_but_no_option_of_that_name(tmp_path: Path) -> None:
    text = (
        "from lifelong import Editor, EditorOptions\n\nclass O(EditorOptions):\n    rate: float = 1.0\nX\n\n"
        "class Mine(Editor):\n    Options = O\n    published = {'rate': 2.0}\n    def edit(self, edits): pass\n"
    )
    (mine := tmp_path / "mine.py").write_text(text.replace("X", ""))
    found = resolve(None, of(str(mine), setting="published"))
    assert found.label == "mine (published)" and found.config.editor.options == {"rate": 2.0}
    (clash := tmp_path / "clash.py").write_text(text.replace("X", "    setting: str = ''\n"))
    with pytest.raises(ConfigError, match="call its option 'setting' otherwise"):
        resolve(None, of(str(clash), setting="published"))


@pytest.mark.parametrize("name", editor_names())
def test_no_shipped_editor_has_an_option_called_setting(name: str) -> None:
    assert settings.KEY not in editor_class(name).Options.model_fields


@pytest.mark.parametrize("path", sorted(settings.TUNED.glob("*/*.toml")), ids=lambda p: f"{p.parent.name}/{p.stem}")
def test_what_was_tuned_on_another_model_says_which_and_is_valid(path: Path) -> None:
    table = find_table(f"tuned/{path.parent.name}/{path.stem}")
    assert table["model"] == path.parent.name and table["editor"]["name"] == path.stem
    resolve(None, of(path.stem, setting="tuned") | {"model": path.parent.name})


@pytest.mark.parametrize("name", tuned_names())
def test_every_tuned_file_is_of_its_editor_and_valid(name: str) -> None:
    assert find_table(f"tuned/{name}")["editor"]["name"] == name
    assert (
        resolve(None, of(name, setting="tuned")).config.editor.options.items() >= (tuned_options(name) or {}).items()
    )


def test_sweeps_over_all_editors_have_the_tuned_and_the_published_setting_of_each() -> None:
    rows = [r for source in ("editors", "editors-slow") for r in find_table(source)["grid"]["editor"]]
    for name in editor_names():
        kind = editor_class(name)
        for setting, there in (("tuned", bool(kind.searched)), ("published", kind.published is not None)):
            assert ({"name": name, "setting": setting} in rows) == there, (name, setting)
        assert (name in rows) == (not kind.searched and kind.published is None), name


def test_the_fits_of_three_seeds_are_run_of_every_tuned_editor_that_trains() -> None:
    grid = find_table("fits")["grid"]
    slow = {row["name"] for row in find_table("editors-slow")["grid"]["editor"]}
    trained = {n for n in editor_names() if editor_class(n).trains and editor_class(n).searched} - slow
    assert {row["name"] for row in grid["editor"]} == trained and set(grid["fit.seed"]) == {1, 2}
    assert find_table("fits")["run"] == find_table("editors")["run"]  # beside the runs of fit 0


@pytest.mark.parametrize(
    "name", [n for n in recipe_names() if "/" not in n and "ablation" not in n and n != "liveedit-filter"]
)
def test_no_sweep_repeats_tuned_options_by_hand(name: str) -> None:
    """But for those of the random model, which trials never saw."""
    table = find_table(name)
    rows = table.get("grid", {}).get("editor", ()) if table.get("run", {}).get("model") != "tiny" else ()
    assert all(set(row) <= {"name", "setting"} for row in rows if isinstance(row, dict))


def test_curves_and_scale_show_grace_tuned_and_published() -> None:
    for name in ("curves", "scale"):
        rows = find_table(name)["grid"]["editor"]
        assert [r["setting"] for r in rows if isinstance(r, dict) and r["name"] == "grace"] == ["tuned", "published"]


def test_the_list_of_editors_shows_their_settings() -> None:
    found = {one["name"]: one["settings"] for one in listing("editors", options=True)}
    assert found["none"] == {} and found["grace"]["published"] == dict(editor_class("grace").published or {})
    assert found["grace"]["tuned"] == tuned_options("grace")
