"""Scorers: hand-computed cases, and parity with the published evaluation functions where the vectors are present."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from lifelong.probing import scorers

GOLDEN = Path(__file__).parents[3] / "shared" / "golden" / "metrics"


@pytest.fixture(scope="module")
def golden() -> tuple[dict, dict]:
    if not (GOLDEN / "case.json").is_file():
        pytest.skip("no golden vectors beside the repository (../shared/golden/metrics)")
    from safetensors.numpy import load_file

    return json.loads((GOLDEN / "case.json").read_text()), load_file(GOLDEN / "logits.safetensors")


def ordered(logits: np.ndarray, k: int = 10) -> np.ndarray:
    return np.argsort(-logits, axis=-1, kind="stable")[..., :k]


def test_answers_are_compared_after_nfc_case_folding_and_collapsing_spaces():
    assert scorers.exact_match(" Cafe\u0301  NOIR\n", ["x", "café noir"]) == 1.0
    assert scorers.exact_match("cafe noir", ["café noir"]) == 0.0
    assert scorers.agreement("STRASSE", "straße") == 1.0


def test_token_accuracy_is_the_share_of_right_tokens():
    assert scorers.token_accuracy(np.array([4, 5, 6]), np.array([4, 9, 6])) == pytest.approx(2 / 3)
    assert scorers.token_accuracy(np.array([]), np.array([])) == 1.0
    with pytest.raises(ValueError, match="one and the same target"):
        scorers.token_accuracy(np.array([1, 2]), np.array([1]))


def test_ordered_top_lists_count_a_swap_twice_and_align_at_the_end():
    before = np.array([[9, 9, 9], [1, 2, 3], [4, 5, 6]])
    after = np.array([[1, 3, 2], [4, 5, 6]])
    assert scorers.locality_top_all(before, after, 1) == 1.0
    assert scorers.locality_top_all(before, after, 3) == pytest.approx(4 / 6)
    with pytest.raises(ValueError, match="at least 4"):
        scorers.locality_top_all(before, after, 4)


def test_decoding_follows_a_target_up_to_the_first_other_token():
    assert scorers.followed([1, 2, 0], np.array([1, 2, 0])) == [1, 2, 0]
    assert scorers.followed(np.array([1, 2, 0]), [1, 3, 0]) == [1]


@pytest.mark.parametrize(
    ("a", "b"),
    [
        ("12", "\uff11\uff12"),
        ("90's", "90\u2019s"),
        ("don\u00b4t", "don't"),
        ("kitchen brigade", "kitchen\u200b brigade"),
        ("38.5", "\ufeff38.5"),
        ("\u2764", "\u2764\ufe0f"),
        ("istanbul", "\u0130STANBUL"),
        ("co-operate", "co\u2010oper\u00adate"),
        ("\u22125", "-5"),
        ("\u201cyes\u201d", '"YES"'),
        ("1/2", "\u00bd"),
        ("m2", "m\u00b2"),
        ("\u202bshalom\u202c", "shalom"),
        ("e\u200d\u0301t\u00e9", "\u00e9t\u00e9"),
    ],
)
def test_answers_that_read_alike_are_equal(a, b):
    assert scorers.exact_match(a, [b]) == scorers.exact_match(b, [a]) == scorers.agreement(a, b) == 1.0


@pytest.mark.parametrize(
    ("a", "b"),
    [
        ("-5", "5"),
        ("1.5", "15"),
        ("resume", "r\u00e9sum\u00e9"),
        ("\u0662", "2"),
        (
            "\U0001f3f4\U000e0067\U000e0062\U000e0065\U000e006e\U000e0067\U000e007f",
            "\U0001f3f4\U000e0067\U000e0062\U000e0073\U000e0063\U000e0074\U000e007f",
        ),
    ],
)
def test_answers_that_mean_something_else_are_not_equal(a, b):
    assert scorers.exact_match(a, [b]) == 0.0


@given(st.text(max_size=12), st.text(max_size=12))
def test_a_normal_form_is_final_and_matching_is_symmetric(a, b):
    assert scorers.normalise(scorers.normalise(a)) == scorers.normalise(a)
    assert scorers.exact_match(a, [b]) == scorers.exact_match(b, [a])
    assert scorers.exact_match(a, [f" {a}\u200b"]) == 1.0


def test_what_an_answer_says_after_the_lines_of_the_accepted_one_does_not_count():
    assert scorers.line_match("Anna\nBert\nCarl", ["x", "Anna\nBert"]) == 1.0
    assert scorers.line_match("Anna", ["Anna\nBert"]) == scorers.line_match("", []) == 0.0


def test_golden_token_accuracy_and_nll_of_shifted_full_length_labels(golden):
    """One sample at a time, as the official loops run, the pooled numbers are those of each row."""
    case, tensors = golden
    logits, labels = tensors["S.logits"][:, :-1], tensors["S.labels"][:, 1:].astype(int)
    expected = case["cases"]["S"]
    hits = logprobs = 0.0
    for row, (lg, lb) in enumerate(zip(logits, labels, strict=True)):
        scored = lb != -100
        argmax, target = lg.argmax(-1)[scored], lb[scored]
        accuracy = scorers.token_accuracy(target, argmax)
        assert accuracy == pytest.approx(expected["per_row_token_accuracy_own_reference"][row], abs=1e-6)
        log_p = lg - np.log(np.exp(lg.astype(np.float64)).sum(-1, keepdims=True))
        hits += accuracy * scored.sum()
        logprobs += scorers.nll(log_p[scored, target]) * scored.sum()
    n = expected["expected"]["scored_tokens"]
    assert hits / n == pytest.approx(expected["expected"]["token_accuracy"], abs=1e-6)
    assert logprobs / n == pytest.approx(expected["expected"]["nll"], abs=1e-5)


def test_golden_locality_over_all_positions(golden):
    case, tensors = golden
    for item in case["cases"]["locality_all_positions"]:
        pre, post = tensors[item["case"] + ".pre"], tensors[item["case"] + ".post"]
        for k in (1, 10):
            rows = [scorers.locality_top_all(ordered(a), ordered(b), k) for a, b in zip(pre, post, strict=True)]
            assert np.mean(rows) == pytest.approx(item["expected"][f"top{k}_all_positions"], abs=1e-6)


def test_golden_accuracy_and_top1_locality_on_answer_windows(golden):
    case, tensors = golden
    expected = case["cases"]["Q"]
    for i in range(expected["samples"]):
        ids, mask = tensors[f"Q{i}.ids"].astype(int), tensors[f"Q{i}.mask"] > 0
        post, pre = (tensors[f"Q{i}.{name}"][-len(ids) :].argmax(-1)[mask] for name in ("post", "pre"))
        assert scorers.token_accuracy(ids[mask], post) == pytest.approx(expected["token_accuracy"][i], abs=1e-6)
        same = scorers.locality_top1_answer(pre, post)
        assert same == pytest.approx(expected["locality_top1_answer"][i], abs=1e-6)
