"""What a run is called: its editor and those of the editor's options that are not the defaults.

Knows editors' options; nothing about what a run does. A run writes its label into its manifest,
where reports read it.
"""

from __future__ import annotations

import hashlib
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from lifelong.editing.contract import EditorOptions
from lifelong.running.words import words_of

LONGEST = 60  # characters of a label: it stands in legends, in lines of a sweep and in folder names


def label_of(editor: str, options: EditorOptions, named: Mapping[str, EditorOptions] | None = None) -> str:
    """Return a label of an editor and of those of its options that are not the defaults.

    `named` are settings that it stands for, by their names: of several all have to be equal. The label then has
    their names, and only what is otherwise than in them.
    """
    plain = options.model_dump(mode="json")
    fields = type(options).model_fields
    usual = {k: f.get_default(call_default_factory=True) for k, f in fields.items()}
    for setting in (named or {}).values():
        usual = {k: getattr(setting, k) for k in fields}
    changed = {k: plain[k] for k in fields if getattr(options, k) != usual[k]}
    return label_of_words(f"{Path(editor).stem} ({', '.join(named)})" if named else editor, changed)


def label_of_words(editor: str, options: Mapping[str, Any]) -> str:
    """Return a label of an editor and options; of too many, those that fit, how many more, and a digest of all.

    >>> label_of_words("ft", {}), label_of_words("mine/ft2.py", {"all_tokens": False, "rate": 0.5, "layers": [1, 2]})
    ('ft', 'ft2 all_tokens=false rate=0.5 layers=1,2')
    >>> label_of_words("ft", {"weights": "a" * 80, "rate": 0.5})
    'ft rate=0.5 +1 #1fdd'
    """
    words = words_of(options)
    shown = [editor if editor.endswith(")") else Path(editor).stem]
    whole = " ".join([*shown, *words])
    if len(whole) <= LONGEST:
        return whole
    tail = f"#{hashlib.sha256(whole.encode()).hexdigest()[:4]}"
    for word in words:
        if len(" ".join([*shown, word, "+99", tail])) <= LONGEST:
            shown.append(word)
    return " ".join([*shown, f"+{len(words) + 1 - len(shown)}", tail])
