"""One measured run of a few editors on a random model of a published shape, on an accelerator, as a page.

Knows runs by their facts; nothing of editors or models. Without an accelerator the page says that nothing was run.
"""

from __future__ import annotations

import datetime
import resource
import tempfile
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from statistics import median
from typing import Any

from lifelong.log import Edited, Gauged, RunLog, Timed
from lifelong.log.files import write_atomic
from lifelong.log.machine import hardware, versions
from lifelong.running.plan import in_bytes
from lifelong.running.run import run

PAGE = "gpu.md"
NOT_RUN = "not run yet"
_EDITORS: Mapping[str, Mapping[str, Any]] = {
    "none": {},
    "ft": {},
    "grace": {"editor.index": "flat:engine=torch:device={device}"},
    "liveedit": {
        "editor.generator": "paper", "editor.steps": 4, "editor.pool": 8, "editor.payloads": "{device}",
        "editor.index": "flat:engine=torch:device={device}",
    },
}  # fmt: skip
"""What is measured, banks and payloads on the device where an editor has any."""
_HEAD = """# On a GPU

`make gpu-check` runs the tests that need a GPU and, as a measurement, a few edits of a random LLaVA of a published
shape with all that grows on the GPU, and writes this page.
"""


@dataclass(frozen=True)
class MeasuredEditor:
    """One editor's run: seconds of an edit, of encoding, routing and answering one query alone, and bytes."""

    editor: str
    edits: int
    edit_wall_s: float
    encode_wall_s: float
    route_wall_s: float
    answer_wall_s: float
    bank_bytes: float
    peak_bytes: float
    whole_wall_s: float

    def row(self) -> str:
        """Return it as a row of the page's table."""
        times = (self.edit_wall_s, self.encode_wall_s, self.route_wall_s, self.answer_wall_s, self.whole_wall_s)
        cells = [self.editor, str(self.edits), *(f"{s:.3g}" for s in times)]
        return f"| {' | '.join([*cells, in_bytes(self.bank_bytes), in_bytes(self.peak_bytes)])} |"


def accelerator(device: str) -> str:
    """Return the name of an accelerator that can be computed with here, '' where there is none of this kind."""
    import torch

    place = torch.device(device)
    used = torch.accelerator.current_accelerator(check_available=True)
    if place.type == "cpu" or used is None or used.type != place.type:
        return ""
    properties = getattr(torch.get_device_module(place), "get_device_properties", None)
    return str(getattr(properties(place), "name", place.type)) if properties else place.type


def gpu_check(
    write: Path,
    *,
    device: str = "cuda",
    shape: str = "llava-7b",
    edits: int = 6,
    editors: Sequence[str] = tuple(_EDITORS),
    say: Callable[[str], None] = lambda _: None,
) -> Path | None:
    """Measure editors on a model of a shape on a device and write the page into a folder; returns where it lies.

    None where there is no such device: that is said, and a page that is there already stays as it is. `device=cpu`
    measures here, for tests of this code.
    """
    page, name = write / PAGE, hardware()["cpu"] if device == "cpu" else accelerator(device)
    if not name:
        say(f"no {device} device on this machine: {page} stays as it is, and says {NOT_RUN!r} until one was used")
        if not page.exists():
            write_page(page, f"{NOT_RUN}\n")
        return None
    rows = []
    with tempfile.TemporaryDirectory() as folder:
        for editor in editors:
            rows.append(measured(editor, device=device, shape=shape, edits=edits, out=Path(folder)))
            say(rows[-1].row())
    write_page(page, page_text(rows, f"{name}, {device}", shape))
    return page


def write_page(page: Path, text: str) -> None:
    """Write the page, its head first."""
    page.parent.mkdir(parents=True, exist_ok=True)
    write_atomic(page, lambda file: file.write(f"{_HEAD}\n{text}".encode()))


def page_text(rows: Sequence[MeasuredEditor], machine: str, shape: str) -> str:
    """Return what was measured as Markdown: when, on what, with what, and a row for each editor."""
    told = {n: v for n, v in versions().items() if n in ("python", "torch", "transformers", "lifelong-edit")}
    made = ", ".join(f"{name} {version}" for name, version in told.items())
    day = datetime.datetime.now(datetime.UTC).date().isoformat()
    lines = [
        f"{day}, {machine}; {made}; a random model of the shape {shape} in bfloat16, stream `toy`.",
        "",
        "| editor | edits | s an edit | s to encode | s to route | s to answer | s in all | bank | peak |",
        "|---|---|---|---|---|---|---|---|---|",
        *(row.row() for row in rows),
        "",
        "Seconds of an edit are the median without the first; encoding, routing and answering are of one query",
        "alone, nothing kept. The peak is the device's memory, weights among it (on a CPU the process's).",
    ]
    return "\n".join(lines) + "\n"


def measured(editor: str, *, device: str, shape: str, edits: int, out: Path) -> MeasuredEditor:
    """Run an editor on a model of a shape and return what its facts say of time and bytes."""
    own = _EDITORS[editor].items()
    words: dict[str, Any] = {key: v.format(device=device) if isinstance(v, str) else v for key, v in own}
    words |= {"editor": editor, "model": {"name": "shaped", "shape": shape}, "stream": "toy", "edits": edits}
    words |= {"panels": [edits], "dtype": "bfloat16", "device": device, "threads": 1, "out": str(out)}
    words |= {"panels.latency_routes": 4, "panels.latency_answers": 2, "panels.instant": False}
    peak_bytes(device, reset=True)
    folder = run(quiet=True, **words)
    peak = peak_bytes(device)
    log = RunLog.open(folder)
    taken: dict[str, list[float]] = {}
    for row in log.table(Timed).to_pylist():
        taken.setdefault(row["operation"], []).append(row["wall_s"])
    edit_wall_s = [row["edit_wall_s"] for row in log.table(Edited).to_pylist()]
    bank = [row["value"] for row in log.table(Gauged).to_pylist() if row["name"] == "bank_bytes"]
    alone = {name: median(wall_s) for name, wall_s in taken.items()}
    return MeasuredEditor(
        editor,
        edits,
        median(edit_wall_s[1:] or edit_wall_s),
        alone.get("encode", 0.0),
        alone.get("route", 0.0),
        alone.get("apply", 0.0) + alone.get("answer", 0.0),
        bank[-1] if bank else 0.0,
        peak,
        sum(map(float, log.notes["wall_s"].values())),
    )


def peak_bytes(device: str, *, reset: bool = False) -> float:
    """Return the most bytes that a device held since the last `reset`; of the CPU what this process ever held."""
    import torch

    if device == "cpu":
        return 1024.0 * resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    module = torch.get_device_module(torch.device(device))
    if reset and hasattr(module, "reset_peak_memory_stats"):
        module.reset_peak_memory_stats()
    return float(module.max_memory_allocated()) if hasattr(module, "max_memory_allocated") else 0.0
