"""How many experts one machine holds: generated ones of a given size are added and read back, their bytes counted.

Knows banks; no editor and no model. Every expert that is read is compared with what it was made as.
"""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor

from lifelong.bank import Bank
from lifelong.bank.storage.payloads import RESIDENT_BYTES, PayloadTables
from lifelong.log.machine import load_average, processor, rss_bytes, versions
from reports.statistics.percentiles import percentiles
from reports.written import json_bytes, write_whole

_BATCH = 16  # experts generated at a time


@dataclass(frozen=True)
class ExpertSize:
    """Experts as LiveEdit's of a decoder: U and V, (rank, width) float32 each, and a key (key_width,)."""

    rank: int = 5
    width: int = 4096
    key_width: int = 4096

    @property
    def nbytes(self) -> int:
        """Bytes of U and V."""
        return 2 * 4 * self.rank * self.width


def experts(first: int, n: int, size: ExpertSize, noise: Tensor) -> dict[str, Tensor]:
    """Return U and V of experts `first` to `first + n`, each unlike any other and known from its number alone."""
    numbers = torch.arange(first, first + n, dtype=torch.float32)[:, None, None]
    return {"u": noise + numbers, "v": noise - numbers}


def fill_and_read(
    n: int = 100_000,
    size: ExpertSize | None = None,
    *,
    place: str = "disk",
    resident_bytes: int = RESIDENT_BYTES,
    routed: int = 8,
    reads: int = 600,
    seed: int = 0,
    on_progress: Callable[[int, int], None] | None = None,
) -> dict[str, Any]:
    """Add n generated experts to a bank with payloads at `place`, read `reads` routes of `routed` each, and report.

    Seconds are wall seconds of single calls: adding `_BATCH` experts, reading one route at random. Raises
    `RuntimeError` when an expert comes back changed.
    """
    size = size or ExpertSize()
    rng, torch_rng = np.random.default_rng(seed), torch.Generator().manual_seed(seed)
    noise = torch.rand(size.rank, size.width, generator=torch_rng)
    start_bytes = peak_bytes = rss_bytes()
    bank = Bank(size.key_width, payloads=PayloadTables(place, resident_bytes=resident_bytes))
    adds = []
    begun = time.perf_counter()
    for first in range(0, n, _BATCH):
        count = min(_BATCH, n - first)
        keys, values = rng.standard_normal((count, size.key_width), np.float32), experts(first, count, size, noise)
        names = [f"e{i}" for i in range(first, first + count)]
        start = time.perf_counter()
        bank.add(names, keys, values)
        adds.append((time.perf_counter() - start) / count)
        peak_bytes = max(peak_bytes, rss_bytes())
        if on_progress is not None:
            on_progress(first + count, n)
    filled_s = time.perf_counter() - begun
    took = []
    for _ in range(reads):
        numbers = rng.choice(n, min(routed, n), replace=False)
        start = time.perf_counter()
        rows = bank.rows_of([f"e{i}" for i in numbers])
        found = {name: bank.payload(name, rows) for name in ("u", "v")}
        took.append(time.perf_counter() - start)
        peak_bytes = max(peak_bytes, rss_bytes())
        for place_in, number in enumerate(numbers.tolist()):
            made = experts(number, 1, size, noise)
            if not all(torch.equal(found[name][place_in], made[name][0]) for name in made):
                raise RuntimeError(f"expert {number} of {n} was read back changed from payloads={place!r}.")
    return {
        "experts": n,
        "place": place.partition(":")[0],
        "resident_bytes": resident_bytes,
        "size": asdict(size) | {"bytes": size.nbytes},
        "payload_bytes": n * size.nbytes,
        "key_bytes": n * 4 * size.key_width,
        "rss_before_bytes": start_bytes,
        "rss_peak_bytes": peak_bytes,
        "rss_end_bytes": rss_bytes(),
        "fill_wall_s": filled_s,
        "add_one": _spread(adds),
        "routed": routed,
        "read_route": _spread(took),
        "verified": reads * min(routed, n),
        "machine": processor(),
        "versions": versions(),
        "load_average": load_average(),
    }


def _spread(samples: list[float]) -> dict[str, float | None]:
    p50, p99 = percentiles(samples, (0.5, 0.99))
    return {
        "n": p50.n,
        "p50_s": p50.value if p50.known else None,
        "p99_s": p99.value if p99.known else None,
        "max_s": max(samples),
    }


def payloads_document(found: dict[str, Any]) -> str:
    """Return what was found as a page of Markdown."""
    gib, machine, place = 2**30, found["machine"], " on disk" if found["place"] == "disk" else ""
    rows = [
        ("experts", f"{found['experts']:,}"),
        ("bytes of one expert", f"{found['size']['bytes'] / 1024:.0f} KiB"),
        (f"all experts{place}", f"{found['payload_bytes'] / gib:.2f} GiB"),
        ("all keys, in RAM", f"{found['key_bytes'] / gib:.2f} GiB"),
        ("resident memory before", f"{found['rss_before_bytes'] / gib:.2f} GiB"),
        ("**resident memory at its peak**", f"**{found['rss_peak_bytes'] / gib:.2f} GiB**"),
        ("time to fill", f"{found['fill_wall_s']:.0f} s"),
        (f"adding one expert (mean of {_BATCH}), p50 / p99", _ms(found["add_one"])),
        (f"reading a route of {found['routed']} experts, p50 / p99", _ms(found["read_route"])),
        ("experts read back and compared", f"{found['verified']:,}"),
    ]
    table = "\n".join(f"| {name} | {value} |" for name, value in rows)
    return f"""# Experts on disk with bounded memory

`lifelong bench payloads --experts {found["experts"]} --write FOLDER` on {machine["cpu"]}, {machine["cores"]} cores;
load average {", ".join(map(str, found["load_average"]))}; torch {found["versions"].get("torch")}.
Experts are generated, of the size that LiveEdit's have for a decoder {found["size"]["width"]} wide. Their files are
mapped; pages are given back to the system when more than a budget of them is held
({found["resident_bytes"] / 2**20:.0f} MiB). Keys stay in RAM.

| what | seen |
|---|---|
{table}
"""


def _ms(spread: dict[str, float | None]) -> str:
    p50, p99 = ("too few" if x is None else f"{x * 1e3:.3g} ms" for x in (spread["p50_s"], spread["p99_s"]))
    return f"{p50} / {p99} (n={spread['n']})"


def write_payloads(found: dict[str, Any], folder: Path) -> list[Path]:
    """Write `payloads.md` and `payloads.json` into a folder and return their paths."""
    page = write_whole(folder / "payloads.md", payloads_document(found).encode())
    return [page, write_whole(folder / "payloads.json", json_bytes(found))]
