"""The contract as a class of tests, so that a user's own test suite inherits it. Only this file needs pytest.

    from lifelong.editing.checks.suite import EditorContract

    class TestMine(EditorContract):
        editor = "mine.py"
        options = {"least": 0.9}

gives one test for each sentence of the contract. Knows no editor in particular; the checks are those of `check`.
"""

from __future__ import annotations

import inspect
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any, ClassVar

import pytest

from lifelong.editing.checks.bench import Workbench
from lifelong.editing.checks.check import CHECKS, Check
from lifelong.editing.contract import Editor
from lifelong.editing.find import editor_class

if TYPE_CHECKING:
    from lifelong.models.vlm import VLM


class EditorContract:
    """Base of a test class that holds one editor to the contract; a sentence that does not apply is skipped.

    `editor` is a class, a shipped name or a Python file (looked for beside the test first); `options` are its own.
    """

    editor: ClassVar[str | type[Editor]]
    options: ClassVar[Mapping[str, Any]] = {}
    _bench: ClassVar[Workbench | None] = None

    @classmethod
    def model(cls) -> VLM:
        """Return the model that is edited, once for each class; a tiny random one unless a subclass makes another."""
        from lifelong.models.tiny import tiny_vlm

        return tiny_vlm()

    @classmethod
    def workbench(cls) -> Workbench:
        """Return what all tests of this class work with: one model, and an editor that is fitted once."""
        bench = cls.__dict__.get("_bench")  # its own, not that of a class it derives from
        if bench is None:
            bench = cls._bench = Workbench(cls._kind(), cls.model(), cls.options)
        return bench

    @classmethod
    def _kind(cls) -> type[Editor]:
        if not isinstance(cls.editor, str):
            return cls.editor
        beside = Path(inspect.getfile(cls)).parent / cls.editor
        return editor_class(str(beside) if beside.is_file() else cls.editor)

    @pytest.mark.parametrize("check", CHECKS, ids=lambda check: check.name)
    def test_contract(self, check: Check) -> None:
        """One sentence of the contract; its name is the test's."""
        bench = self.workbench()
        reason = check.reason_to_skip(bench.kind, bench.settings)
        if reason:
            pytest.skip(reason)
        check.run(bench)
