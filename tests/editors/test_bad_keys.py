"""A key that holds no number is refused before anything changes, and the edit is named."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

from lifelong.editing.contract import Keys
from lifelong.editing.find import editor_class
from streams.types import Edit, Query


@pytest.mark.parametrize("name", ["grace", "melo", "lemoe", "rag"])
@pytest.mark.parametrize("bad", [np.nan, np.inf])
def test_an_edit_whose_key_is_no_number_is_named_and_not_stored(name: str, bad: float, tiny_vlm, monkeypatch) -> None:
    editor: Any = editor_class(name)(tiny_vlm)
    encode = editor.encode
    monkeypatch.setattr(
        editor, "encode", lambda queries: Keys({n: a * bad for n, a in encode(queries).arrays.items()})
    )
    if name == "rag":
        monkeypatch.setattr(editor.book, "stored", lambda edits: np.full((1, editor.book.width), bad))
    with pytest.raises(FloatingPointError, match="edit one|'one'"):
        editor.edit([Edit("one", Query("Who is it?"), "Ann", "s")])
    assert editor.bank_len() == 0
    editor.close()
