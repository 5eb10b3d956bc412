"""The contract every editor must keep, run: which checks apply to an editor class, and the report on one editor.

Used by `lifelong check FILE.py` on a user's own editor and by the tests on every shipped one (`suite` makes the same
checks a user's own tests). Knows no editor in particular; the checks themselves are in `sentences`.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from lifelong.editing.checks import sentences
from lifelong.editing.checks.bench import ContractError, Report, Result, Workbench
from lifelong.editing.contract import Editor, EditorOptions
from lifelong.editing.find import editor_class

if TYPE_CHECKING:
    from lifelong.models.vlm import VLM


@dataclass(frozen=True)
class Check:
    """One sentence of the contract; `run` raises `ContractError` when an editor breaks it.

    `needs` is the promise that it holds an editor to; one that does not make that promise need not keep it.
    """

    run: Callable[[Workbench], None]
    needs: str = ""

    @property
    def name(self) -> str:
        """What reports and tests call it."""
        return self.run.__name__

    @property
    def claim(self) -> str:
        """The sentence."""
        return (self.run.__doc__ or "").strip()

    def reason_to_skip(self, kind: type[Editor], options: EditorOptions | None = None) -> str:
        """Return why the check does not apply to an editor class (with options), or an empty text where it does."""
        if not self.needs:
            return ""
        routed = kind.routed if options is None else kind.routed_by(options)
        promised = routed if self.needs == "routed" else getattr(kind, self.needs)
        return "" if promised else f"{kind.__name__} does not promise it: {self.needs} = False"


CHECKS = (
    Check(sentences.says_where_it_comes_from),
    Check(sentences.unknown_option_is_an_error),
    Check(sentences.class_attributes_make_sense),
    Check(sentences.nothing_happens_before_the_first_edit),
    Check(sentences.an_edit_changes_something),
    Check(sentences.a_change_leaves_a_mark),
    Check(sentences.encode_ignores_edits),
    Check(sentences.encode_gives_one_row_per_query),
    Check(sentences.route_is_pure),
    Check(sentences.route_names_stored_edits),
    Check(sentences.memos_change_nothing),
    Check(sentences.best_scores_are_numbers),
    Check(sentences.no_answer_leaks_into_routing),
    Check(sentences.a_batch_equals_its_rows),
    Check(sentences.an_unrouted_query_sees_the_base, needs="routed"),
    Check(sentences.an_unchanged_route_keeps_the_answer, needs="routed"),
    Check(sentences.an_answer_may_be_given_later, needs="lasting"),
    Check(sentences.the_base_is_untouched),
    Check(sentences.the_base_is_untouched_after_an_error),
    Check(sentences.state_goes_on_exactly),
    Check(sentences.state_is_plain),
    Check(sentences.the_same_seed_gives_the_same_editor),
    Check(sentences.removal_restores_the_base),
    Check(sentences.a_newer_answer_takes_the_older_ones_place, needs="replaces"),
    Check(sentences.order_does_not_matter, needs="append_only"),
    Check(sentences.bytes_grow_with_the_bank),
    Check(sentences.what_fit_learnt_can_be_carried_over, needs="trains"),
)


def checks_for(kind: type[Editor], options: EditorOptions | None = None) -> list[Check]:
    """Return the checks that an editor class (with options) must pass, without those of promises it does not make."""
    return [check for check in CHECKS if not check.reason_to_skip(kind, options)]


def check_editor(editor: str | type[Editor], vlm: VLM | None = None, **options: Any) -> Report:
    """Run every check on a shipped editor, a user's Python file or a class; a tiny random model by default.

    Raises what `editor_class` raises, and `ValueError` for options that the editor does not have. An exception inside
    a check is that check's failure.
    """
    kind = editor_class(editor) if isinstance(editor, str) else editor
    if not (isinstance(kind, type) and issubclass(kind, Editor)):
        raise TypeError(f"editor={kind!r}: expected a shipped name, a Python file or a class derived from Editor.")
    if vlm is None:
        from lifelong.models.tiny import tiny_vlm

        vlm = tiny_vlm()
    bench = Workbench(kind, vlm, options)
    results = [run_check(check, bench) for check in checks_for(kind, bench.settings)]
    name = editor if isinstance(editor, str) else kind.__name__
    return Report(Path(name).name if name.endswith(".py") else name, tuple(results))


def run_check(check: Check, bench: Workbench) -> Result:
    """Run one check; every exception becomes a failure with its message."""
    try:
        check.run(bench)
    except ContractError as error:
        return Result(check.name, check.claim, "failed", str(error))
    except Exception as error:  # a user's editor may raise anything: it is reported, not hidden
        return Result(check.name, check.claim, "failed", f"{type(error).__name__}: {error}")
    return Result(check.name, check.claim, "passed")
