"""The `bench` commands: measurements of this package itself, printed as words or as JSON.

Each is a documented Python call with its words read and its result printed; nothing is written but caches.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Annotated, Any

import typer

from lifelong.cli.words import say, split_words

bench_app = typer.Typer(help="Measure the simulator itself.", no_args_is_help=True)


@bench_app.callback()
def bench() -> None:
    """Measure the simulator itself."""


@bench_app.command("probing")
def probing_command(
    words: Annotated[list[str] | None, typer.Argument(help="[RECIPE or FILE.toml] then key=value words")] = None,
    as_json: Annotated[bool, typer.Option("--json", help="All numbers as one JSON object.")] = False,
    cells: Annotated[int, typer.Option("--cells", min=0, help="Probes asked one by one, on top; 0: none.")] = 0,
    panels: Annotated[int, typer.Option("--brute", min=1, help="Panels of brute force, where there are cells.")] = 5,
) -> None:
    """Compare incremental with brute-force probing: one run, one process, equal facts enforced.

    Takes what `lifelong run` takes and writes no run. With --cells also with one probe at a time, on a sample, brute
    force then at a few panels only; what differs is then counted and named, and all numbers are printed. Exit code 2
    when a reused answer differs from asking again.
    """
    from lifelong.studies.bench.cells import compare_cells_run
    from lifelong.studies.bench.probing import compare_run

    source, changes = split_words(words)
    if cells:
        told = compare_cells_run(
            source, cells=cells, brute_panels=panels, on_progress=_tenths(), on_panel=_so_far, **changes
        )
        print(json.dumps(told, indent=1) if as_json else cells_text(told))
        raise typer.Exit(2 if told["cells_unequal"] or told["brute_facts_unequal"] else 0)
    found = compare_run(source, on_progress=_tenths(), **changes)
    print(json.dumps(found, indent=1) if as_json else probing_text(found))


@bench_app.command("routing")
def routing_command(
    write: Annotated[str, typer.Option(help="Folder for routing.md, .json and .png.")] = "runs/bench",
    part: Annotated[list[str] | None, typer.Option(help="flat, change or frontier; may be repeated.")] = None,
    most: Annotated[int, typer.Option(help="Most keys.")] = 10**6,
    edits: Annotated[int, typer.Option(help="Edits whose questions' states are keys.")] = 3000,
    crops: Annotated[
        int, typer.Option(help="Questions with cropped pictures whose states are keys beyond those.")
    ] = (100_000),
    family: Annotated[list[str] | None, typer.Option(help="Of frontier and change: flat, flat16, ivf, hnsw.")] = None,
    device: Annotated[str, typer.Option(help="A device that torch searches on as well, such as cuda.")] = "",
) -> None:
    """Measure routing beside raw FAISS and torch, adding and removing, and recall against latency up to 10^6 keys.

    All of it takes well over an hour on two cores; rows are kept as they come, and a part that is measured again
    replaces its earlier rows in the folder.
    """
    from pathlib import Path

    from lifelong.studies.bench import routing_page as page
    from reports.figures.routing import draw_frontier

    folder = Path(write)
    unknown = [p for p in part or () if p not in page.ROUTING_PARTS] + [
        f for f in family or () if f not in page.FAMILY_SETTINGS
    ]
    if unknown:
        known = f"parts are {', '.join(page.ROUTING_PARTS)}, families {', '.join(page.FAMILY_SETTINGS)}"
        raise typer.BadParameter(f"{', '.join(unknown)}: {known}.")
    found = page.routing_rows(
        folder, parts=part or page.ROUTING_PARTS, most=most, edits=edits, crops=crops, device=device,
        families=family or tuple(page.FAMILY_SETTINGS), cache=Path("runs/.cache/bench"),
        say=say,
    )  # fmt: skip
    if any(row["what"] == "frontier" for row in found["rows"]):
        draw_frontier(found["rows"], folder / "routing.png")
    print(page.routing_document(found), end="")


@bench_app.command("payloads")
def payloads_command(
    experts: Annotated[int, typer.Option(help="How many experts are stored.")] = 100_000,
    kib: Annotated[int, typer.Option(help="KiB of one expert (a multiple of 32).")] = 160,
    place: Annotated[str, typer.Option(help="disk, disk:FOLDER, cpu (RAM) or another device.")] = "disk",
    write: Annotated[str, typer.Option(help="Folder for payloads.md and payloads.json; empty: print only.")] = "",
) -> None:
    """Store generated experts of the size of a 7-billion model's, read them back, and say how much memory it took."""
    from pathlib import Path

    from lifelong.studies.bench import payloads as bench_payloads

    size = bench_payloads.ExpertSize(rank=max(1, kib // 32))
    found = bench_payloads.fill_and_read(experts, size, place=place, on_progress=_tenths("experts"))
    print(bench_payloads.payloads_document(found), end="")
    if write:
        for path in bench_payloads.write_payloads(found, Path(write)):
            say(f"wrote {path}")


@bench_app.command("large")
def large_command(
    editor: Annotated[list[str] | None, typer.Option(help="none, ft, grace or liveedit; may be repeated.")] = None,
    edits: Annotated[int, typer.Option(min=1, help="Edits of each.")] = 1,
    label: Annotated[str, typer.Option(help="What the page calls this measurement, such as before.")] = "now",
    write: Annotated[str, typer.Option(help="Folder for large.md and large.json.")] = "runs/bench",
) -> None:
    """Measure seconds an edit and a probe on a LLaVA of half a billion random weights; takes minutes and 4 GB."""
    from pathlib import Path

    from lifelong.studies.bench import large

    unknown = sorted(set(editor or ()) - set(large.LARGE_OPTIONS))
    if unknown:
        raise typer.BadParameter(f"{', '.join(unknown)}: editors are {', '.join(large.LARGE_OPTIONS)}.")
    rows = large.large_rows(editors=editor or tuple(large.LARGE_OPTIONS), edits=edits, say=say)
    print(large.write_large(rows, label, Path(write)))


@bench_app.command("threads")
def threads_command(
    words: Annotated[list[str] | None, typer.Argument(help="key=value words of the run; a short one without")] = None,
    busy: Annotated[int, typer.Option("--busy", min=1, help="Busy processes beside the run.")] = 2,
    times: Annotated[int, typer.Option("--times", min=1, help="Pairs of runs.")] = 2,
) -> None:
    """Measure how many times as long a run takes beside busy processes as alone."""
    from lifelong.studies.bench.threads import RUN_WORDS, run_beside

    print(run_beside(tuple(words or RUN_WORDS), busy=busy, times=times, say=say).text())


@bench_app.command("products")
def products_command(
    model: Annotated[str, typer.Option(help="A model whose linear layers are multiplied.")] = "atlas",
) -> None:
    """Measure a model's matrix products by MKL and by oneDNN, and say which of them runs use here."""
    from torch import nn

    from lifelong.models.products import mkl_falls_short
    from lifelong.models.vlm import VLM
    from lifelong.studies.bench.products import product_times, products_document

    layers = [module for module in VLM.load(model).model.modules() if isinstance(module, nn.Linear)]
    print(products_document(product_times(layers), mkl_falls_short()), end="")


def probing_text(found: Mapping[str, Any]) -> str:
    """Return what `compare` measured as lines of words: seconds of each side, their ratio, shares and rates."""
    lines = [
        f"{found['editor']} on {found['stream']}: {found['edits']} edits, {found['probes']} probes a side",
        f"incremental  {found['incremental_wall_s']:10.2f} s  {found['incremental_probes_per_s']:10.1f} probes/s",
        f"brute force  {found['brute_wall_s']:10.2f} s  {found['brute_probes_per_s']:10.1f} probes/s",
        f"speed-up     {found['speed_up']:10.2f}",
        f"unchanged    {found['reused_share']:10.1%} of the probes kept the answer of an unchanged route",
        "facts        equal on both sides",
    ]
    for side, name in (("incremental", "incremental"), ("brute", "brute force")):
        parts = found[f"{side}_parts"]
        spent = "  ".join(f"{key.removesuffix('_wall_s')} {parts[key]:.2f}" for key in sorted(parts))
        lines.append(f"seconds of {name}: {spent or 'none'}")
    return "\n".join(lines)


def cells_text(found: Mapping[str, Any]) -> str:
    """Return what `compare_cells` measured as lines of words."""
    low_s, high_s = found["one_by_one_interval_s"]
    low, high = found["speed_up_interval"]
    lines = [
        f"{found['editor']} on {found['stream']}: {found['edits']} edits, {found['probes']:,} probes; model, fit and "
        f"frozen answers before {found['prepare_wall_s']:.1f} s",
        f"incremental  {found['incremental_wall_s']:12,.1f} s",
        f"brute force  {found['brute_wall_s']:12,.1f} s  {found['speed_up_over_brute']:8.1f} times as long, from "
        f"{found['brute_probes']:,} probes at {found['brute_panels']} panels; of {found['brute_facts']:,} facts "
        f"{len(found['brute_facts_unequal'])} unequal",
        f"one by one   {found['one_by_one_wall_s']:12,.1f} s  {found['speed_up_over_one_by_one']:8.1f} times as long "
        f"[{low:.1f}, {high:.1f}], from {found['cells']:,} probes [{low_s:,.0f} s, {high_s:,.0f} s]; "
        f"{len(found['cells_unequal'])} with other scores",
    ]
    return "\n".join([*lines, *found["brute_facts_unequal"]])


def _so_far(found: Mapping[str, Any]) -> None:
    """Say after a panel what is known by then: of a run of hours that is cut off, this is what stays."""
    one_s, fast_s = found["one_by_one_wall_s"], found["incremental_wall_s"]
    say(f"bench: {found['edits']} edits, {found['probes']:,} probes in {fast_s:,.1f} s, one by one {one_s:,.0f} s, "
          f"{len(found['cells_unequal'])} of {found['cells']:,} cells and {len(found['brute_facts_unequal'])} of "
          f"{found['brute_facts']:,} facts unequal")  # fmt: skip


def _tenths(what: str = "edits") -> Callable[[int, int], None]:
    from lifelong.running.progress import every_tenth

    return every_tenth(lambda n, of: say(f"bench: {n}/{of} {what}"))


@bench_app.command("gpu")
def gpu_command(
    write: Annotated[Path, typer.Option("--write", help="Folder for gpu.md.")] = Path("runs/bench"),
    device: Annotated[str, typer.Option("--device", help="Where to compute.")] = "cuda",
    shape: Annotated[str, typer.Option("--shape", help="llava-7b, llava-0.5b or small.")] = "llava-7b",
    edits: Annotated[int, typer.Option("--edits", min=1, help="Edits of each editor.")] = 6,
) -> None:
    """Measure a few editors on a random model of a published shape, on a GPU; says so where there is none."""
    from lifelong.studies.bench.gpu import gpu_check

    page = gpu_check(write, device=device, shape=shape, edits=edits, say=say)
    if page is not None:
        print(page)
