"""The page of a ladder of models: run folders in; a Markdown page, its figures and the points behind them out.

Groups runs by the model that they were made on, and refuses those that were asked different things.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from pathlib import Path

import polars as pl

from lifelong.log import LogError, RunLog
from reports.analyses.ladder.backbone import LLAVA_7B, backbone_line, budgets
from reports.analyses.ladder.orders import CARRIES, TURNED, VERDICTS, heights, orders, ranked_alike
from reports.analyses.ladder.points import BUDGET_AXES, LADDER_MEASURES, Rung, in_millions, ladder_points
from reports.analyses.ladder.together import LEAST_EDITS, distances, fall_together
from reports.figures.ladder import ladder_curves
from reports.figures.style import save
from reports.numbers.evidence import SCORE
from reports.rendering import html_text
from reports.table import check_lived_through, load_runs
from reports.written import csv_bytes, write_whole

_OPTION = "editor."
"""What the options of an editor begin with among all that a run is made of."""


def load_rungs(folders: Sequence[Path]) -> list[Rung]:
    """Return the models of runs by their size, the smallest first, each with the facts of its runs.

    Raises `LogError` for runs on fewer than two models, unfinished ones, those that note no size of their model, and
    models that were asked different streams.
    """
    groups: dict[str, list[Path]] = {}
    streams: dict[int, dict[str, set[str]]] = {}
    for folder in folders:
        log = RunLog.open(folder)
        if not log.manifest.get("model_size", {}).get("editable_weights"):
            raise LogError(f"{folder}: begun with another version, its model's size is not noted. Run with --fresh.")
        if not log.done():
            raise LogError(f"{folder}: not finished; curves of one length are compared. Go on with --resume.")
        digests, seed = log.manifest["digests"], int(log.config().get("seed", 0))
        groups.setdefault(digests["model"], []).append(folder)
        streams.setdefault(seed, {}).setdefault(digests["model"], set()).add(digests["stream"])
    if len(groups) < 2:
        raise LogError(f"runs on {len(groups)} model: a ladder has two or more (model=FOLDER,FOLDER in a sweep).")
    for seed, found in streams.items():
        if len(set().union(*found.values())) > 1:
            raise LogError(
                f"seed {seed}: the models were asked different streams, so their curves cannot be compared. Give all "
                "runs one stream.known=FILE, made by `lifelong model shared`."
            )
    rungs = []
    for model, mine in groups.items():
        facts, runs = load_runs(mine)
        check_lived_through(facts, runs)
        size = runs[0].editable_weights
        called = runs[0].model
        name = f"{in_millions(size)} editable weights"
        name = name if "/" in called else f"{called}, {name}"  # a folder's name says nothing that its size does not
        if any(rung.editable_weights == size for rung in rungs):  # trained otherwise, of one size
            name += f", model {model[:6]}"
        rungs.append(Rung(name, size, runs[0].model_bytes, runs[0].width, facts, runs))
    return sorted(rungs, key=lambda rung: rung.editable_weights)


def write_ladder(folders: Sequence[Path], out: Path, name: str = "ladder") -> Path:
    """Write `name`.md, its figures and `name`.csv (every point) into a folder, and return the page."""
    rungs = load_rungs(folders)
    points = ladder_points(rungs)
    drawn = [ladder_curves(points, measure) for measure in LADDER_MEASURES]
    pictures = []
    for one in drawn:
        if one.figure is not None:
            path = save(one.figure, out / f"{one.name.replace('_', '-').replace('ladder', name, 1)}.png")
            pictures += [f"![{one.title}]({path.name})", "", f"*{one.caption} {one.counted}.*", ""]
    write_whole(out / f"{name}.csv", csv_bytes(points))
    text = ladder_document(rungs, points, pictures)
    return write_whole(out / f"{name}.md", text.encode())


def ladder_document(rungs: Sequence[Rung], points: pl.DataFrame, pictures: Sequence[str] = ()) -> str:
    """Return the page as Markdown: models, which curves fall together, `pictures`, budgets beside a backbone's."""
    found = fall_together(distances(points))
    high, told = heights(rungs), orders(rungs)
    last = points.filter(pl.col("edits") == pl.col("edits").max().over("editor", "model"))
    parts = [
        "# One stream on models of several sizes", "",
        "Written by `lifelong ladder`; nothing here is typed. The same stream was told to the same editors on all "
        "models: the digests of the streams are equal, so every model was asked the same.", "",
        *in_short(high, told), "",
        "## Models and options", "",
        *_models(rungs), "",
        *_options(rungs), "",
        "## Which curves fall together", "",
        "A model's curve is foretold from another's, at the same place of an axis, and one stream's from another "
        "stream's. The number is the root mean square difference, over all pairs of models and of streams, at the "
        f"places from {LEAST_EDITS} edits on that lie within the other's range on every axis; what chance does to "
        "the curves is in it, alike on all axes. By *edits*, the same number of edits does the same on every model; "
        "by *edits per million editable weights*, the same density; by *bank bytes per model byte*, the same share "
        "of memory. `difference` is the first less the second, with Student's interval of a jackknife over seeds "
        "from five on, else each seed's. An axis is named only where the interval of every difference from it lies "
        "above 0, not adjusted for the number of rows. A flat curve falls together on every axis.", "",
        *_together(found), "",
        *pictures,
        "## Which orderings carry over", "",
        "Each pair of editors is compared on each model, over the same questions at the last panel (score: the "
        "harmonic mean of gain and locality; Rel to M-Loc: the papers' metrics, teacher forced). A winner is told "
        "where the 95 % interval does not hold 0 and Holm's p, over all pairs of the measure on that model, is below "
        ".05. An order carries over where both models tell the same winner, and is turned round where they tell "
        "different ones. `rho` is Spearman's over the editors' values, `p` a permutation's.", "",
        *_orders([rung.name for rung in rungs], high, told), "",
        "## At the last panel", "", *_last(last), "",
        "## How far budgets are from a published backbone's", "",
        f"{backbone_line(rungs)} What an editor keeps an edit (its bank, or the matrices that all its edits share, "
        "over the number of edits) is scaled by what it is a sum of on these models, options left as they are.", "",
        *_budgets(rungs), "",
    ]  # fmt: skip
    return "\n".join(parts)


