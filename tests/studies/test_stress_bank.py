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
from reports.numbers.bank_law import law, size_at


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
    assert found.law.per_entry_s == pytest.approx(2e-8) and found.law.fixed_s == pytest.approx(1e-5)
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
    assert found.law == again


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
