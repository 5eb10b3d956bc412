"""`lifelong story`: the life of one edit, in words and as a picture. Reads words, prints what the facts say."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Any

import typer

from lifelong.cli.rows import row_lines
from lifelong.cli.words import show
from lifelong.running.story import OTHERS, Moment, Story


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
    columns = {"step": "step", "age": "age", "answer": "says", "right": "right", "served": "served by",
               "score": "score", **{axis: axis for axis in OTHERS}, "state": ""}  # fmt: skip
    lines += row_lines(_joined([_row(m, told["edit_id"]) for m in found.moments]), columns)
    never = bool(found.moments) and not any(m.right for m in found.moments if not m.state)
    return [*lines, "", found.broke or ("It was never right." if never else "It never broke.")]


def _joined(rows: list[dict[str, Any]]) -> list[dict[str, Any]]:
    """Return rows with those in a row that say the same as one, whose steps and ages are ranges."""
    out: list[dict[str, Any]] = []
    for row in rows:
        same = out and all(row[key] == out[-1][key] for key in row if key not in ("step", "age"))
        if same:
            out[-1] |= {key: f"{str(out[-1][key]).split('-')[0]}-{row[key]}" for key in ("step", "age")}
        else:
            out.append(dict(row))
    return out


def _row(moment: Moment, edit_id: str) -> dict[str, Any]:
    first = moment.served[0] if moment.served else ""
    who = "itself" if first == edit_id else first or "nobody"
    if len(moment.served) > 1:
        who += f" +{len(moment.served) - 1}" + (", itself too" if moment.home and first != edit_id else "")
    others = {axis: "{}/{}".format(*moment.others[axis]) if axis in moment.others else None for axis in OTHERS}
    return {
        "step": moment.step,
        "age": moment.age,
        "answer": "(nothing)" if moment.answer == "" else moment.answer,
        "right": None if moment.right is None else "yes" if moment.right else "NO",
        "served": None if moment.answer is None else who,
        "score": None if moment.score is None else f"{moment.score:.3g}",
        **others,
        "state": moment.state,
    }


def _shares(moment: Moment) -> dict[str, float]:
    return {axis: right / asked for axis, (right, asked) in moment.others.items()}
