"""KE's weight change on hand-made tensors, its constraint, and the editor on a tiny random model."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
import torch

from lifelong.editing.contract import CollapseError
from lifelong.editing.weights.hypernet import Factors
from lifelong.editors.ke import KeOptions, KnowledgeEditor
from lifelong.editors.ke.network import Condition, GradientHead, size_of
from streams.stream import load_stream
from streams.types import Edit, ImageRef, Query

EDIT = Edit("a", Query("Who made this bowl?", ImageRef("noise:a", "a")), "Ann", "bowl")
SMALL: dict[str, Any] = {"condition": 32, "hidden": 16, "head": 16}


def factors(rows: int = 2, terms: int = 4, out: int = 3, wide: int = 5) -> Factors:
    return Factors(
        torch.randn(rows, terms, out), torch.randn(rows, terms, wide), torch.ones(rows, terms, dtype=torch.bool)
    )


def test_the_change_is_the_papers_formula():
    torch.manual_seed(0)
    head, condition, gradient = GradientHead(5, 3, condition=6, hidden=7, max_scale=2.0), torch.randn(2, 6), factors()
    change = head(gradient, condition)
    alpha, gamma, beta, delta, eta = head.read(condition).split([3, 5, 3, 5, 1], dim=-1)
    for i in range(2):
        dense = torch.einsum("to,ti->oi", gradient.left[i], gradient.right[i])
        mask, shift = torch.outer(alpha[i].softmax(0), gamma[i]), torch.outer(beta[i].softmax(0), delta[i])
        wanted = 2.0 * torch.sigmoid(eta[i]) * (dense * mask + shift)
        torch.testing.assert_close(change.take([i]).dense(), wanted)


def test_the_norm_of_a_change_needs_no_matrix():
    change = factors()
    wanted = torch.stack([change.take([i]).dense().norm() for i in range(2)])
    torch.testing.assert_close(size_of(change), wanted)


def test_a_condition_does_not_depend_on_the_other_sentences():
    reader, sentences = Condition(8, hidden=4, condition=6), [torch.randn(n, 8) for n in (3, 9, 5)]
    together = reader(sentences)
    torch.testing.assert_close(together[1:2], reader(sentences[1:2]))
    assert together.shape == (3, 6) and bool((together.abs() <= 1).all())


def nll(editor: KnowledgeEditor, edit: Edit) -> float:
    with editor.applied([edit.query], editor.route(editor.encode([edit.query]))) as answerer:
        return answerer.score([edit.target])[0].nll


def gain(editor: KnowledgeEditor, edits) -> float:
    gains, start = [], editor.state()
    for edit in edits:
        before = nll(editor, edit)
        editor.edit([edit])
        gains.append(before - nll(editor, edit))
        editor.load(start)
    return float(np.mean(gains))


def test_training_beats_the_untrained_network(tiny_vlm):
    stream = load_stream("toy", edits=8, seed=1)
    options = KeOptions(steps=60, batch=8, first_layer=0.5, learning_rate=3e-3, dual_rate=0.0, **SMALL)
    trained, fresh = KnowledgeEditor(tiny_vlm, options), KnowledgeEditor(tiny_vlm, options)
    trained.fit(stream.pool(64, 0))
    assert gain(trained, stream.edits) > gain(fresh, stream.edits) + 0.2


def test_the_constraint_keeps_changes_small(tiny_vlm):
    stream, sizes = load_stream("toy", edits=4, seed=1), {}
    for rate in (0.0, 10.0):
        options = KeOptions(
            steps=30, batch=8, learning_rate=3e-3, constraint="norm", dual_rate=rate, margin_floor=1e-7, **SMALL
        )
        editor = KnowledgeEditor(tiny_vlm, options)
        editor.fit(stream.pool(32, 0))
        editor.edit([EDIT])
        sizes[rate] = sum(float((w - editor.weights.base[n]).norm()) for n, w in editor.weights.now.items())
    assert sizes[10.0] < sizes[0.0] / 2


def test_the_network_reads_the_old_answer_the_new_one_and_the_question(tiny_vlm):
    editor = KnowledgeEditor(tiny_vlm, KeOptions(**SMALL))
    (read,) = editor._sentences([EDIT], ["Bob"])
    ids = tiny_vlm.tokenizer("Bob >> Ann || Who made this bowl?", add_special_tokens=False)["input_ids"]
    assert torch.equal(read, tiny_vlm.embeddings()[torch.tensor(ids)])


def test_a_collapse_names_the_edit_and_leaves_everything_as_it_was(tiny_vlm):
    editor = KnowledgeEditor(tiny_vlm, KeOptions(max_scale=1e9, **SMALL))
    with pytest.raises(CollapseError, match="edit a"):
        editor.edit([EDIT])
    assert editor.revision == 0 and all(torch.equal(w, editor.weights.base[n]) for n, w in editor.weights.now.items())
