"""LiveEdit's ablations: what each takes out, and that the whole method is the same fit as before there were any."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from lifelong.editing.contract import Keys
from lifelong.editors.liveedit import LiveEdit, train
from lifelong.editors.liveedit.options import ABLATED, LiveEditOptions
from lifelong.running.prepare import resolve
from lifelong.studies.sweep import cells
from streams.stream import Stream, load_stream

OPTIONS = {"width": 16, "heads": 2, "features": 2, "steps": 2, "batch": 4, "routing_batch": 6, "pool": 12}


def options(**changes: object) -> LiveEditOptions:
    return LiveEditOptions.model_validate({**OPTIONS, **changes})


@pytest.fixture(scope="module")
def stream() -> Stream:
    return load_stream("toy", edits=12, seed=0)


def test_only_an_ablation_that_is_made_changes_a_fits_identity():
    whole = LiveEdit.fit_options(options())
    assert not set(ABLATED) & set(whole) and "text_only" not in whole
    for name in ABLATED:
        assert LiveEdit.fit_options(options(**{name: False})) == {**whole, name: False}


@pytest.mark.parametrize("name", ["soft_relative", "soft_absolute"])
def test_an_ablated_loss_is_not_trained(tiny_vlm, stream, name):
    chosen = options(**{name: False})
    editor = LiveEdit(tiny_vlm, chosen)
    history, _ = train.fit_liveedit(tiny_vlm, editor.modules, stream.pool(12, 0), editor.layer, chosen, seed=0)
    other = {"soft_relative": "soft_absolute", "soft_absolute": "soft_relative"}[name]
    assert name not in history[0] and {other, "hard_neighbour", "reliability"} <= set(history[0])


def test_without_experts_routing_alone_is_trained(tiny_vlm, stream):
    """Each step trains it, and the generator stays as it was."""
    editor = LiveEdit(tiny_vlm, options(experts=False, steps=21))
    generator = editor.modules.expert_generator
    assert generator is not None
    before = [p.half().float() for p in generator.parameters()]  # as a fit keeps them
    history, _ = train.fit_liveedit(
        tiny_vlm, editor.modules, stream.pool(12, 0), editor.layer, editor.options, seed=0
    )
    assert len(history) == 2 and all("hard_neighbour" in row and "reliability" not in row for row in history)
    assert all(torch.equal(old, new) for old, new in zip(before, generator.parameters(), strict=True))


def test_without_soft_routing_the_experts_kept_weigh_the_same(tiny_vlm, stream):
    editor = LiveEdit(tiny_vlm, options(soft_routing=False))
    edits = [e for e in stream.edits if e.query.image][:3]
    editor.edit(edits)
    keys = editor.encode([edits[0].query])
    low = Keys({**keys.arrays, "threshold": np.full_like(keys["threshold"], -1e6)})
    assert editor.route(low)[0].weights == pytest.approx((1 / 3,) * 3)


def test_without_guidance_the_prompt_does_not_move_the_visual_features(tiny_vlm, stream):
    image = torch.randn(2, 4, tiny_vlm.width, generator=torch.Generator().manual_seed(0))
    seen = torch.ones(2, 4, dtype=torch.bool)
    for guided in (True, False):
        branch = LiveEdit(tiny_vlm, options(prompt_guided=guided)).modules.input_side.visual_branch
        same = torch.equal(branch(image, seen, image, seen), branch(image + 1 + image.flip(1), seen, image, seen))
        assert same != guided


def test_the_recipes_cells_are_distinct_and_valid():
    found = cells("liveedit-ablation")
    shown = {str(resolve(c.config).options) for c in found}
    assert len(shown) == len(found) == 14
