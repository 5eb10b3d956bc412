"""An editor's settings by name: `published`, as in its paper, and `tuned`, as trials chose (`editor.setting=NAME`).

Knows that an editor declares the first and that a file of the recipes holds the second, one an editor: a new tuning
changes that file and nothing else. What was tuned on a model of its own lies in a folder of the model's name, which
counts there. Knows nothing of what an option means.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from lifelong.editing.contract import Editor, EditorOptions
from lifelong.running.config import RECIPES, NamedPart
from lifelong.running.labels import label_of
from lifelong.running.parts import options_of
from lifelong.running.words import ConfigError, read_toml
from streams.near import near

KEY = "setting"
SETTINGS = ("published", "tuned")
TUNED = RECIPES / "tuned"


@dataclass(frozen=True)
class Settled:
    """An editor's options, checked, with those of a named setting beneath; the label that tells of it, else ''."""

    options: EditorOptions
    label: str


def settled_part(kind: type[Editor], part: NamedPart, model: str = "") -> Settled:
    """Return the options of a configuration's editor on a model, by its name; called before they are used.

    `setting` among them stands for the options of that name, and what is said beside it counts first. Raises
    `ConfigError` for a setting that the editor does not have.
    """
    if KEY not in part.options:
        return Settled(options_of(kind, part.options), "")
    if KEY in kind.Options.model_fields:
        raise ConfigError(f"editor={part.name}: call its option {KEY!r} otherwise: every editor has editor.{KEY}.")
    name = part.options[KEY]
    found = named_settings(kind, part.name, model)
    if not isinstance(name, str) or name not in found:
        raise ConfigError(_no_setting(kind, part.name, name))
    own = {key: value for key, value in part.options.items() if key != KEY}
    options = options_of(kind, {**found[name], **own})
    named = {one: options_of(kind, given) for one, given in found.items()}
    same = {one: known for one, known in named.items() if known == named[name]}
    return Settled(options, label_of(part.name, options, same))


def named_settings(kind: type[Editor], editor: str, model: str = "") -> dict[str, dict[str, Any]]:
    """Return an editor's settings by name, each as the options that are not the defaults; {} where it has none."""
    found = {"published": dict(kind.published)} if kind.published is not None else {}
    tuned = tuned_options(editor, model)
    return found if tuned is None else {**found, "tuned": tuned}


def tuned_options(editor: str, model: str = "") -> dict[str, Any] | None:
    """Return the options that trials chose for an editor, None where there were no trials.

    Those on the model of that name where there were some, else those on the embedded model.
    """
    for folder in (TUNED / model, TUNED) if model in _tuned_models() else (TUNED,):
        if editor in tuned_names(folder):
            part: Mapping[str, Any] = read_toml(folder / f"{editor}.toml").get("editor", {})
            return {key: value for key, value in part.items() if key != "name"}
    return None


def _tuned_models() -> list[str]:
    return [path.name for path in TUNED.iterdir() if path.is_dir()]


def settings_told(label: str, editor: str) -> str:
    """Return which named settings a run's label tells of, '' where it tells of none.

    >>> settings_told("ft (tuned) rate=0.5", "ft"), settings_told("grace radius=2", "grace")
    ('tuned', '')
    """
    found = re.match(rf"{re.escape(Path(editor).stem)} \(([a-z, ]+)\)(?: |$)", label)
    return found[1] if found and set(found[1].split(", ")) <= set(SETTINGS) else ""


def tuned_names(folder: Path | None = None) -> list[str]:
    """Return the names of the editors that were tuned, sorted; `folder` is that of one model."""
    return sorted(path.stem for path in (folder or TUNED).glob("*.toml"))


def _no_setting(kind: type[Editor], editor: str, name: Any) -> str:
    if name not in SETTINGS:
        return f"editor.{KEY}={name}: there is no such setting.{near(str(name), SETTINGS)}"
    if name == "published":
        return f"editor.{KEY}=published: editor={editor} is no published method. Leave the setting out."
    usual = f"`lifelong tune {editor}` chooses options: give those." if kind.searched else "Leave the setting out."
    return f"editor.{KEY}=tuned: editor={editor} was not tuned; tuned are {', '.join(tuned_names())}. {usual}"
