"""The bench of probing through the command line: what it prints is what it measured, and it writes no run."""

from __future__ import annotations

import json
import sys
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from runs_alike import SMALL

from lifelong.cli import bench as cli_bench
from lifelong.cli import main as cli
from lifelong.log import Probed
from lifelong.probing.scorers import LOCALITY_TOP10_ALL, TEACHER_FORCED
from lifelong.studies.bench.cells import Alone
from lifelong.studies.bench.probing import UnequalFactsError, check_equal


def bench(monkeypatch, capsys, out: Path, *words: str, **changes: object) -> tuple[int, str, str]:
    settings = [f"{k}={v}" for k, v in {**SMALL, "out": out, **changes}.items()]
    monkeypatch.setattr(sys, "argv", ["lifelong", "bench", "probing", *settings, *words])
    with pytest.raises(SystemExit) as ended:
        cli.main()
    return int(ended.value.code or 0), *capsys.readouterr()


def test_both_sides_are_measured_and_no_run_is_written(monkeypatch, capsys, tmp_path: Path) -> None:
    code, out, err = bench(monkeypatch, capsys, tmp_path, "--json")
    found = json.loads(out)
    assert code == 0 and found["facts_equal"] and (found["editor"], found["edits"]) == ("grace", 6)
    assert found["speed_up"] == pytest.approx(found["brute_wall_s"] / found["incremental_wall_s"])
    assert found["incremental_probes_per_s"] == pytest.approx(found["probes"] / found["incremental_wall_s"])
    assert 0.2 < found["reused_share"] < 1, "the first answers of the edits' own probes are never reused"
    assert "6/6 edits" in err and [p.name for p in tmp_path.iterdir()] == [".cache"]


def test_an_editor_that_never_reuses_gains_nothing_from_reuse(monkeypatch, capsys, tmp_path: Path) -> None:
    """ft may change any answer, so every probe is asked again by both sides."""
    changes = {"editor": "ft", "editor.steps": 2, "edits": 2}
    assert json.loads(bench(monkeypatch, capsys, tmp_path, "--json", **changes)[1])["reused_share"] == 0


def test_the_words_say_seconds_ratio_share_and_rate() -> None:
    sides = {"incremental": 2.0, "brute": 8.0}
    found = {f"{side}_wall_s": wall_s for side, wall_s in sides.items()}
    found |= {f"{side}_probes_per_s": 100 / wall_s for side, wall_s in sides.items()}
    found |= {f"{side}_parts": {"answer_wall_s": wall_s - 1, "route_wall_s": 1.0} for side, wall_s in sides.items()}
    text = cli_bench.probing_text(
        {"editor": "e", "stream": "s", "edits": 5, "probes": 100, "reused_share": 0.75, "speed_up": 4.0} | found
    )
    for part in ("e on s: 5 edits, 100 probes", "2.00 s        50.0 probes/s", "8.00 s        12.5 probes/s"):
        assert part in text, text
    for part in ("speed-up           4.00", "75.0%", "seconds of brute force: answer 7.00  route 1.00"):
        assert part in text, text


def test_only_what_rounding_can_change_may_differ() -> None:
    fact = Probed(1, 0.0, "p", "e", 0, "locality", "near", "image", "", LOCALITY_TOP10_ALL, 1.0)
    one_pair_swapped = replace(fact, score=1 - 2 / 290)
    check_equal([replace(fact, reused=True)], [one_pair_swapped])
    routed = replace(fact, route_score=-2.8e-5)
    with pytest.raises(UnequalFactsError):
        check_equal([routed], [replace(routed, route_score=-3.0e-5)])
    for other in (replace(fact, score=0.9), replace(fact, answer="x"), replace(fact, route_digest="x"), routed):
        with pytest.raises(UnequalFactsError):
            check_equal([fact], [other])
    forced = replace(fact, scorer=TEACHER_FORCED)
    with pytest.raises(UnequalFactsError):
        check_equal([forced], [replace(forced, score=1 - 2 / 290)])


def test_probes_asked_alone_take_longer_and_score_the_same(monkeypatch, capsys, tmp_path: Path) -> None:
    """Every probe of the run is drawn (more cells than probes), and asking it alone gives what the panel said."""
    code, out, _ = bench(monkeypatch, capsys, tmp_path, "--cells", "10000", "--brute", "1", "--json")
    found = json.loads(out)
    assert code == 0 and found["cells"] == found["probes"] > 100 and not found["cells_unequal"]
    low_s, high_s = found["one_by_one_interval_s"]
    assert found["incremental_wall_s"] < low_s < found["one_by_one_wall_s"] < high_s
    assert not found["brute_facts_unequal"] and 0 < found["brute_probes"] < found["probes"]
    assert found["brute_panels"] == 1 and found["brute_facts"] > found["brute_probes"]


def test_a_sample_says_what_all_would_take() -> None:
    """The interval of a mean of a sample holds the mean of all in 95 of 100 draws."""
    rng = np.random.default_rng(0)
    everything = rng.gamma(2.0, 0.01, 20_000)
    held = 0
    for _ in range(400):
        total_s, low_s, high_s = Alone(rng.choice(everything, 500, replace=False).tolist()).total_s(20_000)
        held += low_s <= everything.sum() <= high_s
        assert low_s < total_s < high_s
    assert held / 400 == pytest.approx(0.95, abs=0.035)


def test_a_sample_of_cells_is_spread_over_all_steps(monkeypatch, capsys, tmp_path: Path) -> None:
    found = json.loads(bench(monkeypatch, capsys, tmp_path, "--cells", "40", "--json")[1])
    assert 25 <= found["cells"] <= 60 < found["probes"]


def test_a_difference_ends_with_exit_code_2_and_all_numbers(monkeypatch, capsys, tmp_path: Path) -> None:
    told = {"cells_unequal": [], "brute_facts_unequal": ["Probe p: score 1 with reuse, 0 asked again"]}
    monkeypatch.setattr("lifelong.studies.bench.cells.compare_cells_run", lambda *source, **changes: told)
    code, out, _ = bench(monkeypatch, capsys, tmp_path, "--cells", "9", "--json")
    assert code == 2 and json.loads(out) == told
    told["brute_facts_unequal"] = []
    assert bench(monkeypatch, capsys, tmp_path, "--cells", "9", "--json")[0] == 0
