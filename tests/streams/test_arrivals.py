"""Arrival processes: their rate, their spread, their seeds, and what they refuse."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest

from streams.times.arrivals import arrival_names, arrival_offsets, offsets_until, timetable, trace_origin
from streams.types import Edit, Query

DRAWN = [name for name in arrival_names() if name != "trace"]


@pytest.fixture
def options(tmp_path: Path) -> dict[str, dict[str, object]]:
    """What a process must be told, and phases so short that a test's average is the long-run one."""
    (tmp_path / "trace.txt").write_text("\n".join(str(100 + i) for i in range(20_000)))
    return {
        "trace": {"file": str(tmp_path / "trace.txt")},
        "on_off": {"on_s": 1.0, "off_s": 2.0},
        "daily": {"period_s": 500.0},
        "hawkes": {"memory_s": 0.5, "offspring": 0.4},
    }


def dispersion(offsets: np.ndarray, window_s: float) -> float:
    """The variance of counts in windows over their mean: 1 for Poisson."""
    counts = np.bincount((offsets / window_s).astype(int))[:-1]
    return float(counts.var() / counts.mean())


@pytest.mark.parametrize("name", arrival_names())
def test_offsets_ascend_at_the_asked_rate_and_follow_their_seed(name, options) -> None:
    offsets = arrival_offsets(name, 20_000, 4.0, seed=7, **options.get(name, {}))
    assert (np.diff(offsets) >= 0).all() and offsets[0] >= 0
    # the mean of 20,000 exponential gaps is within 4/sqrt(20000) = 2.8 % of 1/rate; bursts double what is to expect
    assert offsets[-1] == pytest.approx(20_000 / 4.0, rel=0.06)
    assert np.array_equal(offsets, arrival_offsets(name, 20_000, 4.0, seed=7, **options.get(name, {})))


@pytest.mark.parametrize("name", [name for name in DRAWN if name != "ramp"])
def test_a_longer_stream_begins_as_a_shorter_one(name, options) -> None:
    whole, part = (arrival_offsets(name, n, 4.0, seed=7, **options.get(name, {})) for n in (5000, 50))
    assert np.array_equal(whole[:50], part)


@pytest.mark.parametrize("name", [name for name in DRAWN if name != "constant"])
def test_another_seed_and_another_purpose_give_other_arrivals(name, options) -> None:
    one = arrival_offsets(name, 10, seed=1, **options.get(name, {}))
    assert (one != arrival_offsets(name, 10, seed=2, **options.get(name, {}))).all()
    assert (one != arrival_offsets(name, 10, seed=1, purpose="queries", **options.get(name, {}))).all()


def test_poisson_gaps_are_exponential() -> None:
    gaps = np.diff(arrival_offsets("poisson", 20_000, 2.0, seed=1))
    assert gaps.std() / gaps.mean() == pytest.approx(1, abs=0.05)
    assert (gaps > 1).mean() == pytest.approx(np.exp(-2), abs=0.01)


@pytest.mark.parametrize("burstiness", [0.25, 1.0, 16.0])
def test_burstiness_is_the_shape_of_the_gaps(burstiness: float) -> None:
    gaps = np.diff(arrival_offsets("gamma", 50_000, 3.0, seed=1, burstiness=burstiness))
    assert (gaps.std() / gaps.mean()) ** 2 == pytest.approx(1 / burstiness, rel=0.08)


def test_on_and_off_phases_are_as_busy_and_as_long_as_asked() -> None:
    """Gaps are those of the busy rate, but for one in (busy rate * on_s), which spans a silent phase."""
    offsets = arrival_offsets("on_off", 50_000, 1.0, seed=3, on_s=20.0, off_s=60.0)
    gaps = np.diff(offsets)
    assert np.median(gaps) == pytest.approx(np.log(2) / 4, rel=0.05)  # a busy rate of 4
    assert (gaps > 5).mean() == pytest.approx(np.exp(-5 / 60) / 80, rel=0.15)


