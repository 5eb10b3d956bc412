"""MSCKE's scores, routes and keys against the published ones (golden cases)."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file
from torch import Tensor

from lifelong.editing.contract import Keys
from lifelong.editing.scope.classifier import Fusion, fuse, rho, squared_distances
from lifelong.editors.mscke import Mscke, MsckeOptions

GOLDEN = Path(__file__).parents[3] / "shared" / "golden" / "mscke_scope"
golden = pytest.mark.skipif(not GOLDEN.is_dir(), reason="the golden folder is not beside this checkout")


@pytest.fixture(scope="module")
def reference() -> tuple[dict, dict[str, Tensor]]:
    return json.loads((GOLDEN / "case.json").read_text()), load_file(str(GOLDEN / "mscke.safetensors"))


def alone(images: Tensor) -> tuple[Tensor, Tensor]:
    """Every item sees its own picture, one vector."""
    return images[:, None], torch.ones(len(images), 1, dtype=torch.bool)


def all_of(images: Tensor, n: int) -> tuple[Tensor, Tensor]:
    """Every one of n items sees the pictures of all: what the released code feeds its attention."""
    return images[None].expand(n, -1, -1), torch.ones(n, len(images), dtype=torch.bool)


@golden
@pytest.mark.parametrize("n", [1, 2, 3, 6])
@pytest.mark.parametrize("fusion", ["dot", "cat", "text"])
def test_distances_and_scores_equal_the_published_ones(reference, n: int, fusion: str) -> None:
    case, t = reference
    kinds: dict[str, Fusion] = {"dot": "dot", "cat": "concatenation", "text": "text"}
    kind = kinds[fusion]
    text, image = t["edit_text"][:n], t["edit_image"][:n]
    edits = fuse(kind, text, *(all_of(image, n) if kind == "dot" else alone(image)))
    apart = squared_distances(fuse(kind, t["query_text"], *alone(t["query_image"])), edits)
    close = rho(apart, case["hyper"]["scale"])
    torch.testing.assert_close(apart, t[f"cache{n}.{fusion}.squared_distance"], atol=1e-5, rtol=1e-5)
    torch.testing.assert_close(close, t[f"cache{n}.{fusion}.rho"], atol=1e-5, rtol=1e-5)
    if fusion == "dot":
        torch.testing.assert_close(edits, t[f"cache{n}.dot.edit_keys"], atol=1e-5, rtol=1e-5)
    row = next(r for r in case["cases"]["mscke"] if (r["cached"], r["fusion"]) == (n, fusion))
    assert close.argmax(1).tolist() == row["best"]
    assert (close.amax(1) > case["hyper"]["threshold"]).tolist() == row["in_scope"]


@golden
def test_a_batch_of_queries_moves_its_own_keys_when_it_shares_its_pictures(reference) -> None:
    _, t = reference
    queries = fuse("dot", t["query_text"], *all_of(t["query_image"], 12))
    edits = fuse("dot", t["edit_text"], *all_of(t["edit_image"], 6))
    expected = t["cache6.dot.batched_queries.rho"]
    torch.testing.assert_close(rho(squared_distances(queries, edits)), expected, atol=1e-5, rtol=1e-5)


@golden
def test_released_keys_drift_with_the_cache_and_ours_do_not(reference) -> None:
    case, t = reference
    drift = {row["cached"]: row for row in case["cases"]["key_drift_of_edit_0"]}
    first = fuse("dot", t["edit_text"][:1], *alone(t["edit_image"][:1]))
    for n, row in drift.items():
        text, image = t["edit_text"][:n], t["edit_image"][:n]
        released = fuse("dot", text, *all_of(image, n))[:1]
        moved = squared_distances(released, first)[0, 0]
        assert float(moved) == pytest.approx(row["squared_distance_to_key_when_alone"], abs=1e-5)
        assert float(rho(moved)) == pytest.approx(row["self_rho"], abs=1e-5)
        assert torch.equal(fuse("dot", text, *alone(image))[:1], first)
    assert drift[max(drift)]["self_rho"] < 0.5


@golden
@pytest.mark.parametrize("n", [1, 2, 3, 6])
def test_the_bank_routes_as_published(reference, tiny_vlm, n: int) -> None:
    case, t = reference
    editor = Mscke(tiny_vlm, MsckeOptions.model_validate({"width": 16}))
    keys = [
        fuse("concatenation", t[f"{side}_text"], *alone(t[f"{side}_image"])).numpy() for side in ("edit", "query")
    ]
    editor.bank.add([str(i) for i in range(n)], keys[0][:n])
    row = next(r for r in case["cases"]["mscke"] if (r["cached"], r["fusion"]) == (n, "cat"))
    for found, best, near, inside in zip(
        editor.route(Keys({"key": keys[1]})), row["best"], row["best_rho"], row["in_scope"], strict=True
    ):
        assert found.in_scope == inside
        if inside:
            assert found.ids == (str(best),) and found.scores[0] == pytest.approx(near, abs=1e-5)
