"""An editor found by its name, or loaded from a user's file. The one place that knows where editors lie."""

from __future__ import annotations

import ast
import hashlib
import importlib.util
import inspect
import pkgutil
import sys
from pathlib import Path
from types import ModuleType

from lifelong.editing.contract import Editor
from streams.near import near

EDITORS = "lifelong.editors"  # the folder of those that ship; nothing imports it by a statement
USERS = "lifelong_user_"  # what the names of modules made of users' files begin with


class UnknownEditorError(ValueError):
    """No editor has this name; the message names the near ones."""


def editor_names() -> list[str]:
    """Return the names of all editors that ship with the package, sorted."""
    folder = importlib.import_module(EDITORS).__path__
    return sorted(m.name for m in pkgutil.iter_modules(folder) if not m.name.startswith("_"))


def editor_line(name: str) -> str:
    """Return the first line of what a shipped editor says of itself, read from its source: nothing is imported.

    An editor imports torch; a list of names and lines should not take seconds for that.
    """
    folder = Path(importlib.import_module(EDITORS).__path__[0])
    file = next(path for path in (folder / f"{name}.py", folder / name / "__init__.py") if path.is_file())
    module = ast.parse(file.read_text(encoding="utf-8"))
    classes = [n for n in module.body if isinstance(n, ast.ClassDef) and n.bases and not n.name.startswith("_")]
    own = [n for n in classes if not n.name.endswith(("Options", "Error"))]
    return (ast.get_docstring(own[-1] if own else module) or "").partition("\n")[0]


def editor_class(name: str) -> type[Editor]:
    """Return the editor class of a shipped name or of a Python file.

    Raises `UnknownEditorError` with near names, `FileNotFoundError`, or `ValueError` when the module does not define
    exactly one editor (those that another one of it is derived from do not count).
    """
    if name.endswith(".py"):
        module = _module_of(Path(name))
    else:
        if name not in editor_names():
            raise UnknownEditorError(f"No editor is called {name!r}.{near(name, editor_names())}")
        module = importlib.import_module(f"{EDITORS}.{name}")
    found = [
        c
        for c in vars(module).values()
        if inspect.isclass(c)
        and issubclass(c, Editor)
        and not inspect.isabstract(c)
        and c is not Editor
        and c.__module__.startswith(module.__name__)
    ]
    found = [c for c in found if not any(other is not c and issubclass(other, c) for other in found)]
    if len(found) != 1:
        names = ", ".join(c.__name__ for c in found) or "none"
        raise ValueError(
            f"editor={name}: the module must define exactly one Editor class, with its `edit`; found {names}."
        )
    return found[0]


def _module_of(path: Path) -> ModuleType:
    """Return a user's file as a module; a file that has not changed is loaded once."""
    if not path.is_file():
        raise FileNotFoundError(f"editor={path}: no such file. Give a path to a Python file with one Editor class.")
    source = str(path.resolve()).encode() + path.read_bytes()
    name = f"{USERS}{path.stem}_{hashlib.sha256(source).hexdigest()[:12]}"
    if name in sys.modules:
        return sys.modules[name]
    spec = importlib.util.spec_from_file_location(name, path)
    if spec is None or spec.loader is None:
        raise ValueError(f"editor={path}: Python cannot load this file as a module.")
    module = importlib.util.module_from_spec(spec)
    sys.modules[name] = module  # annotations, dataclasses and `inspect` look a class's module up there
    try:
        spec.loader.exec_module(module)
    except BaseException as error:  # a user's file may raise anything: what and where it was is all that helps
        del sys.modules[name]
        if not isinstance(error, Exception):
            raise
        said = f"{type(error).__name__}: {error}"
        raise ValueError(
            f"editor={path}: this file cannot be run ({said}). Mend it and try `lifelong check`."
        ) from error
    return module
