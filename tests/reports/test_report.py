"""A report is a pure function of run logs: every figure has numbers behind it, and the page needs no other file."""

import re
from pathlib import Path

import polars as pl
import pytest
from matplotlib.figure import Figure
from runs_made_up import fake_run

from lifelong.running.words import ConfigError
from lifelong.studies.report import run_folders
from reports.figures.looks import HUES, palette
from reports.figures.scores import degradation
from reports.numbers.axes import DRAWN, EXACT
from reports.numbers.summary import speed
from reports.page import write_report
from reports.table import load_runs


@pytest.fixture(scope="module")
def report(tmp_path_factory: pytest.TempPathFactory) -> Path:
    root = tmp_path_factory.mktemp("runs")
    return write_report(
        [fake_run(root, "none", 1.0), fake_run(root, "ft", 0.3), fake_run(root, "grace", 0.95)], root / "out"
    ).parent


def test_every_figure_has_png_svg_pdf_and_numbers(report: Path) -> None:
    names = {p.stem for p in (report / "figures").glob("*.png")}
    assert {"degradation", "scorers", "age_heatmap", "routing", "latency", "memory", "prompt_kinds"} <= names
    assert names == {p.stem for p in (report / "figures").glob("*.svg")}
    assert names == {p.stem for p in (report / "figures").glob("*.pdf")}
    numbers = {p.stem for p in (report / "tables").glob("*.csv")}
    assert {"summary", "evidence", "gains", "compared", "published", "general"} <= numbers and names <= numbers
    shown = set(re.findall(r'<figure id="(\w+)"', (report / "index.html").read_text()))
    assert names <= shown and shown <= numbers  # what was not asked has a table and no picture


def test_of_a_folder_of_runs_those_without_a_panel_are_left_out_and_named(tmp_path: Path) -> None:
    """A sweep that was stopped is reported as far as it came; a run that is asked for by name must have begun."""
    begun, early = fake_run(tmp_path, "grace", 0.9, steps=(1, 2)), fake_run(tmp_path, "rag", 0.9, steps=())
    said: list[str] = []
    assert run_folders([tmp_path], said.append) == [begun]
    assert len(said) == 1 and str(early) in said[0] and "no panel" in said[0]
    assert run_folders([early]) == [early]
    with pytest.raises(ValueError, match="first panel"):
        load_runs([early])
    with pytest.raises(ConfigError, match="neither"):
        run_folders([tmp_path / "grace" / "facts"])


def test_page_is_self_contained(report: Path) -> None:
    page = (report / "index.html").read_text()
    assert '<div class="plots" role="img"' in page and "http" not in page.replace("http-equiv", "")
    assert not re.findall(r"""(?:src|srcset)=["'](?!data:)""", page) and "@import" not in page and "url(" not in (
        page.split("</style>")[0])  # fmt: skip


def test_summary_reads_the_diagonal_and_the_last_panel(report: Path) -> None:
    table = pl.read_csv(report / "tables" / "summary.csv")
    by = {r["editor"]: r for r in table.iter_rows(named=True)}
    assert by["none"]["reliability (retention)"] == 1.0 and by["none"]["n reliability (retention)"] == 60
    assert by["ft"]["reliability (retention)"] < by["grace"]["reliability (retention)"]
    assert by["ft"]["reliability right after the edit"] == 1.0


def test_two_runs_of_one_editor_and_seed_are_refused(tmp_path: Path) -> None:
    first, second = fake_run(tmp_path / "a", "ft", 0.5), fake_run(tmp_path / "b", "ft", 0.5)
    with pytest.raises(ValueError, match="drawn on top of each other"):
        write_report([first, second], tmp_path / "out")


def test_runs_of_one_editor_are_told_apart_by_label_and_seeds_of_a_label_averaged(tmp_path: Path) -> None:
    runs = [("liveedit", 0), ("liveedit", 1), ("liveedit rank=16", 0), ("liveedit rank=8", 0), ("none", 0)]
    folders = [
        fake_run(tmp_path / str(i), label.split()[0], 0.9, seed, label, steps=(1, 2))
        for i, (label, seed) in enumerate(runs)
    ]
    facts, infos = load_runs(folders)
    assert facts.editors == ["none", "liveedit", "liveedit rank=8", "liveedit rank=16"]
    assert [r.editor for r in infos] == [label for label, _ in runs]
    last = degradation(facts).table.filter((pl.col("measure") == "reliability (retention)") & (pl.col("step") == 2))
    assert dict(zip(last["editor"], last["n"], strict=True))["liveedit"] == 4  # two probes of either seed


def test_runs_without_a_label_are_told_apart_by_the_options_they_do_not_share(tmp_path: Path) -> None:
    options = [
        (", rank = 4, soft = true", 0),
        (", rank = 4, soft = true", 1),
        (", rank = 8, soft = true, new = 1", 0),
    ]
    folders = [fake_run(tmp_path / str(i), "liveedit", 0.9, s, "", o, (1,)) for i, (o, s) in enumerate(options)]
    assert [r.editor for r in load_runs(folders)[1]] == ["liveedit rank=4", "liveedit rank=4", "liveedit rank=8"]
    assert [r.editor for r in load_runs(folders[:2])[1]] == ["liveedit", "liveedit"]


