"""How long an edit and a probe take on a model of half a billion random weights, editor by editor.

Measures what a researcher waits for on a real model, where nearly all time is that of products: a picture has 576
tokens. Knows editors and a model by their contracts; what they answer is noise, and nobody looks at it.
"""

from __future__ import annotations

import json
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from lifelong.editing.contract import Editor
from lifelong.editing.find import editor_class
from lifelong.log.machine import load_average, processor
from reports.written import json_bytes, write_whole
from streams.types import Edit, Query

if TYPE_CHECKING:
    from lifelong.models.vlm import VLM

LARGE_OPTIONS: dict[str, dict[str, Any]] = {
    "none": {},
    "ft": {"steps": 5},
    "grace": {"steps": 5, "stop_loss": 0.0},
    "liveedit": {"generator": "paper", "rank": 4},
}
"""Options of the editors that are measured: few steps, and no way to stop before them. LiveEdit is not fitted."""
_QUESTION = "Where is the thing of the second picture?"  # an edit's own picture, other words


_HEAD = """# Seconds an edit and a probe on half a billion weights

A LLaVA with random weights: CLIP ViT-L/14 at 336 pixels, 576 tokens a picture, a decoder of 12 layers of width 1,024,
a vocabulary of 32,064; float32 on the CPU. Made by `lifelong bench large`. An edit finds nothing read: it takes the
picture through the tower. A probe finds the picture seen; asked again it goes on from what is kept. An answer is
another question about the picture, decoded to 16 tokens at most.

| when | editor | steps | an edit | a probe | the same again | an answer |
|---|---|---|---|---|---|---|"""


@dataclass(frozen=True)
class Seconds:
    """Seconds on the clock, and of processors in all: a busy machine changes the first and hardly the second."""

    wall_s: float
    cpu_s: float


@dataclass(frozen=True)
class LargeRow:
    """What one editor took for an edit, for a probe that is asked first and asked again, and for 16 tokens.

    An edit finds nothing read; a probe finds its picture seen. `steps` are those of a descent, 0 without one.
    """

    editor: str
    steps: int
    edit: Seconds
    first_probe: Seconds
    next_probe: Seconds
    answer: Seconds


def large_rows(
    shape: str = "llava-0.5b",
    editors: Sequence[str] = tuple(LARGE_OPTIONS),
    *,
    edits: int = 1,
    say: Callable[[str], object],
) -> list[LargeRow]:
    """Return one row for each editor, each after `edits` edits of its own; the model is made once."""
    from lifelong.models.shaped import shaped_vlm
    from streams.stream import load_stream

    say("making the model")
    vlm = shaped_vlm(shape)
    told = load_stream("toy", edits=edits + 1, seed=0).edits
    told = [e for e in told if e.query.image is not None][:edits]
    rows = []
    for name in editors:
        kind = editor_class(name)
        editor = kind(vlm, kind.Options(**LARGE_OPTIONS.get(name, {})), seed=0)
        rows.append(_row(vlm, name, editor, told))
        say(f"{name}: {rows[-1].edit.wall_s:.1f} s an edit, {rows[-1].first_probe.wall_s:.1f} s a probe")
    return rows


def _row(vlm: VLM, name: str, editor: Editor, edits: Sequence[Edit]) -> LargeRow:
    """Edit, then ask: the edit's own question twice, and in other words, decoded."""

    def tell() -> None:
        with vlm.serving_with(timed=True):  # nothing is at hand that was read before
            for edit in edits:
                vlm.cache.clear()
                editor.edit([edit])

    told = _spent(tell)
    vlm.cache.clear()
    vlm.prompt_ids([edits[-1].query])  # the picture is seen; its question has not been asked
    first = _spent(lambda: _asked(vlm, editor, edits[-1].query, edits[-1].target))
    again = _spent(lambda: _asked(vlm, editor, edits[-1].query, edits[-1].target))
    other = Query(_QUESTION, edits[-1].query.image)
    answer = _spent(lambda: _answered(vlm, editor, other))
    editor.close()
    steps = int(LARGE_OPTIONS.get(name, {}).get("steps", 0))
    each = Seconds(told.wall_s / len(edits), told.cpu_s / len(edits))
    return LargeRow(name, steps, each, first, again, answer)


def _asked(vlm: VLM, editor: Editor, query: Query, target: str) -> None:
    with editor.applied([query], editor.route(editor.encode([query]))) as answerer:
        answerer.score([target])


def _answered(vlm: VLM, editor: Editor, query: Query) -> None:
    with editor.applied([query], editor.route(editor.encode([query]))) as answerer:
        answerer.generate(max_tokens=16)


def _spent(work: Callable[[], object]) -> Seconds:
    begun, cpu = time.perf_counter(), time.process_time()
    work()
    return Seconds(time.perf_counter() - begun, time.process_time() - cpu)


def large_document(found: Mapping[str, Any]) -> str:
    """Return what was measured, under one label after another, as a page of Markdown."""
    lines = [_HEAD]
    for label, part in found.items():
        for row in part["rows"]:
            spent = [row[name]["cpu_s"] for name in ("edit", "first_probe", "next_probe", "answer")]
            lines.append(f"| {' | '.join([label, row['editor'], str(row['steps']), *(f'{w:.1f}' for w in spent)])} |")
    made = [
        f"{label} on {p['machine']['cpu']}, {p['threads']} threads, load {p['load']:.0f}"
        for label, p in found.items()
    ]
    lines += ["", f"Seconds of processors; those of the clock are in large.json. Measured {'; '.join(made)}.", ""]
    return "\n".join(lines)


def write_large(rows: Sequence[LargeRow], label: str, folder: Path) -> Path:
    """Add rows under a label to large.json of a folder, write large.md from all of it, and return the page."""
    import torch

    path = folder / "large.json"
    found: dict[str, Any] = json.loads(path.read_bytes()) if path.is_file() else {}
    found[label] = {
        "rows": [asdict(row) for row in rows],
        "machine": processor(),
        "threads": torch.get_num_threads(),
        "load": next(iter(load_average()), 0.0),
    }
    write_whole(path, json_bytes(found))
    return write_whole(folder / "large.md", large_document(found).encode())
