"""The contract every editor must keep, run: which checks apply to an editor class, and the report on one editor.

Used by the tests on every shipped editor and by `lifelong check FILE.py` on a user's own. Knows no editor in
particular; the checks themselves stand in `contract.py`.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from lifelong.editing.checks import sentences as contract
from lifelong.editing.checks.bench import ContractError, Report, Result, Workbench
from lifelong.editing.contract import Editor
from lifelong.editing.find import editor_class

if TYPE_CHECKING:
    from lifelong.models.vlm import VLM


@dataclass(frozen=True)
class Check:
    """One sentence of the contract; `run` raises `ContractError` when an editor breaks it."""

    name: str
    claim: str
    run: Callable[[Workbench], None]


CHECKS: tuple[Callable[[Workbench], None], ...] = (
    contract.says_where_it_comes_from,
    contract.unknown_option_is_an_error,
    contract.class_attributes_make_sense,
    contract.nothing_happens_before_the_first_edit,
    contract.encode_ignores_edits,
    contract.encode_gives_one_row_per_query,
    contract.route_is_pure,
    contract.route_names_stored_edits,
    contract.memos_change_nothing,
    contract.no_answer_leaks_into_routing,
    contract.a_batch_equals_its_rows,
    contract.an_unrouted_query_sees_the_base,
    contract.an_unchanged_route_keeps_the_answer,
    contract.an_answer_may_be_given_later,
    contract.the_base_is_untouched,
    contract.the_base_is_untouched_after_an_error,
    contract.state_goes_on_exactly,
    contract.state_is_plain,
    contract.the_same_seed_gives_the_same_editor,
    contract.removal_restores_the_base,
    contract.order_does_not_matter,
    contract.bytes_grow_with_the_bank,
    contract.what_fit_learnt_can_be_carried_over,
)


def checks_for(kind: type[Editor]) -> list[Check]:
    """Return the checks that an editor class must pass, those of laws it does not declare left out."""
    left_out = set()
    if not kind.routed:
        left_out |= {contract.an_unrouted_query_sees_the_base, contract.an_unchanged_route_keeps_the_answer}
    if not kind.trains:
        left_out.add(contract.what_fit_learnt_can_be_carried_over)
    if not kind.lasting:
        left_out.add(contract.an_answer_may_be_given_later)
    if not kind.append_only:
        left_out.add(contract.order_does_not_matter)
    return [Check(c.__name__, (c.__doc__ or "").strip(), c) for c in CHECKS if c not in left_out]


def check_editor(path_or_name: str, vlm: VLM | None = None, **options: Any) -> Report:
    """Run every check on a shipped editor or on a user's Python file, and report; a tiny random model by default.

    Raises what `editor_class` raises. An exception inside a check is that check's failure.
    """
    kind = editor_class(path_or_name)
    if vlm is None:
        from lifelong.models.tiny import tiny_vlm

        vlm = tiny_vlm()
    bench = Workbench(kind, vlm, options)
    results = [run_check(check, bench) for check in checks_for(kind)]
    name = Path(path_or_name).name if path_or_name.endswith(".py") else path_or_name
    return Report(name, tuple(results))


def run_check(check: Check, bench: Workbench) -> Result:
    """Run one check; every exception becomes a failure with its message."""
    try:
        check.run(bench)
    except ContractError as error:
        return Result(check.name, check.claim, "failed", str(error))
    except Exception as error:  # a user's editor may raise anything: it is reported, not hidden
        return Result(check.name, check.claim, "failed", f"{type(error).__name__}: {error}")
    return Result(check.name, check.claim, "passed")
