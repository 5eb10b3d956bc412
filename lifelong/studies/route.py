"""Routing alone: edits are made and nothing is answered; which experts would serve each question, panel by panel.

Knows runs' parts and editors by their contracts; nothing of what routes are worth (`reports` does). Keys of questions
are read once and shared by settings whose keys are equal; all else is bank search, so that thousands of edits and
several settings take minutes.
"""

from __future__ import annotations

import hashlib
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from lifelong.editing.contract import Editor, Privileged
from lifelong.log.shown import short_repr
from lifelong.probing.routes import RouteBook
from lifelong.running.config import check_one_stream
from lifelong.running.prepare import Loaded, Prepared, plain_changes, prepare, resolve
from lifelong.running.progress import LOADING_AFTER_S, PLAIN_EVERY_S, heartbeat
from lifelong.running.signals import stop_if_asked
from lifelong.running.words import ConfigError
from lifelong.studies.grid import Cell, cells, is_sweep, is_varied, with_threads
from streams.types import Edit, Probe, Query

ASKED_AT_MOST = 100  # edits that a panel asks about
AXES_ROUTED = ("reliability", "generality", "specificity", "locality", "portability")
_SAMPLED = 32  # questions whose keys are compared before those of another setting are taken over
_ENCODED_TOGETHER = 512


@dataclass(frozen=True)
class RoutedSetting:
    """What one setting routed: a row for each question asked at a panel, and one for each panel.

    `probed` rows have editor (the setting's label), seed, step, probe_id, edit_id, age, axis, variant, routed_n,
    routed_home, best_score (None where nothing was searched); `gauged` rows editor, seed, step and bank_len.
    """

    label: str
    seed: int
    probed: tuple[Mapping[str, Any], ...]
    gauged: tuple[Mapping[str, Any], ...]
    edits: int
    refused: int
    wall_s: float
    keys_shared: bool = field(default=False)

    __repr__ = short_repr


def route_settings(
    source: str | None = None,
    *,
    asked: int = ASKED_AT_MOST,
    say: Callable[[str], None] = lambda _: None,
    **changes: Any,
) -> list[RoutedSetting]:
    """Return where questions are routed under each setting of a run or a sweep, after the steps of its panels.

    `changes` are keys of the configuration; those that are lists vary (`**{"editor.radius": [1, 40]}`).
    At a panel the probes of `asked` standing edits are routed, drawn evenly from all of them; draws of neighbouring
    panels overlap as far as they can. Raises `ConfigError` for an editor that does not route, and what `run` raises.
    """
    if asked < 1:
        raise ConfigError(f"asked={asked}: expected at least 1.")
    loaded, known = Loaded(), _SharedKeys()
    out = []
    for cell in _settings(source, changes):
        resolved = resolve(cell.config)
        check_one_stream(resolved.config, "a growing bank")
        if resolved.kind.route is Editor.route:
            name = resolved.config.editor.name
            raise ConfigError(f"editor={name} does not route: it has no bank to look at. Try editor=grace or rag.")
        with heartbeat(say, f"{cell.label}: loading the stream and the model", after_s=LOADING_AFTER_S):
            ready = prepare(resolved, say, loaded)
        with ready.computing():
            out.append(_routed(cell.label, ready, asked, known, say))
        say(f"{cell.label}: {out[-1].edits} edits, {len(out[-1].probed)} routes in {out[-1].wall_s:.0f} s")
    return out


def _settings(source: str | None, changes: Mapping[str, Any]) -> list[Cell]:
    """Return the cells of a sweep, or the one run that is named otherwise."""
    plain = plain_changes(source, changes)
    names = plain.get("editor", ())
    editors = [names] if isinstance(names, str) else [n for n in names if isinstance(n, str)]
    if (source and is_sweep(source)) or any(is_varied(k, v, {"editor": editors}) for k, v in plain.items()):
        return cells(source, plain)
    resolved = resolve(source, plain)
    return [Cell(resolved.label, with_threads(resolved.config))]


