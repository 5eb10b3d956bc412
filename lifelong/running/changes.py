"""Changes of a configuration as Python gives them: nested dictionaries and editors that are classes.

Knows dotted keys, and what a class is made of: its source with everything that it names, as a file of its own. So a
class of a notebook is an editor like one in a file: its digest names the run, and processes, `ask` and `--resume`
find it in the cache.
"""

from __future__ import annotations

import ast
import hashlib
import importlib
import inspect
import linecache
import sys
import textwrap
from collections.abc import Mapping
from pathlib import Path
from types import ModuleType
from typing import Any

from lifelong.editing.contract import Editor
from lifelong.editing.find import EDITORS
from lifelong.log.files import write_atomic
from lifelong.running.words import ConfigError

_PLAIN = (int, float, complex, str, bytes, bool, type(None))


def flat_changes(changes: Mapping[str, Any]) -> dict[str, Any]:
    """Return changes by dotted key: a dictionary is what its keys say after a dot, `name` what the part is called.

    >>> flat_changes({"editor": {"name": "grace", "radius": 2}, "panels": {"every": 5}, "seed": 1})
    {'editor': 'grace', 'editor.radius': 2, 'panels.every': 5, 'seed': 1}
    """
    flat: dict[str, Any] = {}
    for key, value in changes.items():
        if isinstance(value, Mapping) and "." not in key:
            flat |= {key if below == "name" else f"{key}.{below}": one for below, one in value.items()}
        else:
            flat[key] = value
    return flat


def with_editor_files(changes: Mapping[str, Any], cache: Path) -> dict[str, Any]:
    """Return changes in which every editor that is a class, alone, in a list or as a `name`, is a name or a file.

    Files are written below `cache`. Raises `ConfigError` for a class that cannot be written to a file.
    """

    def named(value: Any) -> Any:
        if isinstance(value, type):
            return editor_file(value, cache)
        if isinstance(value, Mapping) and isinstance(value.get("name"), type):
            return {**value, "name": editor_file(value["name"], cache)}
        return [named(one) for one in value] if isinstance(value, list | tuple) else value

    return {key: named(value) if key in ("editor", "editor.name") else value for key, value in changes.items()}


def has_class(changes: Mapping[str, Any]) -> bool:
    """Return whether some editor among changes is a class."""
    given = [changes.get("editor"), changes.get("editor.name")]
    for value in given:
        for one in value if isinstance(value, list | tuple) else [value]:
            if isinstance(one, type) or (isinstance(one, Mapping) and isinstance(one.get("name"), type)):
                return True
    return False


def editor_file(kind: type, cache: Path) -> str:
    """Return what names an editor class in a configuration: a shipped name, or a file with its source.

    Called where an editor is given as a class. The file is made below `cache`; its name has the digest of what is in
    it, so that a changed class is another editor. Raises `ConfigError` for what is no editor, and naming what cannot
    be written down.
    """
    if not issubclass(kind, Editor):
        raise ConfigError(f"editor={kind.__name__}: this class is no lifelong.Editor. Derive it from one.")
    if kind.__module__.startswith(f"{EDITORS}."):
        return kind.__module__.split(".")[2]
    text = source_of(kind)
    digest = hashlib.sha256(text.encode()).hexdigest()[:16]
    path = (cache / "editors" / digest / f"{kind.__name__}.py").resolve()
    if not path.is_file() or path.read_text(encoding="utf-8") != text:
        path.parent.mkdir(parents=True, exist_ok=True)
        write_atomic(path, lambda file: file.write(text.encode()))
    return str(path)


def source_of(kind: type) -> str:
    """Return the source of a class with all that it names, as the text of a module that needs nothing else.

    What comes from other modules is imported, classes and functions beside it are written down with it, plain values
    as they are now. Raises `ConfigError` for anything else, and where there is no source.
    """
    imports: dict[str, None] = {}
    bodies: dict[int, str] = {}
    _collect(kind, kind, imports, bodies)
    head = f'"""The editor {kind.__name__}, as it was when it was given as a class."""\n'
    lines = ["from __future__ import annotations", *sorted(imports)]
    return "\n".join([head, *lines, "", *bodies.values()]) + "\n"


