"""Plain tables as TOML text (the standard library only reads it); knows nothing about what the keys mean."""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import Any


def to_toml(table: Mapping[str, Any], prefix: str = "") -> str:
    """Return nested plain tables as TOML text; None values are left out.

    >>> print(to_toml({"seed": 1, "editor": {"name": "grace"}}), end="")
    seed = 1
    <BLANKLINE>
    [editor]
    name = "grace"
    """
    scalars = {k: v for k, v in table.items() if not isinstance(v, Mapping) and v is not None}
    text = "".join(f"{_toml_key(k)} = {_toml_value(v)}\n" for k, v in scalars.items())
    for key, below in table.items():
        if isinstance(below, Mapping):
            name = f"{prefix}{_toml_key(key)}"
            text += f"\n[{name}]\n" + to_toml(below, f"{name}.")
    return text


def _toml_key(key: str) -> str:
    return key if key.replace("_", "").replace("-", "").isalnum() else json.dumps(key)


def _toml_value(value: Any) -> str:
    if isinstance(value, list | tuple):
        return "[" + ", ".join(_toml_value(v) for v in value) + "]"
    if isinstance(value, str | bool):
        return json.dumps(value, ensure_ascii=False)
    return repr(value)