class _SharedKeys:
    """The keys of the setting before, for as long as the next one reads the same questions to the same keys."""

    def __init__(self) -> None:
        self.book: RouteBook | None = None
        self.of: tuple[str, str] = ("", "")

    def take(self, book: RouteBook, editor: Editor, ready: Prepared, queries: Sequence[Query]) -> bool:
        """Let a new book take its keys from the one before, where a sample of both is equal; keep the new one."""
        before, of = self.book, (ready.vlm.digest, ready.stream.digest)
        known = [q for q in queries if before is not None and q.digest in before]
        shared = False
        if before is not None and of == self.of and len(known) == len(queries):
            some = [known[i] for i in np.unique(np.linspace(0, len(known) - 1, _SAMPLED).astype(int))]
            mine, theirs = editor.encode(some), before.keys_of([q.digest for q in some])
            shared = mine.arrays.keys() == theirs.arrays.keys() and all(
                mine[name].shape == theirs[name].shape and np.allclose(mine[name], theirs[name], rtol=1e-4, atol=1e-5)
                for name in mine.arrays
            )
        book.source = before if shared else None
        self.book, self.of = book, of
        return shared


def _routed(label: str, ready: Prepared, asked: int, known: _SharedKeys, say: Callable[[str], None]) -> RoutedSetting:
    config, stream = ready.config, ready.stream
    steps = config.panels.steps(len(stream.edits))
    start = said_at = time.perf_counter()
    with heartbeat(say, f"{label}: making the editor", after_s=LOADING_AFTER_S):
        editor = ready.editor()
    rows: list[dict[str, Any]] = []
    panels: list[dict[str, Any]] = []
    refused = 0
    run = {"editor": label, "seed": config.seed}
    try:
        if isinstance(editor, Privileged):
            editor.reveal(stream.probes)
        panels_of = {step: _drawn(stream.edits[:step], asked, config.seed) for step in steps}
        book = RouteBook(editor)
        every = dict.fromkeys(e.id for drawn in panels_of.values() for e, _ in drawn)
        queries = list({p.query.digest: p.query for i in every for p in _probes(stream.probes(i))}.values())
        shared = known.take(book, editor, ready, queries)
        turn = config.batch or editor.turn
        made = 0
        for step in steps:
            while made < step:
                stop_if_asked()
                batch = stream.edits[made : min(made + turn, step)]
                try:
                    editor.edit(batch)
                except FloatingPointError as error:
                    refused += len(batch)
                    say(f"{label}: {error}")
                made += len(batch)
                if time.perf_counter() - said_at > PLAIN_EVERY_S:
                    said_at = time.perf_counter()
                    say(f"{label}: {made}/{len(stream.edits)} edits")
            rows += [run | row for row in _panel(book, step, panels_of[step], stream.probes)]
            panels.append(run | {"step": step, "bank_len": float(editor.bank_len())})
    finally:
        editor.close()
    wall_s = time.perf_counter() - start
    return RoutedSetting(label, config.seed, tuple(rows), tuple(panels), made, refused, wall_s, shared)


def _probes(probes: Sequence[Probe]) -> list[Probe]:
    return [p for p in probes if p.axis in AXES_ROUTED]


def _drawn(edits: Sequence[Edit], most: int, seed: int) -> list[tuple[Edit, int]]:
    """Return at most so many standing edits with their ages, each as likely as any other, in order.

    An edit has one lot in all panels, so that what is drawn of many edits was mostly drawn of fewer ones too.
    """
    replaced = {edit.supersedes for edit in edits}
    standing = [(edit, len(edits) - place) for place, edit in enumerate(edits, 1) if edit.id not in replaced]
    lots = {edit.id: hashlib.sha256(f"{seed} {edit.id}".encode()).digest() for edit, _ in standing}
    chosen = {edit.id for edit, _ in sorted(standing, key=lambda pair: lots[pair[0].id])[:most]}
    return [(edit, age) for edit, age in standing if edit.id in chosen]


def _panel(
    book: RouteBook, step: int, drawn: Sequence[tuple[Edit, int]], probes_of: Callable[[str], Sequence[Probe]]
) -> list[dict[str, Any]]:
    """Return one row per probe of the drawn edits, routed by the bank as it is now."""
    asked = [(probe, age) for edit, age in drawn for probe in _probes(probes_of(edit.id))]
    for start in range(0, len(asked), _ENCODED_TOGETHER):
        book.encode(probe.query for probe, _ in asked[start : start + _ENCODED_TOGETHER])
    routes = book.routes([probe.query.digest for probe, _ in asked])
    out = []
    for probe, age in asked:
        route = routes[probe.query.digest]
        out.append(
            {"step": step, "probe_id": probe.id, "edit_id": probe.edit_id, "age": age, "axis": probe.axis,
             "variant": probe.variant, "scorer": "generated", "routed_n": len(route.ids),
             "routed_home": probe.edit_id in route.ids, "best_score": route.best}
        )  # fmt: skip
    return out
