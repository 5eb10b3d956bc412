"""`lifelong stress edits|bank|load`: how much a system bears before it breaks. Reads words, prints results."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Annotated, Any

import typer

from lifelong.cli.words import say, split_words
from lifelong.running.progress import LOADING_AFTER_S, heartbeat
from lifelong.running.words import parse_words

stress_app = typer.Typer(help="How much a system bears before it breaks.", no_args_is_help=True)


@stress_app.command("load")
def stress_load_command(
    run: Annotated[Path, typer.Argument(help="A finished run's folder.")],
    words: Annotated[
        list[str] | None, typer.Argument(help="key=value words, as for replay: policy=preempt replicas=10 ...")
    ] = None,
    slo_s: Annotated[float, typer.Option("--slo", min=0.0, help="Seconds within which an answer is good.")] = 1.0,
    good: Annotated[float, typer.Option("--good", help="Share of queries that shall be.")] = 0.99,
    count: Annotated[
        int, typer.Option("--replications", help="Replays of each rate, with seeds of their own; intervals from 5.")
    ] = 10,
) -> None:
    """Find the largest query rate that is answered in time, by replays of a run; prints it with its interval."""
    from lifelong.studies.stress.load import bearing_lines, stress_load

    with heartbeat(say, f"searching the largest rate, by {count} replays of each", after_s=LOADING_AFTER_S):
        found = stress_load(str(run), parse_words(words or ()), slo_s=slo_s, good=good, count=count, say=say)
    print("\n".join(bearing_lines(found, slo_s, good)))


@stress_app.command("edits")
def stress_edits_command(
    words: Annotated[
        list[str] | None,
        typer.Argument(help="[RECIPE or FILE.toml] then key=value words: editor=rag,ft edits=500 ..."),
    ] = None,
    retention: Annotated[float, typer.Option("--retention", help="Least share of past edits kept.")] = 0.7,
    generality: Annotated[float, typer.Option("--generality", help="Least generality.")] = 0.5,
    locality: Annotated[float, typer.Option("--locality", help="Least locality.")] = 0.7,
    route_p99_s: Annotated[float, typer.Option("--p99", help="Most seconds of routing, p99.")] = 0.05,
    relative: Annotated[
        bool, typer.Option("--relative", help="Least shares are of what was right as soon as its edit was made.")
    ] = False,
    scorer: Annotated[str, typer.Option("--scorer", help="generated or teacher_forced")] = "generated",
    first: Annotated[
        int, typer.Option("--first", min=1, help="Edits at the first panel; of few chance decides.")
    ] = 32,
    per_doubling: Annotated[int, typer.Option("--per-doubling", min=1, help="Panels a doubling.")] = 1,
    tolerance: Annotated[float, typer.Option("--tolerance", help="Width of the answer, relative.")] = 0.1,
    seeds: Annotated[int, typer.Option("--seeds", min=1, help="How many seeds, from `seed` on.")] = 1,
    fresh: Annotated[bool, typer.Option("--fresh", help="Make panels anew that are there.")] = False,
    out: Annotated[Path | None, typer.Option("-o", "--out", help="Where the report goes.")] = None,
    as_json: Annotated[bool, typer.Option("--json", help="Print plain data.")] = False,
) -> None:
    """Find how many edits each editor bears, at most `edits` of them, and which limit breaks first."""
    from lifelong.studies.stress.edits import Bounds, Search, stress_edits
    from reports import stress_page

    source, changes = split_words(words)
    bounds = Bounds(retention, generality, locality, route_p99_s, scorer, relative)
    search = Search(first, per_doubling, tolerance)
    found = stress_edits(source, changes, bounds, search, seeds=seeds, fresh=fresh, say=say)
    record = stress_page.record(
        [one.plain() for one in found],
        limits={limit.measure: limit.bound for limit in bounds.limits()},
        scorer=scorer,
        tolerance=tolerance,
        relative=relative,
    )
    print(json.dumps(record, indent=1) if as_json else "\n".join(stress_page.edits_lines(record)))
    if out is not None:
        page = stress_page.write_edits(record, out)
        say(str(page)) if as_json else print(page)


@stress_app.command("bank")
def stress_bank_command(
    words: Annotated[
        list[str] | None,
        typer.Argument(help="[RECIPE or FILE.toml] then key=value words: editor=grace model=tiny ..."),
    ] = None,
    width: Annotated[int, typer.Option("--width", min=0, help="Numbers a key; those of the editor without.")] = 0,
    p99_s: Annotated[float, typer.Option("--p99", help="Most seconds of a search, p99.")] = 0.005,
    most_bytes: Annotated[int, typer.Option("--bytes", help="Most bytes of keys.")] = 2**28,
    first: Annotated[int, typer.Option("--first", min=1, help="Entries of the first size.")] = 1024,
    most: Annotated[int, typer.Option("--most", min=1, help="Entries of the last size.")] = 2**20,
    searches: Annotated[int, typer.Option("--searches", help="Searches of each size.")] = 1000,
    k: Annotated[int, typer.Option("--k", min=1, help="Entries to find.")] = 1,
    index: Annotated[str, typer.Option("--index", help="flat, hnsw, ivf:probes=8 ...")] = "flat",
    cpu: Annotated[bool, typer.Option("--cpu", help="Count the thread's own seconds, for a busy machine.")] = False,
    seed: Annotated[int, typer.Option("--seed", min=0)] = 0,
    out: Annotated[Path | None, typer.Option("-o", "--out", help="Where the report goes.")] = None,
    as_json: Annotated[bool, typer.Option("--json", help="Print plain data.")] = False,
) -> None:
    """Double a bank of generated keys until the p99 of a search or its bytes break a budget; says which."""
    from lifelong.studies.stress.bank import check_bank, stress_bank, width_of
    from reports import stress_page
    from reports.figures import bank as figures_bank

    check_bank(width, p99_s, most_bytes, first, most, searches, k, index)
    if not width:
        say("asking the editor how wide its keys are")
        width = width_of(*split_words(words))
    budgets: dict[str, Any] = {"p99_s": p99_s, "most_bytes": most_bytes}
    sizes: dict[str, Any] = {"first": first, "most": most, "searches": searches}
    clock = "cpu" if cpu else "wall"
    found = stress_bank(width, k=k, index=index, clock=clock, seed=seed, say=say, **budgets, **sizes)
    plain = stress_page.plain_data(found.plain())
    print(json.dumps(plain, indent=1) if as_json else "\n".join(figures_bank.bank_lines(plain)))
    if out is not None:
        page = stress_page.write_bank(plain, out)
        say(str(page)) if as_json else print(page)
