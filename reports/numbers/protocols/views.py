"""The protocols by name, and the view of runs under one: which numbers are taken where none is said.

Knows fact tables; what a protocol computes stands in its own module.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import polars as pl

from reports.numbers.protocols.chunks import CROSS_TASK_CHUNK, cross_task, end_of_chunk
from reports.numbers.protocols.gaps import GAPS, compositional, gap, immediate
from reports.numbers.protocols.history import PERIOD, error_curves, periodic_history
from reports.numbers.protocols.view import RUN, NotHeldError, View, made
from reports.table import Facts, facts_of_runs


@dataclass(frozen=True)
class Protocol:
    """One way of measuring: what it is in a sentence, how its number is called, and the usual ones.

    `view` is the protocol's function of facts and one number.
    """

    about: str
    number: str
    usual: tuple[int, ...]
    view: Callable[[Facts, int], View]


PROTOCOLS = {
    "immediate": Protocol(
        "every edit asked as soon as it is made, and never again (EasyEdit, UniKE's code)",
        "",
        (0,),
        lambda facts, _: immediate(facts),
    ),
    "end-of-chunk": Protocol(
        "all edits of a chunk of N asked after its last one, the model put back after each (LiveEdit, UniKE; of N=1 "
        "all tables of single edits)",
        "N",
        (),
        end_of_chunk,
    ),
    "gap": Protocol(
        "every edit asked when so many more were made after it (VLKEB)",
        "gap",
        GAPS,
        lambda facts, one: gap(facts, [one]),
    ),
    "history": Protocol(
        "all past edits and untouched questions asked again and again (T-Patcher)",
        "step",
        (PERIOD,),
        periodic_history,
    ),
    "curves": Protocol(
        "past edits, untouched questions, keys and conflicts at every panel (GRACE, MELO)",
        "step",
        (0,),
        lambda facts, _: error_curves(facts),
    ),
    "cross-task": Protocol(
        "chunks of two kinds of edits, half and half, in one mixed average (UniKE)",
        "N",
        (CROSS_TASK_CHUNK,),
        cross_task,
    ),
    "compositional": Protocol(
        "pairs of a visual and a textual edit, and questions that need both, so many pairs later (MemEIC)",
        "gap",
        GAPS,
        lambda facts, one: compositional(facts, [one]),
    ),
}
"""Every protocol by its name."""
_IN_CHUNKS = ("end-of-chunk", "cross-task")


def view_of(name: str, facts: Facts, at: Sequence[int] = ()) -> View:
    """Return the view of runs under a protocol, at its numbers `at`, or at all usual ones that the runs hold.

    Of end-of-chunk these are each run's own: how many edits it made on one model. Raises `KeyError` for a protocol
    that there is not, `NotHeldError` for a number of `at` that the runs do not hold, and where they hold none.
    """
    protocol = PROTOCOLS[name]
    tables, notes = [], list[str]()
    errors: list[NotHeldError] = []
    usual = protocol.usual or tuple(sorted(set(_sizes(facts)["size"])))
    for number in at or usual:
        try:
            found = protocol.view(_of_size(facts, number, bool(at)) if name in _IN_CHUNKS else facts, number)
        except NotHeldError as error:
            if at:
                raise
            errors.append(error)
            continue
        tables.append(found.table)
        notes += [note for note in found.notes if note not in notes]
    if not tables:
        raise errors[0]
    missing = [str(number) for number in usual if not at and number not in set(pl.concat(tables)["cell"])]
    if errors and protocol.number:
        notes.append(f"not held: {protocol.number} {', '.join(missing)} (with --at it is said why)")
    refused = facts.edited.filter(pl.col("outcome").is_in(["skipped", "not finite"]))
    if len(refused):
        notes.append(f"{len(refused):,} edits were refused or passed over: they count as the model answered")
    return View(name, pl.concat(tables), tuple(notes))


def _sizes(facts: Facts) -> pl.DataFrame:
    """Return for each run how many edits it made on one model first, and whether it was put back ever."""
    edits = made(facts)
    first = edits.sort("start").group_by(RUN, maintain_order=True).first()
    back = facts.restored.select(*RUN, pl.lit(True).alias("back")).unique()
    return first.select(*RUN, (pl.col("end") - pl.col("start")).alias("size")).join(back, on=RUN, how="left")


def _of_size(facts: Facts, size: int, asked_for: bool) -> Facts:
    """Return the facts of runs whose chunks are so large, and of longer ones never put back if that is asked for."""
    sizes = _sizes(facts)
    longer = pl.lit(asked_for) & pl.col("back").is_null() & (pl.col("size") >= size)
    chosen = sizes.filter((pl.col("size") == size) | longer).select(RUN)
    return facts if chosen.is_empty() else facts_of_runs(facts, chosen)
