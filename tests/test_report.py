"""A report is a pure function of run logs: every figure has numbers behind it, and the page needs no other file."""

from pathlib import Path

import numpy as np
import polars as pl
import pytest

from lifelong.editor import State
from lifelong.log import Edited, Gauged, Probed, RunLog, Timed
from reports.figures import pick
from reports.page import write_report
from reports.summary import speed

PROBES = [
    ("reliability", "edit", "image"),
    ("generality", "template", "text"),
    ("generality", "seen", "image"),
    ("locality", "question", "text"),
    ("locality", "near", "image"),
    ("locality", "same-image", "image"),
    ("locality", "far", "image"),
    ("portability", "hop", "image"),
    ("specificity", "must", "image"),
    ("specificity", "must-not", "image"),
]


def fake_run(folder: Path, editor: str, keep: float, seed: int = 0) -> Path:
    """Write a run of 60 edits whose answers are right with probability `keep` ** (age / 20)."""
    rng = np.random.default_rng(seed)
    config = f'editor = {{ name = "{editor}" }}\nstream = {{ name = "toy" }}\nmodel = {{ name = "tiny" }}\n'
    log = RunLog.create(
        folder / editor, config + f'clock = {{ name = "modelled" }}\nseed = {seed}\n', {"hardware": "here"}
    )
    for panel, step in enumerate((1, 2, 5, 10, 20, 60)):
        facts: list[Edited | Probed | Gauged | Timed] = []
        facts += [Edited(step, float(step), f"e{step}", 0.0, float(step), 0.01 * (1 + rng.random()))]
        bank = 0 if editor == "none" else step
        gauges = (("bank_len", bank), ("bank_bytes", 100 * bank), ("rss_bytes", 1e8))
        facts += [Gauged(step, float(step), "system", name, float(value)) for name, value in gauges]
        for edit in range(1, step + 1):
            for i, (axis, variant, modality) in enumerate(PROBES):
                right = rng.random() < keep ** ((step - edit) / 20)
                for scorer in ("generated", "teacher_forced", "locality_top1_answer")[
                    : 3 if axis == "locality" else 2
                ]:
                    kind = ("partial", "generic", "text")[edit % 3]
                    cell = (step, 0.0, f"p{edit}.{i}", f"e{edit}", step - edit, axis, variant, modality, kind, scorer)
                    home = int(editor != "none")
                    facts.append(Probed(*cell, float(right), routed_n=home, routed_home=right))
        for operation in ("encode", "route", "apply", "answer"):
            facts += [
                Timed(step, bank, operation, 1e-4 * (1 + rng.random()) * max(1, bank) ** 0.5) for _ in range(60)
            ]
        log.commit(panel, facts, State({}, {}))
    log.finish()
    return log.folder


@pytest.fixture(scope="module")
def report(tmp_path_factory: pytest.TempPathFactory) -> Path:
    root = tmp_path_factory.mktemp("runs")
    return write_report(
        [fake_run(root, "none", 1.0), fake_run(root, "ft", 0.3), fake_run(root, "grace", 0.95)], root / "out"
    ).parent


def test_every_figure_has_png_svg_and_numbers(report: Path) -> None:
    names = {p.stem for p in (report / "figures").glob("*.png")}
    assert {"degradation", "scorers", "age_heatmap", "routing", "latency", "memory", "prompt_kinds"} <= names
    assert names == {p.stem for p in (report / "figures").glob("*.svg")}
    assert names | {"summary"} == {p.stem for p in (report / "tables").glob("*.csv")}


def test_page_is_self_contained(report: Path) -> None:
    page = (report / "index.html").read_text()
    assert "src='data:image/png" in page and "http" not in page.replace("http-equiv", "")


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
    assert pick(rows, "reliability", None, None)["variant"].to_list() == ["edit"]
