"""A bank under stress: it is doubled until a budget breaks, which one is said, and a flat bank keeps its law."""

from __future__ import annotations

import json
import math
from pathlib import Path

import numpy as np
import pytest
from typer.testing import CliRunner

from lifelong.cli.main import app
from lifelong.running.words import ConfigError
from lifelong.studies.stress.bank import searched, stress_bank, width_of
from reports.figures.bank import bank_lines
from reports.statistics.bank_law import law, size_at
from reports.stress_page import plain_data, write_bank


def linear(bank, queries, k) -> np.ndarray:
    """Searches of 10 microseconds and 20 nanoseconds an entry, the slowest hundredth twice as long."""
    taken = np.full(1000, 1e-5 + 2e-8 * len(bank))
    taken[::50] *= 2
    return taken


@pytest.mark.parametrize(("p99_s", "most_bytes", "broke"), [(1e-3, 2**30, "search p99"), (1.0, 2**19, "bytes")])
def test_a_bank_is_doubled_until_a_budget_breaks_and_it_says_which(p99_s, most_bytes, broke) -> None:
    found = stress_bank(8, p99_s=p99_s, most_bytes=most_bytes, first=1024, most=2**17, measure=linear)
    sizes = [s.entries for s in found.sizes]
    assert found.broke == (broke,) and sizes == [1024 * 2**i for i in range(len(sizes))]
    assert found.entries == sizes[-2] <= found.expected[broke] < sizes[-1]
    assert (
        found.law is not None
        and found.law.per_entry_s == pytest.approx(2e-8)
        and found.law.fixed_s == pytest.approx(1e-5)
    )
    assert found.sizes[-1].bytes == found.sizes[0].bytes * 2 ** (len(sizes) - 1)


def test_a_bank_that_breaks_nothing_ends_at_the_last_size() -> None:
    found = stress_bank(8, p99_s=10, first=1000, most=3000, measure=linear)
    assert found.broke == () and [s.entries for s in found.sizes] == [1000, 2000, 3000] and found.entries == 3000


def test_a_real_bank_is_measured_at_every_size_and_its_law_is_read_from_what_was_measured() -> None:
    """How long a search takes is for `lifelong stress bank` to say: a test on a busy machine cannot claim it."""
    found = stress_bank(16, p99_s=10, first=1024, most=4096, searches=600, clock="cpu")
    assert [s.entries for s in found.sizes] == [1024, 2048, 4096] and {s.n for s in found.sizes} == {600}
    assert all(0 < s.p50_s <= s.p99_s and s.p99_low_s <= s.p99_s <= s.p99_high_s for s in found.sizes)
    again = law([s.entries for s in found.sizes], [s.p50_s for s in found.sizes])
    assert found.law == again and set(found.expected) == {"search p99", "bytes"}


def test_the_linear_law_is_found_and_read_backwards() -> None:
    """From seconds that keep it, exactly: what a key costs, and how many keys fit in a budget."""
    entries = [2**k for k in range(14, 18)]
    found = law(entries, [5e-5 + 2e-8 * n for n in entries])
    assert found.per_entry_s == pytest.approx(2e-8, rel=1e-3) and found.off < 1e-3
    assert size_at(found, 5e-5 + 2e-8 * 50_000) == pytest.approx(50_000, rel=1e-2)


def test_what_is_no_line_is_said_to_be_off() -> None:
    entries = [1000, 2000, 4000, 8000]
    assert law(entries, [n * n * 1e-9 for n in entries]).off > 0.3
    assert law(entries, [1e-3] * 4).per_entry_s == pytest.approx(0, abs=1e-12)
    assert size_at(law(entries, [1e-3] * 4), 2e-3) > 1e9 or math.isinf(size_at(law(entries, [1e-3] * 4), 2e-3))
    assert size_at(law(entries, [1e-3 + n * 1e-6 for n in entries]), 5e-4) == 0


