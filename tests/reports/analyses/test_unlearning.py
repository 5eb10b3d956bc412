"""Unlearning on made-up answers about edits that were taken back."""

from __future__ import annotations

import polars as pl
import pytest

from reports.analyses.unlearning import kept_apart_from, unlearnt


def run(editor: str, gone: int, edits: int = 10, agree: float = 1.0) -> tuple[pl.DataFrame, ...]:
    """A run whose first `gone` edits were taken back and now agree with the base to a share; the others are kept."""
    base = {"editor": editor, "seed": 0}
    probed = [
        base | {"step": edits, "probe_id": f"p{i}", "edit_id": f"e{i}", "axis": "reliability", "scorer": "generated",
                "age": edits - 1 - i,
                "variant": "withdrawn" if i < gone else "edit",
                "score": float(i < agree * gone) if i < gone else 1.0}
        for i in range(edits)
    ]  # fmt: skip
    edited = [base | {"step": i + 1, "edit_id": f"e{i}"} for i in range(edits)]
    back = [base | {"step": edits, "name": f"e{i}", "value": float(i < gone)} for i in range(gone + 1)]
    return pl.DataFrame(probed), pl.DataFrame([base | {"step": edits}]), pl.DataFrame(edited), pl.DataFrame(back)


def test_shares_of_edits_taken_back_are_points_of_one_curve() -> None:
    runs = [run("grace withdrawals.rate=0.1", 1), run("grace withdrawals.rate=0.5", 5, agree=0.6), run("rag", 0)]
    found = unlearnt(*(pl.concat(parts) for parts in zip(*runs, strict=True)))
    agreement = found.filter(pl.col("measure") == "agreement")
    assert agreement.select("curve", "share", "mean", "gone").rows() == [
        ("grace", 0.1, 1.0, 1),
        ("grace", 0.5, 0.6, 5),
    ]
    assert set(found.filter(pl.col("measure") == "retention")["mean"]) == {1.0}  # the refused one counts as standing
    assert set(found["curve"]) == {"grace"}


@pytest.mark.parametrize(
    "words", ["withdrawals=poisson", "withdrawals.rate=0.5", "withdrawals.rate=0.5 withdrawals=x"]
)
def test_only_words_on_withdrawals_are_left_out(words: str) -> None:
    assert kept_apart_from(f"grace radius=2.0 {words}") == "grace radius=2.0"