def _budgets(rungs: Sequence[Rung]) -> list[str]:
    name = LLAVA_7B.name
    heads = ("editor", "model", "edits", "grows as", "numbers an edit", f"on {name}",
             "bytes an edit per model byte", f"on {name}", "here / there")  # fmt: skip
    cells = []
    for row in budgets(rungs).iter_rows(named=True):
        numbers = [_number(row[key], ",.0f") for key in ("numbers", "there_numbers")]
        shares = [_number(row[key], ".1e") for key in ("share", "there_share")]
        ratio = _number(row["share"] / row["there_share"], ".3g")
        about = row["editor"], row["model"], f"{row['edits']:,}", row["grows"] or "-"
        cells.append((*about, *numbers, *shares, ratio))
    return markdown_table(heads, cells)


def _models(rungs: Sequence[Rung]) -> list[str]:
    cells = [(r.name, str(r.width), in_millions(r.editable_weights), f"{r.model_bytes / 1e6:,.1f} MB",
              str(len(r.facts.editors)), str(r.facts.gauged["seed"].n_unique())) for r in rungs]  # fmt: skip
    return markdown_table(("model", "width", "editable weights", "bytes of all weights", "editors", "seeds"), cells)


def _options(rungs: Sequence[Rung]) -> list[str]:
    """Return the options that an editor does not have in common on all models, by model."""
    cells = []
    for editor in dict.fromkeys(run.editor for rung in rungs for run in rung.runs):
        made = [next((r.made for r in rung.runs if r.editor == editor), None) for rung in rungs]
        asked = [{k.removeprefix(_OPTION): v for k, v in m.items() if k.startswith(_OPTION)} for m in made if m]
        keys = dict.fromkeys(key for one in asked for key in one)
        differ = [key for key in keys if len({one.get(key) for one in asked}) > 1]
        if differ and len(asked) == len(rungs):
            cells.append((editor, *(" ".join(f"{key}={one.get(key, '-')}" for key in differ) for one in asked)))
    if not cells:
        return ["Every editor has the same options on all models."]
    told = "Options that differ between models; all others are equal on all of them."
    return [told, "", *markdown_table(("editor", *(rung.name for rung in rungs)), cells)]


def _together(found: pl.DataFrame) -> list[str]:
    heads = ("editor", "measure", *BUDGET_AXES, "difference", "nearer by")
    cells = []
    for row in found.iter_rows(named=True):
        told = f"[{row['low']:+.3f}, {row['high']:+.3f}]" if row["low"] is not None else f"({row['each']})"
        differs = f"{_number(row['difference'], '+.3f')} {told}" if not math.isnan(row["difference"]) else "-"
        axes = [_number(row[axis]) for axis in BUDGET_AXES]
        cells.append((row["editor"], row["measure"], *axes, differs, row["nearer"]))
    return markdown_table(heads, cells)


