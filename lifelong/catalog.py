"""What there is to choose from: editors, streams, models, recipes, as plain objects with a name."""

from __future__ import annotations

from typing import Any

from lifelong.config import RECIPES, ConfigError, near, read_toml, recipe_names

KINDS = ("editors", "streams", "models", "recipes")


def listing(kind: str) -> list[dict[str, Any]]:
    """Return one object with `name` and `about` for each thing of a kind; raises `ConfigError` for another kind."""
    makers = {"editors": _editors, "streams": _streams, "models": _models, "recipes": _recipes}
    if kind not in makers:
        raise ConfigError(f"{kind!r} cannot be listed.{near(kind, makers)}")
    return makers[kind]()


def _editors() -> list[dict[str, Any]]:
    from lifelong.editor import editor_class, editor_names
    from lifelong.parts import describe, options_of

    found = []
    for name in editor_names():
        cls = editor_class(name)
        traits = {"routed": cls.routed, "removes": cls.removes, "trains": cls.trains}
        found.append({"name": name, "about": describe(cls.__doc__), **traits, "options": options_of(cls.Options)})
    return found


def _streams() -> list[dict[str, Any]]:
    from lifelong.parts import describe, options_of
    from streams.stream import stream_names, stream_options

    models = {name: stream_options(name) for name in stream_names()}
    return [{"name": n, "about": describe(m.__doc__), "options": options_of(m)} for n, m in models.items()]


def _models() -> list[dict[str, Any]]:
    from lifelong.parts import MODEL_NOTES

    return [{"name": name, "about": about} for name, about in MODEL_NOTES.items()]


def _recipes() -> list[dict[str, Any]]:
    found = []
    for name in recipe_names():
        path = RECIPES / f"{name}.toml"
        first = path.read_text().splitlines()[0].removeprefix("#").strip()
        found.append({"name": name, "about": first, "kind": "sweep" if "grid" in read_toml(path) else "run"})
    return found