def test_a_daily_cycle_is_a_sine() -> None:
    offsets = arrival_offsets("daily", 40_000, 2.0, seed=2, period_s=100.0, depth=0.5)
    angle = 2 * np.pi * offsets / 100.0
    assert 2 * np.sin(angle).mean() == pytest.approx(0.5, abs=0.03)
    assert 2 * np.cos(angle).mean() == pytest.approx(0.0, abs=0.03)


@pytest.mark.parametrize("offspring", [0.0, 0.5, 0.8])
def test_self_excited_arrivals_clump_as_their_law_says(offspring: float) -> None:
    """Counts in long windows vary 1 / (1 - offspring)^2 times as much as a Poisson process's (Hawkes 1971)."""
    offsets = arrival_offsets("hawkes", 200_000, 2.0, seed=5, offspring=offspring, memory_s=0.5)
    assert dispersion(offsets, 100.0) == pytest.approx((1 - offspring) ** -2, rel=0.15)


@pytest.mark.parametrize("shape", ["linear", "exponential"])
@pytest.mark.parametrize("growth", [0.25, 1.0, 4.0])
def test_a_ramp_grows_as_asked(shape: str, growth: float) -> None:
    offsets = arrival_offsets("ramp", 100_000, 5.0, seed=1, growth=growth, shape=shape)
    counts, _ = np.histogram(offsets, bins=50, range=(0, 20_000))
    share = (np.arange(50) + 0.5) / 50
    rates = 1 + (growth - 1) * share if shape == "linear" else growth**share
    assert counts == pytest.approx(100_000 * rates / rates.sum(), rel=0.12)


def test_a_trace_is_replayed_as_recorded_or_at_a_rate(tmp_path: Path) -> None:
    path = tmp_path / "trace.txt"
    path.write_text("# seconds\n10\n11.5 # two\n\n15\n99\n")
    assert arrival_offsets("trace", 3, file=str(path)).tolist() == [0.0, 1.5, 5.0]
    assert arrival_offsets("trace", 3, 0.3, file=str(path)).tolist() == pytest.approx([0.0, 3.0, 10.0])


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("1\nx\n", "line 2: 'x' is no number"),
        ("2\n1\n", "line 2: '1' is before the line above"),
        ("1\n", "1 moments for 2"),
        ("nan\n1", "line 1"),
        ("1\r\n\r\n1e999\r\n", "line 3: '1e999' is not from 0 to"),
        ("-1\n2\n", "line 1: '-1' is not from 0"),
        ("1\n1700000000000\n", "line 2.*not milliseconds"),
        ("1_0\n2\n", "line 1: '1_0' is no number"),
        ("1\u20282\n3\n", r"line 1: '1\\u20282' is no number"),
    ],
)
def test_a_wrong_trace_is_named_by_line(tmp_path: Path, text: str, said: str) -> None:
    path = tmp_path / "trace.txt"
    path.write_bytes(text.encode())
    with pytest.raises(ValueError, match=said):
        arrival_offsets("trace", 2, file=str(path))


def test_a_trace_may_have_a_byte_order_mark_and_windows_line_ends(tmp_path: Path) -> None:
    path = tmp_path / "trace.txt"
    path.write_bytes(b"\xef\xbb\xbf10\r\n12.5\r\n")
    assert arrival_offsets("trace", 2, file=str(path)).tolist() == [0.0, 2.5]
    path.write_bytes(b"1\n\xff\n")
    with pytest.raises(ValueError, match=r"arrivals\.file=.*line 2: byte 0xff is no UTF-8"):
        arrival_offsets("trace", 2, file=str(path))
    with pytest.raises(ValueError, match="it is a folder"):
        arrival_offsets("trace", 2, file=str(tmp_path))