def _collect(thing: Any, owner: type, imports: dict[str, None], bodies: dict[int, str]) -> None:
    """Add a class or function with what it names to the module; what it names comes first."""
    if id(thing) in bodies:
        return
    text = _source(thing)
    if not text:
        raise ConfigError(
            f"editor={owner.__name__}: the source of {thing.__name__} cannot be found. Write the class into a Python "
            "file and give that, editor=FILE.py."
        )
    bodies[id(thing)] = ""  # what names itself, or is named by what it names, is not begun twice
    tree = ast.parse(text)
    home = sys.modules.get(thing.__module__)
    known = ({} if home is None else vars(home)) | _enclosed(thing)
    wanted = [n.id for n in ast.walk(tree) if isinstance(n, ast.Name) and isinstance(n.ctx, ast.Load)]
    for name in dict.fromkeys(wanted):
        if name in known and known[name] is not thing:
            _define(name, known[name], thing.__module__, owner, imports, bodies)
    del bodies[id(thing)]
    bodies[id(thing)] = "\n\n" + text.rstrip() + "\n"


def _source(thing: Any) -> str:
    """Return the source of a class or function, '' where there is none.

    A notebook's module has no file: its cells are known by the code of functions, and to `linecache`.
    """
    try:
        return textwrap.dedent(inspect.getsource(thing))
    except (OSError, TypeError):
        cells = [name for name in linecache.cache if name.startswith("<") or "ipykernel" in name]
        own = {f.__code__.co_filename for f in vars(thing).values() if inspect.isfunction(f)}
    for file in [*own.intersection(cells), *reversed(cells)]:
        lines = linecache.getlines(file)
        try:
            tree = ast.parse("".join(lines))
        except SyntaxError:  # a cell with %magic words
            continue
        for node in reversed(list(ast.walk(tree))):
            if isinstance(node, ast.ClassDef) and node.name == thing.__name__:
                first = min([node.lineno, *(decorator.lineno for decorator in node.decorator_list)])
                return textwrap.dedent("".join(lines[first - 1 : node.end_lineno]))
    return ""


def _define(name: str, value: Any, home: str, owner: type, imports: dict[str, None], bodies: dict[int, str]) -> None:
    if isinstance(value, ModuleType):
        imports[f"import {value.__name__} as {name}"] = None
        return
    module, own = getattr(value, "__module__", None), getattr(value, "__qualname__", getattr(value, "__name__", ""))
    if isinstance(module, str) and module != home and _can_be_imported(module, own, value):
        imports[f"from {module} import {own} as {name}"] = None
    elif inspect.isclass(value) or inspect.isfunction(value):
        _collect(value, owner, imports, bodies)
        if value.__name__ != name:
            bodies[hash(("alias", name))] = f"{name} = {value.__name__}\n"
    elif _is_plain(value):
        bodies[hash(("value", name))] = f"{name} = {value!r}\n"
    elif (found := _importable_value(name, value)) is not None:
        imports[found] = None
    else:
        raise ConfigError(
            f"editor={owner.__name__}: it uses {name}, a {type(value).__name__} that cannot be written down. Make it "
            "inside of the class, or write the class into a Python file and give that, editor=FILE.py."
        )


def _enclosed(thing: Any) -> dict[str, Any]:
    """Return the variables around a class or function that its code uses, by name: of its module, and local ones."""
    functions = [thing] if inspect.isfunction(thing) else [f for f in vars(thing).values() if inspect.isfunction(f)]
    found: dict[str, Any] = {}
    for function in functions:
        if function.__module__ == thing.__module__:  # not one that a library put there
            found |= function.__globals__
        for name, cell in zip(function.__code__.co_freevars, function.__closure__ or (), strict=False):
            if name != "__class__":
                found[name] = cell.cell_contents
    return found


def _can_be_imported(module: str, name: str, value: Any) -> bool:
    if module == "__main__" or "." in name or not name.isidentifier():
        return False
    try:
        return getattr(importlib.import_module(module), name, None) is value
    except ImportError:
        return False


def _importable_value(name: str, value: Any) -> str | None:
    """Return an import of a value that typing or torch have under this name (`Any`, `float32`), or None."""
    for module in ("typing", "torch", "numpy", "collections.abc"):
        if getattr(sys.modules.get(module), name, None) is value:
            return f"from {module} import {name}"
    return None


def _is_plain(value: Any) -> bool:
    if isinstance(value, dict):
        return type(value) is dict and all(_is_plain(one) for pair in value.items() for one in pair)
    if type(value) in (list, tuple, set, frozenset):
        return all(map(_is_plain, value))
    return type(value) in _PLAIN and value == value and value not in (float("inf"), float("-inf"))
