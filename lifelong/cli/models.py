"""`lifelong model ...`: what a model knows, whether it answers as transformers alone, tables and conversions."""

from __future__ import annotations

import json
from functools import partial
from pathlib import Path
from typing import Annotated

import typer

from lifelong.cli.convert import convert_app
from lifelong.cli.words import say, show

model_app = typer.Typer(help="The embedded model, and models of others: checked, converted.", no_args_is_help=True)
model_app.add_typer(convert_app, name="convert")


@model_app.command("eval")
def model_eval(
    as_json: Annotated[bool, typer.Option("--json", help="The metrics as JSON.")] = False,
    table: Annotated[Path | None, typer.Option("--table", help="Write the table of known facts here.")] = None,
    model: Annotated[
        Path | None, typer.Option("--model", help="Folder of a model trained here; the embedded one by default.")
    ] = None,
    recalled: Annotated[
        Path | None,
        typer.Option(
            "--recalled",
            help="recalled.json of train-smol (smol has its own): asks names, what is recalled, told facts.",
        ),
    ] = None,
    share: Annotated[
        float,
        typer.Option(
            "--share", min=0, max=1, help="Of all entities, the same ones each time; with --recalled, of told facts."
        ),
    ] = 1.0,
    device: Annotated[str, typer.Option("--device")] = "cpu",
) -> None:
    """Measure what a model that was trained on the atlas knows of it, by free generation over all facts."""
    from lifelong.models.atlas import exam as atlas_eval
    from lifelong.models.atlas import exam_table as atlas_table
    from lifelong.models.smol.build import RECALLED_FACTS, smol_folder
    from lifelong.models.smol.exam import asked_of_smol, recalled_facts, through_pictures
    from streams.atlas.world import load_world

    wanted = None
    if model == Path("smol"):
        model, recalled = smol_folder(), recalled or RECALLED_FACTS
    if recalled is not None:
        told = frozenset(atlas_eval.sampled_entities(load_world(), share))
        wanted, share = partial(asked_of_smol, recalled_facts(recalled), told), 1.0
    asked, right = atlas_eval.examine(model, share=share, wanted=wanted, note=say, device=device)
    if table is not None:
        atlas_table.write_table(asked, right, table)
        say(f"table: {table}")
    measures = atlas_table.metrics(asked, right)
    if recalled is not None:
        measures["through_pictures"] = through_pictures(asked, right, recalled, load_world())
    if as_json:
        print(json.dumps(measures, indent=1))
        return
    for name, found in measures.items():
        print(f"{name:<22} {found['accuracy']:.4f}  n {found['n']}")
        for relation, part in found["relations"].items():
            print(f"    {relation:<18} {part['accuracy']:.4f}  n {part['n']}")


@model_app.command("check")
def model_check(
    model: Annotated[str, typer.Argument(help="A model's folder or hub id, or atlas.")],
    short: Annotated[bool, typer.Option("--short", help="Only those that a model must keep to be loaded.")] = False,
    dtype: Annotated[str, typer.Option("--dtype")] = "float32",
    device: Annotated[str, typer.Option("--device")] = "cpu",
) -> None:
    """Check that a model answers here as it does by transformers alone; exit code 1 when it does not."""
    from lifelong.models.examination import examine_model

    found = examine_model(model, dtype=dtype, device=device, short=short)
    for line in found.lines():
        show(line)
    if not found.ok:
        raise typer.Exit(1)


@model_app.command("families")
def model_families(
    names: Annotated[list[str] | None, typer.Argument(help="Families; all by default.")] = None,
    short: Annotated[bool, typer.Option("--short", help="Only the checks of the short form.")] = False,
) -> None:
    """Make a tiny random model of each family, check it, and print families x checks as a table."""
    from lifelong.models.examination import examine_families, table_of_families

    print(table_of_families(examine_families(names or (), short=short, say=say)), end="")


@model_app.command("shared")
def model_shared(
    tables: Annotated[list[Path], typer.Argument(help="Tables of `model eval --table`, one of each model.")],
    out: Annotated[Path, typer.Option("-o", "--out", help="Where the table goes; stream.known=FILE reads it.")],
) -> None:
    """Write the table of what all of several models know, so that one stream asks each only what it knows."""
    from lifelong.models.atlas.exam_table import write_shared

    for table, questions in write_shared(tables, out).items():
        show(f"{questions:>9,} questions known  {table}")
