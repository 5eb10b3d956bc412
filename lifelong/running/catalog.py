"""What there is to choose from: editors, streams, models, recipes, and every key of a run, as plain objects."""

from __future__ import annotations

import itertools
import json
import re
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from pydantic import BaseModel
from pydantic.fields import FieldInfo

from lifelong.running.config import MAYBE, RECIPES, FitOptions, Panels, RunConfig, recipe_names
from lifelong.running.options import CLOCKS, MODEL_OPTIONS, options_model
from lifelong.running.settings import named_settings
from lifelong.running.words import ConfigError, read_toml
from streams.near import near
from streams.problems import default_of, expected_words
from streams.times.arrivals import arrival_names
from streams.times.process_options import ProcessOptions
from streams.times.processes import AS_RECORDED
from streams.times.traffic import TrafficOptions

EVIDENCE = Path(__file__).parents[1] / "editors" / "evidence.json"
"""What the report of `make editors` says of every editor; shipped with the package."""


def listing(kind: str, *, options: bool = False) -> list[dict[str, Any]]:
    """Return one object with `name` and `about` for each thing of a kind; raises `ConfigError` for another kind.

    With `options` editors and streams tell theirs, too, and editors whether they route, remove and train: they are
    imported for that, which takes seconds.
    """
    makers = {"editors": _editors, "keys": _keys, "streams": _streams, "models": _models, "recipes": _recipes}
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
        one["settings"] = named_settings(kind, str(one["name"]))
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


def _streams(options: bool) -> list[dict[str, Any]]:
    from streams.stream import stream_names, stream_options

    models = {name: stream_options(name) for name in stream_names()}
    found = [{"name": n, "about": (m.__doc__ or "").strip().partition("\n")[0]} for n, m in models.items()]
    return [one | {"options": described(models[one["name"]])} for one in found] if options else found


def _models(options: bool) -> list[dict[str, Any]]:
    from lifelong.running.parts import MODEL_NOTES

    found = [{"name": name, "about": about} for name, about in MODEL_NOTES.items()]
    return [one | {"options": described(MODEL_OPTIONS[one["name"]])} for one in found] if options else found


def _recipes(options: bool) -> list[dict[str, Any]]:
    found = []
    for name in recipe_names():
        path = RECIPES / f"{name}.toml"
        kind = "sweep" if "grid" in read_toml(path) else "run"
        found.append({"name": name, "about": first_sentence(path.read_text(encoding="utf-8")), "kind": kind})
    return found


def first_sentence(text: str) -> str:
    """Return the first sentence of the comment that a recipe begins with.

    >>> first_sentence("# One editor,\\n# 1.5 times. More.\\nedits = 1")
    'One editor, 1.5 times.'
    """
    lines = itertools.takewhile(lambda line: line.startswith("#"), text.splitlines())
    whole = " ".join(line.lstrip("#").strip() for line in lines)
    return re.split(r"(?<=[.!?])\s+(?=[A-Z`\d])", whole, maxsplit=1)[0]


def _keys(options: bool) -> list[dict[str, Any]]:
    """Return every key of a run with what it takes, its default and a line; of parts with options, those as well."""
    found = []
    for key, field in RunConfig.model_fields.items():
        below = {"panels": Panels, "fit": FitOptions}.get(key)
        if key != "fit":
            found.append(_described(key, field))
        if below is not None:
            found += [_described(f"{key}.{name}", one) for name, one in below.model_fields.items()]
        elif key in _LISTED:
            if key == "editor":
                about = "options as in its paper, or as trials chose them; others said beside it count first"
                found.append(
                    {"name": "editor.setting", "takes": "published or tuned", "default": None, "about": about}
                )
            about = f"{_LISTED[key]} has its own: `lifelong list {key}s --options`"
            found.append({"name": f"{key}.*", "takes": "options", "default": None, "about": about})
        elif key in ("clock", "arrivals"):
            found += _options_of(key)
        elif key in MAYBE:
            asked = TrafficOptions.model_fields if key == "queries" else {}
            found += [_described(f"{key}.{name}", one) for name, one in (ProcessOptions.model_fields | asked).items()]
            found.append({"name": f"{key}.*", "takes": "options", "default": None, "about": "those of `arrivals`"})
    return found


def _options_of(key: str) -> list[dict[str, Any]]:
    """The options of all clocks or arrival processes; which ones have it stands before an option's line."""
    names = list(CLOCKS) if key == "clock" else arrival_names()
    models = {name: options_model(key, name) for name in names}
    fields: dict[str, tuple[FieldInfo, list[str]]] = {}
    for name, model in models.items():
        for option, field in model.model_fields.items():
            fields.setdefault(option, (field, []))[1].append(name)
    found = []
    for option, (field, having) in fields.items():
        of_some = len(having) < len(names) - len(AS_RECORDED) and f"{key}={' or '.join(having)}: "
        found.append(_described(f"{key}.{option}", field, of_some or ""))
    return found


_LISTED = {"editor": "an editor", "stream": "a stream", "model": "a model"}


def described(model: type[BaseModel]) -> list[dict[str, Any]]:
    """Return name, what it takes, default and description of every option of a pydantic model."""
    return [_described(name, field) for name, field in model.model_fields.items()]


def _described(name: str, field: FieldInfo, before: str = "") -> dict[str, Any]:
    default = default_of(field)
    if isinstance(default, Mapping):
        default = default.get("name")  # of a part its name; of panels and fit their keys say it
    about = f"{before}{field.description or ''}"
    return {"name": name, "takes": expected_words(field), "default": default, "about": about}
