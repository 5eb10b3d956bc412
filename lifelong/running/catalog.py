"""What there is to choose from: editors, streams, models, recipes, as plain objects with a name."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from pydantic import BaseModel

from lifelong.running.config import RECIPES, recipe_names
from lifelong.running.words import ConfigError, read_toml
from streams.near import near

EVIDENCE = Path(__file__).parents[1] / "editors" / "evidence.json"
"""What the report of `make editors` says of every editor; shipped with the package."""
MEASURES = {
    "Rel": ".2f", "T-Gen": ".2f", "M-Gen": ".2f", "T-Loc": ".2f", "M-Loc": ".2f", "portability": ".2f",
    "specificity": ".2f", "edit (s)": ".3f", "bytes per edit": ",.0f", "route p50 (ms)": ".3f",
    "route p99 (ms)": ".3f", "fit (s)": ",.0f",
}  # fmt: skip
"""Columns of the table of editors, each with its format."""


def listing(kind: str, *, options: bool = False) -> list[dict[str, Any]]:
    """Return one object with `name` and `about` for each thing of a kind; raises `ConfigError` for another kind.

    With `options` editors and streams tell theirs, too, and editors whether they route, remove and train: they are
    imported for that, which takes seconds.
    """
    makers = {"editors": _editors, "streams": _streams, "models": _models, "recipes": _recipes}
    if kind not in makers:
        raise ConfigError(f"{kind!r} cannot be listed.{near(kind, makers)}")
    return makers[kind](options)


def _editors(options: bool) -> list[dict[str, Any]]:
    from lifelong.editing.find import editor_class, editor_line, editor_names

    known = shipped_evidence()
    found = [{"name": n, "about": editor_line(n), "evidence": known.get(n, [])} for n in editor_names()]
    for one in found if options else ():
        kind = editor_class(str(one["name"]))
        one.update({"routed": kind.routed, "removes": kind.removes, "trains": kind.trains})
        one["options"] = described(kind.Options)
    return found


def shipped_evidence(path: Path = EVIDENCE) -> dict[str, list[dict[str, Any]]]:
    """Return what `make editors` measured of each editor, by name, once for each choice of options.

    Nothing where there is no such file.
    """
    if not path.is_file():
        return {}
    kept = json.loads(path.read_text(encoding="utf-8"))
    about = {name: kept[name] for name in ("stream", "model", "hardware", "scorer")}
    out: dict[str, list[dict[str, Any]]] = {}
    for row in kept["editors"]:
        out.setdefault(row["editor"].split()[0], []).append({**about, **row})
    return out


def evidence_lines(things: Sequence[Mapping[str, Any]]) -> list[str]:
    """Return a table of editors' evidence in lines of equal columns, and what it was measured on."""
    rows = [["editor", "edits", "seeds", *MEASURES]]
    known = [found for thing in things for found in thing.get("evidence", ())]
    for found in known:
        numbers = [found[name]["mean"] for name in MEASURES]
        shown = ["-" if v is None else format(v, MEASURES[n]) for n, v in zip(MEASURES, numbers, strict=True)]
        rows.append([found["editor"], str(found["edits"]), str(len(found["seeds"])), *shown])
    if not known:
        return []
    widths = [max(len(row[i]) for row in rows) for i in range(len(rows[0]))]
    lines = [
        "  ".join(c.ljust(w) if not i else c.rjust(w) for i, (c, w) in enumerate(zip(row, widths, strict=True)))
        for row in rows
    ]
    first = known[0]
    on = f"{', '.join(first['model'])} on {', '.join(first['stream'])}; {'; '.join(first['hardware'])}"
    seeds = sorted({seed for found in known for seed in found.get("cost seeds", found["seeds"])})
    costs = f"times and bytes are those of seed {', '.join(map(str, seeds))}"
    return [*lines, f"Means over seeds after the last edit, teacher forced, by `make editors`; {costs}: {on}."]


def _streams(options: bool) -> list[dict[str, Any]]:
    from streams.stream import stream_names, stream_options

    models = {name: stream_options(name) for name in stream_names()}
    found = [{"name": n, "about": (m.__doc__ or "").strip().partition("\n")[0]} for n, m in models.items()]
    return [one | {"options": described(models[one["name"]])} for one in found] if options else found


def _models(options: bool) -> list[dict[str, Any]]:
    from lifelong.running.parts import MODEL_NOTES

    return [{"name": name, "about": about} for name, about in MODEL_NOTES.items()]


def _recipes(options: bool) -> list[dict[str, Any]]:
    found = []
    for name in recipe_names():
        path = RECIPES / f"{name}.toml"
        first = path.read_text().splitlines()[0].removeprefix("#").strip()
        found.append({"name": name, "about": first, "kind": "sweep" if "grid" in read_toml(path) else "run"})
    return found


def described(model: type[BaseModel]) -> list[dict[str, Any]]:
    """Return name, default and description of every option of a pydantic model."""
    return [
        {
            "name": name,
            "default": None if field.is_required() else field.get_default(call_default_factory=True),
            "about": field.description or "",
        }
        for name, field in model.model_fields.items()
    ]