def test_runs_over_streams_of_other_orders_are_told_apart(tmp_path: Path) -> None:
    streams = ('toy", order = "drift', "toy", "other")  # the name's end and an option of it, in TOML
    folders = [
        fake_run(tmp_path / str(n), "grace", 0.9, n // 2, steps=(1,), on=("tiny", stream))
        for n, stream in enumerate(streams)
    ]
    facts, _ = load_runs(folders)
    assert facts.editors == ["grace stream=other", "grace stream=toy", "grace stream=toy stream.order=drift"]


def test_variants_of_an_editor_share_its_colour_and_are_all_different_and_the_unedited_model_is_black() -> None:
    labels = ["none", *(f"liveedit rank={i}" for i in range(40))]
    looks = palette(labels)
    assert len(set(looks.values())) == 41 and len({k.colour for k in looks.values()}) == 2
    assert len({(k.marker, k.pale) for k in palette(labels[:9]).values()}) == 9  # also where dashes mean quantiles
    assert [e for e, k in looks.items() if k.colour == "#000000"] == ["none"]


@pytest.mark.parametrize("beside", [[], ["none", "ft", "rag"], ["grace (published)", "mend", "zoo.py", "ft_vision"]])
def test_an_editor_looks_the_same_whatever_else_is_on_the_page(beside: list[str]) -> None:
    for label in ("grace (tuned)", "grace (published)", "liveedit (tuned)", "notebook", "wise (tuned) (unfinished)"):
        assert palette([*beside, label])[label] == palette([label])[label]
    assert palette(["Fine-tuning"], {"Fine-tuning": "ft (tuned)"})["Fine-tuning"] == palette(["ft"])["ft"]


def test_a_colour_is_readable_in_both_themes_and_no_two_known_editors_look_alike() -> None:
    """3:1 is what WCAG asks of graphical objects; the grounds are those of the page."""
    for light, dark in HUES.values():
        assert contrast(light, "#ffffff") >= 3 and contrast(dark, "#16191d") >= 3
    known = [p.stem for p in (Path(__file__).parents[2] / "lifelong" / "editors").iterdir() if p.name[0] not in "_R."]
    looks = palette([name for name in known if name != "evidence"])
    assert len(set(looks.values())) == len(looks) >= 22
    assert len({(look.colour, look.marker) for look in looks.values()}) == len(looks)


def contrast(one: str, other: str) -> float:
    """The contrast of two colours by WCAG 2."""
    parts = [[int(c[i : i + 2], 16) / 255 for i in (1, 3, 5)] for c in (one, other)]
    linear = [[v / 12.92 if v <= 0.04045 else ((v + 0.055) / 1.055) ** 2.4 for v in rgb] for rgb in parts]
    dim, bright = sorted(0.2126 * r + 0.7152 * g + 0.0722 * b for r, g, b in linear)
    return (bright + 0.05) / (dim + 0.05)


def test_fourteen_long_labels_leave_the_axes_their_room(tmp_path: Path) -> None:
    labels = [f"liveedit prompt_guided=false soft_routing=false rank={i}" for i in range(14)]
    folders = [fake_run(tmp_path / str(i), "liveedit", 0.9, 0, x, steps=(1, 2)) for i, x in enumerate(labels)]
    figure = degradation(load_runs(folders)[0]).figure
    assert isinstance(figure, Figure)
    figure.draw_without_rendering()
    assert min(ax.get_position().height * figure.get_figheight() for ax in figure.axes) > 1.2
    legend = figure.legends[0].get_window_extent()
    assert legend.x0 >= 0 and legend.x1 <= figure.bbox.width


def test_speed_is_counts_over_measured_seconds() -> None:
    # 10 s in all: 3 editing, 6 probing (of which 1 latency samples and 4 in encode, route and answer), 1 elsewhere
    seconds = {"edit": 3.0, "probe": 6.0, "commit": 0.5, "own": 0.5, "encode": 1.0, "route": 1.0, "answer": 2.0}
    counts = {"probes_asked": 50.0, "probes_reused": 40.0}
    gauges = pl.DataFrame({**{f"{k}_wall_s": [v] for k, v in seconds.items()}, **{k: [v] for k, v in counts.items()}})
    timed = pl.DataFrame({"operation": ["encode", "edit"], "wall_s": [1.0, 3.0]})
    found = speed(gauges, timed, edits=20)
    assert found["edits/s"] == 2 and found["probes/s"] == 10
    assert found["answers kept by an unchanged route"] == 0.8
    assert found["simulator overhead"] == pytest.approx(0.2)


def test_replaced_and_withdrawn_edits_have_left_every_curve() -> None:
    variants = ["edit", "superseded", "withdrawn"]
    rows = pl.DataFrame({"axis": ["reliability"] * 3, "modality": ["image"] * 3, "variant": variants})
    rows = rows.with_columns(pl.lit("generated").alias("scorer"))
    assert rows.filter(DRAWN["reliability (retention)"].rows(EXACT))["variant"].to_list() == ["edit"]


@pytest.mark.parametrize("axis", ["reliability", "generality", "locality", "portability", "specificity", "general"])
@pytest.mark.parametrize("modality", ["text", "image"])
def test_every_probe_is_in_one_panel_of_the_main_figure(axis: str, modality: str) -> None:
    """Also variants that only a file has: what a stream asks is drawn, and once."""
    variants = {"specificity": ("must", "must-not")}.get(axis, ("", "far", "near", "same-image", "of-a-file"))
    for variant in variants:
        row = pl.DataFrame({"axis": [axis], "modality": [modality], "variant": [variant], "scorer": ["generated"]})
        drawn = [title for title, one in DRAWN.items() if len(row.filter(one.rows(EXACT)))]
        assert len(drawn) == 1, (axis, modality, variant, drawn)