def in_short(high: pl.DataFrame, found: pl.DataFrame) -> list[str]:
    """Return what the tables say of the score, as a list: who is best on each model, which orders carry over.

    `high` is of `reports.analyses.ladder.orders.heights`, `found` of its `orders`.
    """
    score = high.filter((pl.col("measure") == SCORE) & pl.col("value").is_not_nan())
    pairs = found.filter(pl.col("measure") == SCORE)
    lines = []
    for (model,), part in score.group_by("model", maintain_order=True):
        first, *rest = part.sort("value", descending=True).select("editor", "value").rows()
        apart = _apart(pairs, str(model), first[0])
        near = ", ".join(f"{editor} ({value:.3f})" for editor, value in rest if editor not in apart)
        also = f"; not told apart from it: {near}" if near else ", ahead of every other" if rest else ""
        lines.append(f"- Best on {model}: {first[0]}, with a score of {first[1]:.3f}{also}.")
    for (one, other), part in pairs.group_by("model", "other", maintain_order=True):
        n = {name: part.filter(pl.col("verdict") == name).height for name in VERDICTS}
        lines.append(
            f"- {one} and {other}: of {part.height} pairs of editors both tell the order of "
            f"{n[CARRIES] + n[TURNED]}; {n[CARRIES]} of these orders carry over, {n[TURNED]} are turned round."
        )
    return lines or ["Fewer than two editors were run on every model: there is no order to carry over."]


def _apart(pairs: pl.DataFrame, model: str, editor: str) -> set[str]:
    """Return the editors that a model tells apart from one."""
    apart: set[str] = set()
    for place, winner in (("model", "better"), ("other", "other_better")):
        part = pairs.filter((pl.col(place) == model) & (pl.col(winner) != ""))
        for pair in part.select("editor", "beside").rows():
            apart |= set(pair) - {editor} if editor in pair else set()
    return apart


def _orders(models: Sequence[str], high: pl.DataFrame, found: pl.DataFrame) -> list[str]:
    """Return the values of all editors, how alike models rank them, and the orders of the score by their verdict."""
    measures = list(dict.fromkeys(high["measure"]))
    values = {(r["editor"], r["model"], r["measure"]): r["value"] for r in high.iter_rows(named=True)}
    about = [(e, m) for e in dict.fromkeys(high["editor"]) for m in models if (e, m, SCORE) in values]
    cells = [(e, m, *(_number(values[e, m, measure]) for measure in measures)) for e, m in about]
    lines = [*markdown_table(("editor", "model", *measures), cells), ""]
    alike = [
        (r["measure"], r["model"], r["other"], str(r["n"]), _number(r["rho"], ".2f"), _number(r["p"]),
         *(str(r[name]) for name in VERDICTS))
        for r in ranked_alike(high, found).iter_rows(named=True)
    ]  # fmt: skip
    if not alike:
        return [*lines, "Fewer than two editors were run on every model: there is no order to carry over."]
    lines += [*markdown_table(("measure", "model", "other model", "editors", "rho", "p", *VERDICTS), alike), ""]
    for name in (CARRIES, TURNED):
        part = found.filter((pl.col("measure") == SCORE) & (pl.col("verdict") == name))
        told = [(r["model"], r["other"], r["better"], r["editor"] if r["better"] == r["beside"] else r["beside"],
                 f"{abs(r['difference']):.3f}", f"{abs(r['other_difference']):.3f}")
                for r in part.iter_rows(named=True)]  # fmt: skip
        lines += [f"Orders of the score: {name}", ""]
        heads = ("model", "other model", "above on the first", "below", "by", "by on the other")
        lines += [*(markdown_table(heads, told) if told else ["None."]), ""]
    return lines[:-1]


def _last(last: pl.DataFrame) -> list[str]:
    heads = ("editor", "model", "edits", *BUDGET_AXES[1:], *LADDER_MEASURES)
    cells = []
    for (editor, model), part in last.group_by("editor", "model", maintain_order=True):
        means = [part.filter(pl.col("measure") == m)["gain"].fill_nan(None).mean() for m in LADDER_MEASURES]
        axes = [float(part[axis].mean()) for axis in BUDGET_AXES]  # pyright: ignore[reportArgumentType]
        told = [_number(math.nan if m is None else float(m)) for m in means]  # pyright: ignore[reportArgumentType]
        cells.append((str(editor), str(model), f"{axes[0]:,.0f}", f"{axes[1]:,.1f}", f"{axes[2]:.3g}", *told))
    return markdown_table(heads, cells)


def _number(value: float, form: str = ".3f") -> str:
    return "-" if math.isnan(value) else format(value, form)


def markdown_table(heads: Sequence[str], cells: Sequence[Sequence[str]]) -> list[str]:
    """Return the lines of a table of texts; a bar in one is no end of a cell, and nothing in one is HTML."""
    rows = [heads, ["---"] * len(heads), *cells]
    return ["| " + " | ".join(html_text(cell).replace("|", "\\|") for cell in row) + " |" for row in rows]