def test_traces_of_one_run_keep_their_distance(tmp_path: Path) -> None:
    for name, text in (("edits", "100\n110\n"), ("asked", "90\n105\n500\n")):
        (tmp_path / name).write_text(text)
    files = {name: str(tmp_path / name) for name in ("edits", "asked")}
    origin = trace_origin({"arrivals": files["edits"], "queries": files["asked"]})
    assert arrival_offsets("trace", 2, file=files["edits"], origin_s=origin).tolist() == [10, 20]
    asked = offsets_until("trace", 20.0, file=files["asked"], origin_s=origin, purpose="queries")
    assert asked.tolist() == [0, 15, 410]  # also what comes after the last edit
    with pytest.raises(ValueError, match=r"queries\.origin_s=95"):
        arrival_offsets("trace", 1, file=files["asked"], origin_s=95.0, purpose="queries")
    with pytest.raises(ValueError, match=r"queries\.file=nowhere"):
        trace_origin({"arrivals": files["edits"], "queries": "nowhere"})


def test_a_rate_stretches_the_whole_of_a_trace_that_comes_whole(tmp_path: Path) -> None:
    (tmp_path / "trace.txt").write_text("0\n1\n5\n")
    assert offsets_until("trace", 1.0, 0.3, file=str(tmp_path / "trace.txt")).tolist() == pytest.approx([0, 2, 10])
    with pytest.raises(ValueError, match="rate=1e-20: expected a number from 1e-9"):
        offsets_until("trace", 1.0, 1e-20, file=str(tmp_path / "trace.txt"))


def test_a_wrong_name_option_or_rate_is_an_error_that_helps() -> None:
    with pytest.raises(ValueError, match="Did you mean 'poisson'"):
        arrival_offsets("poison", 1)
    with pytest.raises(ValueError, match=r"arrivals\.burst: there is no such key"):
        arrival_offsets("constant", 1, burst=2)
    with pytest.raises(ValueError, match="rate=0"):
        arrival_offsets("constant", 1, rate=0)
    with pytest.raises(ValueError, match=r"arrivals\.file: it must be given"):
        arrival_offsets("trace", 1)


@pytest.mark.parametrize(
    ("name", "wrong"),
    [("gamma", {"burstiness": 0}), ("on_off", {"quiet": 2}), ("daily", {"depth": -1}), ("hawkes", {"offspring": 1}),
     ("ramp", {"growth": 0}), ("ramp", {"shape": "cubic"})],
)  # fmt: skip
def test_an_option_out_of_range_is_named(name: str, wrong: dict[str, Any]) -> None:
    with pytest.raises(ValueError, match=rf"arrivals\.{next(iter(wrong))}="):
        arrival_offsets(name, 10, **wrong)


def test_a_timetable_refuses_what_does_not_fit() -> None:
    edits = [Edit(str(i), Query("?"), "a", "s") for i in range(2)]
    assert [a.at_s for a in timetable(edits, [0.5, 0.5])] == [0.5, 0.5]
    for moments in ([0.0], [2.0, 1.0], [-1.0, 1.0], [0.0, float("nan")]):
        with pytest.raises(ValueError):
            timetable(edits, moments)


@pytest.mark.parametrize("name", DRAWN)
def test_arrivals_until_a_moment_are_all_that_come_before_it(name, options) -> None:
    offsets = offsets_until(name, 1000.0, 4.0, seed=3, **options.get(name, {}))
    assert offsets[-1] < 1000 and len(offsets) == pytest.approx(4000, rel=0.15)
    if name != "ramp":  # a ramp is as long as its stream
        longer = arrival_offsets(name, len(offsets) + 1, 4.0, seed=3, **options.get(name, {}))
        assert np.array_equal(longer[:-1], offsets) and longer[-1] >= 1000


def test_a_wrong_option_is_named_after_what_arrives() -> None:
    with pytest.raises(ValueError, match=r"queries\.depth=2"):
        arrival_offsets("daily", 5, purpose="queries", depth=2)
