"""`lifelong story`: the life of one edit, in words and as a picture. Reads words, prints what the facts say."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from lifelong.cli.rows import row_lines
from lifelong.cli.words import show
from lifelong.running.story import MOMENT_COLUMNS, Moment, Story, ending, story_rows


def story_command(
    run: Annotated[Path, typer.Argument(help="A run folder.")],
    edit: Annotated[str, typer.Argument(help="An edit's id, or its number in the stream.")],
    out: Annotated[Path | None, typer.Option("-o", "--out", help="Draw it too: FILE.png or FILE.svg.")] = None,
) -> None:
    """Tell the life of one edit: who answered for it at each panel, when it broke and through whom."""
    from lifelong.running.story import story

    found = story(run, edit)
    show("\n".join(story_lines(found)))
    if out is not None:
        from reports.figures.story import draw_story

        title = f"edit {found.number}: {found.told['prompt']} -> {found.told['target']}"
        rows = [dict(step=m.step, own=m.right, answer=m.answer or "", **_shares(m)) for m in found.moments]
        show(str(draw_story(title, rows, out)))


def story_lines(found: Story) -> list[str]:
    """Return a story as lines: the edit, what happened to it, one row a step, and how it was lost."""
    told = found.told
    lines = [
        f"edit {found.number} of {found.of}: {told['edit_id']}",
        f"picture   {told['picture'] or '-'}",
        f"question  {told['prompt']}",
        f"told      {told['target']}",
        *(f"          {line}" for line in found.happened),
        "",
    ]
    return [*lines, *row_lines(story_rows(found), MOMENT_COLUMNS), "", ending(found)]


def _shares(moment: Moment) -> dict[str, float]:
    return {axis: right / asked for axis, (right, asked) in moment.others.items()}
