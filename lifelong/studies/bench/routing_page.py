"""The whole of `bench routing`: which sizes are measured, where the numbers are kept, and the page that says them.

Knows the rows of `bench_routing`; measures nothing itself. Rows are written as they come, so that what was measured
before a run was stopped is there, and a part that is measured again replaces its earlier rows.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Any

from lifelong.bank.search.engine_faiss import search_settings
from lifelong.bank.search.spec import IndexSpec
from lifelong.log.machine import load_average, processor, versions
from lifelong.studies.bench.keys import TOKENS, KeySource, atlas_states, key_source
from lifelong.studies.bench.routing import MeasuredRow, change_rows, flat_rows, frontier_rows
from reports.written import json_bytes, write_whole

SIZES = (1, 10**3, 10**4, 10**5, 10**6)
MOST_NUMBERS = 10**9  # keys x width on the CPU
PROBES = {"probes": (1, 2, 4, 8, 16, 32, 64)}
EFFORT = {"effort": (8, 16, 32, 64, 128, 256)}
FAMILY_SETTINGS: dict[str, dict[str, tuple[int, ...]]] = {"flat": {}, "flat16": {}, "ivf": PROBES, "hnsw": EFFORT}
ROUTING_PARTS = ("flat", "change", "frontier")
FILLS = 3  # of a bank whose additions are measured one by one, where nothing is made beside them
SAME = ("what", "index", "by", "n", "width", "batch", "setting")
US = 1e6


def routing_rows(
    folder: Path,
    *,
    parts: Sequence[str] = ROUTING_PARTS,
    most: int = 10**6,
    edits: int = 3000,
    crops: int = 100_000,
    cache: Path | None = None,
    device: str = "",
    families: Sequence[str] = tuple(FAMILY_SETTINGS),
    say: Callable[[str], None] = print,
) -> dict[str, Any]:
    """Measure some parts up to `most` keys, add the rows to `routing.json` in a folder, and return all of it."""
    states = atlas_states(edits, crops, cache or folder, on_progress=lambda done, of: say(f"states {done}/{of}"))
    sources = {width: key_source(states, width) for width in TOKENS}
    for row in _rows(sources, parts, most, device, families):
        found = keep_row(folder / "routing.json", row)
        say(f"{row['what']} {row.get('index', '')} {row.get('by', '')} n={row['n']} d={row['width']} "
            f"b={row.get('batch', '')} {row.get('setting', '')} cpu {_time(row['cpu_p50_s'])}")  # fmt: skip
    found = keep_row(folder / "routing.json", None)
    write_whole(folder / "routing.md", routing_document(found).encode())
    return found


def _rows(
    sources: dict[int, KeySource], parts: Sequence[str], most: int, device: str, families: Sequence[str]
) -> Iterator[MeasuredRow]:
    fitting = [(n, width) for width in sources for n in SIZES if n <= most and n * width <= MOST_NUMBERS]
    for n, width in fitting if "flat" in parts else ():
        yield from flat_rows(sources[width], n, device)
    for width in sources if "change" in parts else ():
        yield from change_rows(sources[width], max(n for n, w in fitting if w == width), fills=FILLS)
    narrow = sources[min(sources)]
    for family in families if "change" in parts else ():
        if family != "flat":
            yield from change_rows(narrow, most, family, fills=FILLS if family == "flat16" else 1)
    for n in (
        (narrow.real + narrow.rendered, *(s for s in SIZES if 10**5 <= s <= most)) if "frontier" in parts else ()
    ):
        for family in families:
            yield from frontier_rows(narrow, n, family, FAMILY_SETTINGS[family])


def keep_row(file: Path, row: MeasuredRow | None) -> dict[str, Any]:
    """Add a row to a file of rows, in the place of one about the same, and return all that the file holds."""
    found = json.loads(file.read_text()) if file.is_file() else {"rows": []}
    if row is not None:
        row = row | {"load_average": load_average()[:1]}
        about = [row.get(name) for name in SAME]
        found["rows"] = [r for r in found["rows"] if [r.get(name) for name in SAME] != about] + [row]
    found |= {"machine": processor(), "versions": versions(), "search": search_settings(IndexSpec())}
    write_whole(file, json_bytes(found))
    return found


def rows_about(rows: Sequence[MeasuredRow], **about: Any) -> list[MeasuredRow]:
    """Return the rows that say so, by size."""
    chosen = [r for r in rows if all(r.get(k) == v for k, v in about.items())]
    return sorted(chosen, key=lambda r: (r["width"], r["n"], r.get("batch", 0)))


def routing_document(found: dict[str, Any]) -> str:
    """Return the page of what was measured, with the targets it is held against."""
    rows, machine = found["rows"], found["machine"]
    lines = [
        "# How fast a bank routes",
        "",
        f"`lifelong bench routing` on {machine['cpu']}, {machine['cores']} cores; FAISS {found['search']['faiss']}, "
        f"torch {found['versions']['torch']}; one thread everywhere, a matrix product from "
        f"{found['search']['blas_from_queries']} queries on. Raw numbers, with the load of the machine at every row: "
        "`routing.json`. "
        "Times are the thread's CPU time, medians, so that other processes count as little as can be; "
        "wall medians stand beside them. Calls that are compared take turns on the same memory, as long as the bank "
        "keeps its keys in one array (64 MiB), and on equal keys in memory of their own beyond.",
        "",
        "Keys: unit vectors of hidden states of the atlas model (the states of the last 1, 4 or 16 tokens in the "
        "middle of the decoder, joined). Up to the number in `real` they are those of edits' own questions, then of "
        "the same things in other words and other pictures (`rendered`) and of all these with random crops of their "
        "pictures (`cropped`); beyond them they are mixtures of two states with noise (`mixed`), which no question "
        "has. Queries are states of further rephrased and re-rendered questions.",
        "",
        "## Beside raw FAISS and torch",
        "",
        "Target: at most 20 % over raw FAISS from 10,000 keys on, at most 30 microseconds a query below.",
        "",
        "| keys | width | batch | real / rendered / cropped / mixed | bank | raw FAISS | torch | wall: bank / FAISS "
        "| over FAISS | a query | target |",
        "|---|---|---|---|---|---|---|---|---|---|---|",
        *_flat_lines(rows),
        "",
        "## Adding and removing one entry",
        "",
        "Targets: adding at most 50 microseconds (median) and never above 50 ms; removing at most 50 microseconds. "
        "Garbage collections leave out what the process held before, such as the model. Parts of indexes that are "
        "not flat are made on a thread beside the additions; `all in` is the time of all additions and of waiting "
        "for it, as one after another without a pause they have to. A virtual machine that has to fetch memory from "
        "its host takes milliseconds of one addition or another; what the bank itself does in an addition it does at "
        "the same one of every fill. `most` is the longest of the first fill, `every fill` the longest when each "
        "addition is given the least of its fills.",
        "",
        "| keys | width | index | what | median | 99.9 % | most | every fill | n | all in (wall) |",
        "|---|---|---|---|---|---|---|---|---|---|",
        *(_change_line(r) for what in ("add one", "remove one") for r in rows_about(rows, what=what)),
        "",
        "## Recall against latency",
        "",
        "One query at a time through the bank, exact scores included, width 256. Target: recall@1 of at least 0.99 "
        "within 1 ms (median) for all real and rendered states.",
        "",
        "![recall against latency](routing.png)",
        "",
        "| keys | real / rendered / cropped / mixed | index | setting | recall@1 | CPU p50 | wall p50 "
        "| built in (wall) |",
        "|---|---|---|---|---|---|---|---|",
        *(
            f"| {r['n']:,} | {_kinds(r)} | {r['index']} | {r['setting']} | {r['recall_at_1']:.3f} "
            f"| {r['cpu_p50_s'] * 1e3:.3f} ms | {r['wall_p50_s'] * 1e3:.3f} ms | {r['build_wall_s']:.1f} s |"
            for r in rows_about(rows, what="frontier")
        ),
        "",
    ]
    return "\n".join(lines)


def _kinds(row: MeasuredRow) -> str:
    return f"{row['real']:,} / {row['rendered']:,} / {row.get('cropped', 0):,} / {row['mixed']:,}"


def _flat_lines(rows: Sequence[MeasuredRow]) -> list[str]:
    lines = []
    for bank in rows_about(rows, what="search", by="bank"):
        place = {k: bank[k] for k in ("what", "n", "width", "batch")}
        raw, torch = (rows_about(rows, **place, by=by)[0] for by in ("faiss", "torch"))
        over = bank["cpu_p50_s"] / raw["cpu_p50_s"] - 1
        each = (bank["cpu_p50_s"] - raw["cpu_p50_s"]) / bank["batch"]
        met = over <= 0.2 if bank["n"] >= 10**4 else each * US <= 30
        lines.append(
            f"| {bank['n']:,} | {bank['width']} | {bank['batch']} | {_kinds(bank)} | {_time(bank['cpu_p50_s'])} "
            f"| {_time(raw['cpu_p50_s'])} | {_time(torch['cpu_p50_s'])} | {_time(bank['wall_p50_s'])} / "
            f"{_time(raw['wall_p50_s'])} | {over:+.0%} | {each * US:+.1f} us | {'met' if met else '**missed**'} |"
        )
    return lines


def _time(seconds: float | None) -> str:
    if seconds is None:
        return "too few"
    return f"{seconds * US:.1f} us" if seconds < 1e-3 else f"{seconds * 1e3:.2f} ms"


def _change_line(r: MeasuredRow) -> str:
    whole = f"{r['all_wall_s']:.0f} s" if "all_wall_s" in r else ""
    fills = r.get("fills", 1)
    again = f"{r['cpu_again_max_s'] * 1e3:.2f} ms ({fills})" if fills > 1 else ""
    return (
        f"| {r['n']:,} | {r['width']} | {r['index']} | {r['what']} | {_time(r['cpu_p50_s'])} | "
        f"{_time(r['cpu_p999_s'])} | {r['cpu_max_s'] * 1e3:.2f} ms | {again} | {r['samples']:,} | {whole} |"
    )