def wavering(bank, queries, k) -> np.ndarray:
    """Searches of which every hundredth or so takes 4 ms, else 1 ms: the p99 may be either."""
    taken = np.full(1000, 1e-3)
    taken[::100] = 4e-3
    return taken


def test_where_the_interval_of_the_p99_includes_the_budget_nobody_can_tell() -> None:
    found = stress_bank(8, p99_s=2e-3, first=1024, most=2048, measure=wavering)
    assert found.unsure == (1024, 2048) and found.broke == () and found.entries == 0
    said = "\n".join(bank_lines(plain_data(found.plain())))
    assert "cannot tell of 1,024, 2,048 entries" in said and "try --cpu" in said
    assert stress_bank(8, p99_s=5e-3, first=1024, most=2048, measure=wavering).entries == 2048


def test_two_sizes_give_no_law_and_nothing_is_extrapolated(tmp_path: Path) -> None:
    found = stress_bank(8, p99_s=10, first=1024, most=2048, measure=linear)
    assert found.law is None and found.expected == {}
    plain = plain_data(found.plain())
    assert "too few sizes for a line (2 of 3)" in bank_lines(plain)[-1]
    assert "too few sizes" in write_bank(plain, tmp_path / "out").read_text()


@pytest.mark.parametrize("words", [["--searches", "200"], ["--first", "9", "--most", "3"], ["--p99", "nan"],
                                   ["--index", "flatt"], ["--bytes", "0"]])  # fmt: skip
def test_what_makes_no_sense_is_refused_before_anything_is_loaded(words, monkeypatch) -> None:
    monkeypatch.setattr("lifelong.studies.stress.bank.prepare", lambda _: pytest.fail("the model was loaded"))
    said = CliRunner().invoke(app, ["stress", "bank", "model=tiny", "stream=toy", "editor=grace", *words])
    assert isinstance(said.exception, ValueError) and words[0].strip("-") in str(said.exception)


def test_searches_are_timed_one_by_one_without_a_memo() -> None:
    calls = []

    class Counting:
        def search(self, keys, k, memo=None) -> None:
            calls.append((len(keys), k, memo))

    assert len(searched(Counting(), np.zeros((25, 4)), 3)) == 20
    assert len(searched(Counting(), np.zeros((25, 4)), 3, clock="cpu")) == 20
    assert calls == [(1, 3, None)] * 50


def test_an_approximate_index_says_what_it_does_not_find() -> None:
    found = stress_bank(16, p99_s=10, index="ivf:probes=1", first=4096, most=4096, searches=600)
    flat = stress_bank(16, p99_s=10, first=4096, most=4096, searches=600)
    assert flat.sizes[0].recall == 1 and 0.1 < found.sizes[0].recall < 0.99


def test_the_command_takes_the_editors_width_and_writes(tmp_path: Path) -> None:
    words = ["model=tiny", "stream=toy", "edits=2"]
    width = width_of(None, {"model": "tiny", "stream": "toy", "edits": 2, "editor": "grace"})
    options = ["--first", "512", "--most", "1024", "--searches", "600", "--p99", "9", "--json", "-o", str(tmp_path)]
    said = CliRunner().invoke(app, ["stress", "bank", *words, "editor=grace", *options])
    assert said.exit_code == 0, said.output
    found = json.loads(said.stdout)
    assert found["width"] == width and [s["n"] for s in found["sizes"]] == [600, 600]
    assert found["sizes"][0]["bytes"] >= 512 * 4 * width
    assert "entries of width" in (tmp_path / "index.html").read_text()
    assert (tmp_path / "figures" / "bank.png").stat().st_size > 5000 and (tmp_path / "tables" / "bank.csv").is_file()
    with pytest.raises(ConfigError, match="editor=ft routes by no keys"):
        width_of(None, {"model": "tiny", "stream": "toy", "edits": 2, "editor": "ft"})
    with pytest.raises(ConfigError, match="searches=10"):
        stress_bank(4, searches=10)
