"""LiveEdit's modules and losses agree with the published implementation on its own weights and tensors."""

import json
from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file
from torch import Tensor
from torch.nn import functional as F

from lifelong.editors.liveedit import losses
from lifelong.editors.liveedit.modules import LiveEditModules

FOLDER = Path(__file__).parents[3] / "shared" / "golden" / "liveedit"
pytestmark = pytest.mark.skipif(not FOLDER.is_dir(), reason="the golden folder is not beside this checkout")
RENAMED = (
    (".gain", ".weight"),
    ("query_vectors_phi", "query_vectors"),
    ("query_vectors_psi", "query_vectors"),
    ("expert_generator_U", "expert_generator_u"),
    ("expert_generator_V", "expert_generator_v"),
    ("input_side.vision_sentinel", "vision_sentinel"),
)


def ours(name: str) -> str:
    for theirs, mine in RENAMED:
        name = name.replace(theirs, mine)
    return name


@pytest.fixture(scope="module")
def case() -> dict:
    return json.loads((FOLDER / "case.json").read_text())


@pytest.fixture
def modules(case: dict) -> LiveEditModules:
    h = case["hyper"]
    out = LiveEditModules(
        h["d"], width=h["d_m"], k=h["query_vectors_k"], rank=h["rank"], heads=h["heads"], scale=h["lora_scale"],
        image_tokens=h["image_tokens"], generator="paper",
    )  # fmt: skip
    weights = {ours(k): v for k, v in load_file(str(FOLDER / "weights.safetensors")).items()}
    out.load_state_dict(weights, strict=True)
    return out


def seen(states: Tensor) -> Tensor:
    return torch.ones(states.shape[:2], dtype=torch.bool)


def part(hidden: Tensor, span: list[int]) -> Tensor:
    return hidden[None, span[0] : span[1]]


def edit_side(m: LiveEditModules, hidden: Tensor, spans: dict) -> tuple[Tensor, Tensor]:
    image, prompt = part(hidden, spans["image"]), part(hidden, spans["prompt"])
    return (
        m.edit_side.visual_branch(prompt, seen(prompt), image, seen(image)),
        m.edit_side.text_branch(prompt, seen(prompt)),
    )


def input_side(m: LiveEditModules, hidden: Tensor, spans: dict) -> tuple[Tensor, Tensor, Tensor]:
    image, prompt = part(hidden, spans["image"]), part(hidden, spans["prompt"])
    visual, sentinel = m.seen_and_sentinel(prompt, seen(prompt), image, seen(image))
    return visual, m.input_side.text_branch(prompt, seen(prompt)), sentinel


def expert(m: LiveEditModules, hidden: Tensor, spans: dict) -> tuple[Tensor, Tensor]:
    states = part(hidden, [spans["image"][0], spans["answer"][1]])
    return m.experts(states, seen(states), torch.zeros_like(states), torch.zeros(states.shape[:2], dtype=torch.long))


def test_edit_time_features_and_experts(case: dict, modules: LiveEditModules) -> None:
    tensors = load_file(str(FOLDER / "edits.safetensors"))
    for i, spans in enumerate(case["cases"]["edit_time"]["spans"]):
        hidden = tensors[f"edit{i:02d}.hidden"]
        visual, text = edit_side(modules, hidden, spans)
        u, v = expert(modules, hidden, spans)
        for got, name in ((visual, "visual_features"), (text, "text_features"), (u, "U"), (v, "V")):
            torch.testing.assert_close(got[0], tensors[f"expected.{name}"][i], atol=5e-5, rtol=5e-5)


def test_routing_keeps_the_same_experts_and_adds_the_same_residual(case: dict, modules: LiveEditModules) -> None:
    bank, tensors = load_file(str(FOLDER / "edits.safetensors")), load_file(str(FOLDER / "queries.safetensors"))
    for query in case["cases"]["routing"]["queries"]:
        if query["kept"] is None:
            continue  # a text-only query meets only experts of text-only edits: test_liveedit.py
        name = f"query{query['query']}"
        hidden = tensors[f"{name}.hidden"]
        visual, text, sentinel = input_side(modules, hidden, query)
        hard = modules.similarity(visual, bank["expected.visual_features"])[0]
        threshold = modules.similarity(visual, sentinel)[0, 0]
        soft = modules.similarity(text, bank["expected.text_features"])[0]
        torch.testing.assert_close(hard, tensors[f"{name}.hard_scores"], atol=5e-5, rtol=5e-5)
        torch.testing.assert_close(threshold, tensors[f"{name}.sentinel_score"][0], atol=5e-5, rtol=5e-5)
        kept = hard > threshold
        assert kept.nonzero().flatten().tolist() == query["kept"]
        weights = torch.zeros_like(soft)
        weights[kept] = torch.sigmoid(soft[kept]) * soft[kept].softmax(0)
        torch.testing.assert_close(weights, tensors[f"{name}.soft_weights"], atol=5e-5, rtol=5e-5)
        residual = modules.residual(hidden[None], bank["expected.U"][None], bank["expected.V"][None], weights[None])
        torch.testing.assert_close(residual[0], tensors[f"{name}.residual"], atol=5e-5, rtol=5e-5)


