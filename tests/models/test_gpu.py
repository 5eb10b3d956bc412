"""On a GPU, in every type: answers, edits and kept states are those of the CPU. Run by `make gpu-check`."""

from __future__ import annotations

import pytest
import torch

from lifelong.editing.find import editor_class
from lifelong.models.tiny import tiny_vlm
from lifelong.models.vlm import VLM
from streams.stream import load_stream

pytestmark = [pytest.mark.gpu, pytest.mark.skipif(not torch.cuda.is_available(), reason="no GPU on this machine")]
TYPES = [torch.float32, torch.bfloat16, torch.float16]


@pytest.mark.parametrize("dtype", TYPES)
def test_scores_states_and_greedy_texts_are_those_of_the_cpu(dtype, tiny_queries) -> None:
    here, there = tiny_vlm(0, dtype=dtype), tiny_vlm(0, dtype=dtype, device="cuda")
    slack = 1e-3 if dtype == torch.float32 else 0.1
    targets = ["red"] * len(tiny_queries)
    for one, other in zip(here.score(tiny_queries, targets), there.score(tiny_queries, targets), strict=True):
        assert one.nll == pytest.approx(other.nll, abs=slack)
    states = [v.hidden(tiny_queries, 2).states for v in (here, there)]
    assert all(torch.allclose(a.float(), b.float().cpu(), atol=30 * slack) for a, b in zip(*states, strict=True))
    if dtype == torch.float32:
        assert here.generate(tiny_queries) == there.generate(tiny_queries)


@pytest.mark.parametrize("dtype", TYPES)
@pytest.mark.parametrize("name", ["ft", "grace", "liveedit", "wise", "melo", "t_patcher", "rag"])
def test_an_edit_is_made_and_answered(name, dtype) -> None:
    vlm = tiny_vlm(0, dtype=dtype, device="cuda")
    editor = editor_class(name)(vlm)
    edits = list(load_stream("toy", edits=4, seed=0).edits[: max(1, editor.turn)])
    editor.edit(edits)
    queries = [edit.query for edit in edits]
    with editor.applied(queries, editor.route(editor.encode(queries))) as answerer:
        scored = answerer.score([edit.target for edit in edits])
        answerer.generate(max_tokens=4)
    vlm.sync()
    assert all(s.nll == s.nll for s in scored) and vlm.unchanged


def test_a_model_of_a_folder_goes_straight_to_the_gpu(tmp_path) -> None:
    here = tiny_vlm(0)
    here.model.save_pretrained(tmp_path)
    here.processor.save_pretrained(tmp_path)
    loaded = VLM.load(str(tmp_path), device="cuda")
    assert {p.device.type for p in loaded.model.parameters()} == {"cuda"}
    assert loaded.memory.far > 0 and loaded.memory.near < torch.cuda.get_device_properties(0).total_memory
