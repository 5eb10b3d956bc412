"""The `model convert` commands: a model that is published in files of its own, written as a folder that runs take.

Each is a documented Python call with its words read and its result printed.
"""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from lifelong.cli.words import say, show

convert_app = typer.Typer(help="Write a folder from the files a model is published in.", no_args_is_help=True)


@convert_app.callback()
def convert() -> None:
    """Write a folder from the files a model is published in."""


@convert_app.command("minigpt4")
def convert_minigpt4_command(
    eva: Annotated[Path, typer.Option("--eva", help="eva_vit_g.pth, the vision tower.")],
    qformer: Annotated[Path, typer.Option("--qformer", help="blip2_pretrained_flant5xxl.pth, the Q-Former.")],
    projection: Annotated[Path, typer.Option("--projection", help="prerained_minigpt4_7b.pth, the linear layer.")],
    vicuna: Annotated[Path, typer.Option("--vicuna", help="The folder of Vicuna, whole (no delta).")],
    out: Annotated[Path, typer.Option("-o", "--out", help="The folder to write; model=FOLDER then takes it.")],
) -> None:
    """Write MiniGPT-4 from its four published parts; no other command opens a pickle. Prints the folder."""
    from lifelong.models.minigpt4.convert import PublishedFiles, convert_minigpt4

    files = PublishedFiles(eva, qformer, projection, vicuna)
    show(str(convert_minigpt4(files, out, say=say)))