def masked_mean(terms: Tensor, mask: list[int]) -> Tensor:
    weight = torch.tensor(mask, dtype=torch.float32)
    return (terms[-len(mask) :] * weight).sum() / weight.sum()


def test_training_losses_and_gradients(case: dict, modules: LiveEditModules) -> None:
    training = case["cases"]["training"]
    tensors, spans, n = load_file(str(FOLDER / "training.safetensors")), training["samples"], training["batch"]
    features = [edit_side(modules, tensors[f"rel{i}.hidden"], spans[f"rel{i}"]) for i in range(n)]
    experts = [expert(modules, tensors[f"rel{i}.hidden"], spans[f"rel{i}"]) for i in range(n)]
    u, v = torch.cat([e[0] for e in experts]), torch.cat([e[1] for e in experts])
    psi_hat = torch.cat([f[1] for f in features])

    def logits(name: str, active: list[int]) -> tuple[Tensor, Tensor]:
        _, text, _ = input_side(modules, tensors[f"{name}.hidden"], spans[name])
        score = modules.similarity(text, psi_hat)[0].masked_fill(torch.tensor(active) == 0, -torch.inf)
        weights = torch.where(torch.tensor(active) == 1, torch.sigmoid(score) * score.softmax(0), torch.zeros(n))
        residual = modules.residual(tensors[f"{name}.hidden"][None], u[None], v[None], weights[None])[0]
        mid = tensors[f"{name}.mid"]
        return (mid + residual) @ tensors["output_head"].T, mid @ tensors["output_head"].T

    def mean_of(kind: str, mask: str) -> Tensor:
        out = []
        for i in range(n):
            edited, original = logits(f"{kind}{i}", training["active_experts"][mask][i])
            sample = spans[f"{kind}{i}"]
            ids = torch.tensor(sample["label_ids"])
            if mask == "loc":
                terms = losses.reverse_divergence(edited, original)
            else:
                terms = F.cross_entropy(edited[-len(ids) :], ids, reduction="none")
            out.append(masked_mean(terms, sample["label_mask"]))
        return torch.stack(out).mean()

    def pairs(kind: str) -> tuple[list, list]:
        chosen = training[f"{kind}_pairs"]
        left = [input_side(modules, tensors[f"{a}.hidden"], spans[a]) for a, _ in chosen]
        return left, [edit_side(modules, tensors[f"{b}.hidden"], spans[b]) for _, b in chosen]

    near, far = pairs("neighbour"), pairs("prototype")
    soft = modules.similarity(torch.cat([p[1] for p in near[0]]), torch.cat([p[1] for p in near[1]]))

    def hard(sides: tuple[list, list]) -> tuple[Tensor, Tensor]:
        visual = torch.cat([p[0] for p in sides[0]])
        scores = modules.similarity(visual, torch.cat([p[0] for p in sides[1]]))
        return scores, modules.similarity(visual, torch.cat([p[2] for p in sides[0]])).diagonal()

    got = {
        "reliability": mean_of("rel", "rel"),
        "generality_sum": mean_of("gen_text", "gen") + mean_of("gen_image", "gen"),
        "locality_KL": mean_of("loc", "loc"),
        "soft_relative": losses.soft_relative(soft),
        "soft_absolute": losses.soft_absolute(soft),
        "hard_neighbour": losses.hard_neighbour(*hard(near)),
        "hard_prototype": losses.hard_prototype(*hard(far)),
    }
    for name, value in got.items():
        assert value.item() == pytest.approx(training["losses"][name], rel=1e-4), name
    total = torch.stack(list(got.values())).sum()
    assert total.item() == pytest.approx(training["losses"]["total"], rel=1e-5)
    total.backward()
    norms = {ours(k): v for k, v in training["grad_l2_norm_of_total"].items()}
    for name, parameter in modules.named_parameters():
        assert parameter.grad is not None
        assert parameter.grad.norm().item() == pytest.approx(norms[name], rel=2e-3, abs=1e-5), name
