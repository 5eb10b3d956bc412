"""What editors with a trained hypernetwork share: an edit's gradient as a sum of outer products, weight changes that
act row by row, lessons drawn from a pool, and the training loop.

The gradient of a linear module's weight (out, in) is sum_t delta_t u_t^T over tokens t, with u the module's input and
delta the gradient at its output. What the editors make of it is such a sum too, so that a batch of training edits,
each with weights of its own, is one forward pass. Knows regions, questions and pools; no particular hypernetwork.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, MutableMapping, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import torch
from torch import Tensor
from torch.nn import functional as F
from torch.nn.utils.rnn import pad_sequence

from lifelong.editing.ops import NotFiniteError, divergence
from lifelong.editing.training import gradient_of, steps_of
from lifelong.editing.weights.regions import Region, RegionQuestions
from lifelong.models.passes.layout import Layout
from streams.types import Edit, Pool, PoolItem, Query

if TYPE_CHECKING:
    from lifelong.models.vlm import VLM


@dataclass(frozen=True)
class Factors:
    """Per row a matrix sum_t left_t right_t^T: left (rows, terms, out), right (rows, terms, in), kept (rows, terms)
    bool; terms that are not kept are zero."""

    left: Tensor
    right: Tensor
    kept: Tensor

    def dense(self) -> Tensor:
        """Return the sum of all rows' matrices, (out, in)."""
        return torch.einsum("nto,nti->oi", self.left, self.right)

    def take(self, rows: Sequence[int]) -> Factors:
        """Return some rows."""
        at = list(rows)
        return Factors(self.left[at], self.right[at], self.kept[at])


def gradient_factors(
    region: Region, questions: RegionQuestions, what: str
) -> tuple[dict[str, Factors], list[Tensor]]:
    """Return the gradient of each row's mean answer loss for every linear module, in float32, and the logits.

    Left factors are delta, right factors u; tokens where either is all zero are dropped. Taken at the weights of
    this moment. Raises `NotFiniteError` that names `what`.
    """
    seen: dict[str, list[tuple[Tensor, Tensor, Tensor]]] = {}

    def watcher(name: str) -> Callable[..., Tensor]:
        def watch(module: Any, args: tuple[Any, ...], output: Tensor, layout: Layout) -> Tensor:
            probe = torch.zeros_like(output, requires_grad=True)
            seen.setdefault(name, []).append((owners(layout, args[0]), args[0].detach(), probe))
            return output + probe

        return watch

    def work() -> tuple[list[Tensor], dict[str, tuple[tuple[Tensor, Tensor, Tensor], ...]], Iterator[Tensor]]:
        with ExitStack() as stack:
            for name, module in region.linear().items():
                stack.enter_context(region.vlm.hook(module, watcher(name)))
            logits = questions.logits(grad=True)
        pairs = zip(logits, questions.target_ids, strict=True)
        loss = torch.stack([F.cross_entropy(x.float(), torch.as_tensor(ids).long().to(x.device)) for x, ids in pairs])
        if not bool(torch.isfinite(loss).all()):
            raise NotFiniteError(f"{what}: the loss is not finite.")
        # Going back, a full device runs the passes once more, and the watchers with them: what counts is there now.
        watched = {name: tuple(seen.get(name, ())) for name in region.linear()}
        probes = [probe for parts in watched.values() for _, _, probe in parts]
        return logits, watched, iter(torch.autograd.grad(loss.sum(), probes))

    logits, watched, gradients = region.vlm.step(work, seen.clear)
    found = {}
    for name, parts in watched.items():
        left: list[list[Tensor]] = [[] for _ in questions.queries]
        right: list[list[Tensor]] = [[] for _ in questions.queries]
        for rows, inputs, probe in parts:
            delta = next(gradients).reshape(len(rows), -1, probe.shape[-1]).float()
            u = inputs.reshape(len(rows), -1, inputs.shape[-1]).float()
            kept = (delta != 0).any(-1) & (u != 0).any(-1)
            for i, row in enumerate(rows.tolist()):
                left[row].append(delta[i][kept[i]])
                right[row].append(u[i][kept[i]])
        found[name] = _padded([torch.cat(x) for x in left], [torch.cat(x) for x in right])
    if not all(bool(torch.isfinite(f.left).all() and torch.isfinite(f.right).all()) for f in found.values()):
        raise NotFiniteError(f"{what}: the gradient is not finite.")
    return found, [x.detach() for x in logits]


def _padded(left: list[Tensor], right: list[Tensor]) -> Factors:
    counts = torch.tensor([len(x) for x in left], device=left[0].device)
    padded = pad_sequence(left, batch_first=True), pad_sequence(right, batch_first=True)
    kept = torch.arange(padded[0].shape[1], device=counts.device)[None] < counts[:, None]
    return Factors(*padded, kept)


def owners(layout: Layout, inputs: Tensor) -> Tensor:
    """Return the row that each entry along the first dimension of a module's inputs belongs to.

    In decoder layers an entry is a row; on the vision side it is an image, or a token of one, in the order of rows.
    """
    tokens = layout.image.sum(1)
    total, n = int(tokens.sum()), len(inputs)
    if n == len(layout.rows) and (inputs.dim() > 2 and inputs.shape[1] == layout.image.shape[1]):
        return layout.rows
    if n and total % n == 0 and bool((tokens % (total // n) == 0).all()):
        return layout.rows.repeat_interleave(tokens // (total // n))
    raise ValueError(f"{n} inputs of the vision side cannot be told apart among {total} image tokens of a batch.")


@contextmanager
def per_row(region: Region, factors: Mapping[str, Factors], serves: Sequence[int]) -> Iterator[None]:
    """While the context lasts, row i of a pass meets each module's weight plus the matrix of row `serves[i]`."""
    table = torch.as_tensor(serves, device=region.vlm.device)

    def adder(of: Factors) -> Callable[..., Tensor]:
        def add(module: Any, args: tuple[Any, ...], output: Tensor, layout: Layout) -> Tensor:
            rows = table[owners(layout, args[0])]
            inputs = args[0].reshape(len(rows), -1, args[0].shape[-1]).float()
            change = (inputs @ of.right[rows].transpose(1, 2)) @ of.left[rows]
            return output + change.reshape(output.shape).to(output.dtype)

        return add

    with ExitStack() as stack:
        for name, module in region.linear().items():
            stack.enter_context(region.vlm.hook(module, adder(factors[name])))
        yield


_Question = tuple[Query, str]


@dataclass(frozen=True)
class Lesson:
    """A training edit: questions it should change, by words and by picture, and questions it should leave alone."""

    edit: Edit
    same: Mapping[str, tuple[_Question, ...]]
    local: Mapping[str, tuple[_Question, ...]]


def lessons_of(pool: Pool, region: Region, what: str) -> list[Lesson]:
    """Return the pool's items that the region reaches and that have a question to leave alone.

    Questions that the region does not reach are left out. The edit itself counts among its rewordings. Raises
    `ValueError` for fewer than two.
    """
    out = []
    for item in pool.items:
        if region.reaches(item.edit.query):
            same = {m: _pick(item, region, m, True) for m in ("text", "image")}
            same["text"] = ((item.edit.query, item.edit.target), *same["text"])
            local = {m: _pick(item, region, m, False) for m in ("text", "image")}
            if any(local.values()):
                out.append(Lesson(item.edit, _filled(same), _filled(local)))
    if len(out) < 2:
        raise ValueError(f"{what}: {len(out)} of {len(pool.items)} pool items can be learnt from; 2 are needed.")
    return out


def _filled(sides: Mapping[str, tuple[_Question, ...]]) -> dict[str, tuple[_Question, ...]]:
    return {name: asked for name, asked in sides.items() if asked}


def _pick(item: PoolItem, region: Region, modality: str, same: bool) -> tuple[_Question, ...]:
    if same:
        probes = [p for p in item.probes if p.axis == "generality"]
    else:
        axes = ("locality", "specificity")
        probes = [p for p in item.probes if p.axis in axes and p.reference == "baseline"]
    return tuple((p.query, p.target) for p in probes if p.modality == modality and region.reaches(p.query))


@dataclass(frozen=True)
class Losses:
    """What a batch of lessons came to: mean losses (nats) and the share of edits whose answers were all right."""

    same: dict[str, Tensor]
    local: dict[str, Tensor]
    right: float


def losses_of(
    region: Region, factors: Mapping[str, Factors], lessons: Sequence[Lesson], rng: np.random.Generator
) -> Losses:
    """Answer one question of every kind per lesson with the lesson's own weights and return the losses by kind.

    Same questions: mean negative log-likelihood of the target. Local ones: KL(base || edited) per answer token.
    """
    rows: list[tuple[int, str, str, _Question]] = []
    for i, lesson in enumerate(lessons):
        for role, sides in (("same", lesson.same), ("local", lesson.local)):
            rows += [(i, role, side, asked[int(rng.integers(len(asked)))]) for side, asked in sides.items()]
    questions = region.questions([q for *_, (q, _) in rows], [t for *_, (_, t) in rows])
    kept = [i for i, row in enumerate(rows) if row[1] == "local"]
    base = dict(zip(kept, _base(region, [rows[i][3] for i in kept]), strict=True))
    with per_row(region, factors, [i for i, *_ in rows]):
        logits = questions.logits(grad=torch.is_grad_enabled())
    losses: dict[tuple[str, str], list[Tensor]] = {}
    right = []
    for i, (_, role, side, _) in enumerate(rows):
        if role == "same":
            ids = torch.as_tensor(questions.target_ids[i]).long().to(logits[i].device)
            value = F.cross_entropy(logits[i].float(), ids)
            right += [bool((logits[i].argmax(-1) == ids).all())]
        else:
            value = divergence(base[i], logits[i])
        losses.setdefault((role, side), []).append(value)
    means = {key: torch.stack(values).mean() for key, values in losses.items()}
    same, local = ({side: v for (r, side), v in means.items() if r == role} for role in ("same", "local"))
    return Losses(same, local, float(np.mean(right)))


def _base(region: Region, asked: Sequence[_Question]) -> list[Tensor]:
    return region.questions([q for q, _ in asked], [t for _, t in asked]).logits(grad=False)


def train_hypernet(
    vlm: VLM,
    network: torch.nn.Module,
    optimizer: torch.optim.Optimizer,
    loss_of: Callable[[int], Tensor],
    *,
    steps: int,
    clip: float,
    share: Callable[[int], float],
    rng: np.random.Generator,
    plain: MutableMapping[str, Any],
    unfinished: Path | None,
    what: str,
) -> None:
    """Train a network in place with a progress bar; `share(step)` scales every learning rate.

    `rng` and `plain` are what `loss_of` changes besides (`training.steps_of`). Raises `NotFiniteError` on divergence.
    The network is left frozen, in evaluation mode.
    """
    rates = [group["lr"] for group in optimizer.param_groups]
    network.train().requires_grad_(True)
    try:
        for step in steps_of(
            steps, what=f"fit {what}", tensors=network.state_dict, optimizers=[optimizer], rng=rng, plain=plain,
            unfinished=unfinished,
        ):  # fmt: skip
            for group, rate in zip(optimizer.param_groups, rates, strict=True):
                group["lr"] = rate * share(step)
            gradient_of(
                vlm, lambda step=step: {"loss": loss_of(step)}, optimizers=[optimizer], rng=rng, plain=plain,
                what=what, step=step,
            )  # fmt: skip
            torch.nn.utils.clip_grad_norm_(network.parameters(), clip)
            optimizer.step()
    finally:
        network.eval().requires_grad_(False)


def drawer(
    lessons: Sequence[Lesson], batch: int, rng: np.random.Generator, plain: MutableMapping[str, Any]
) -> Callable[[], list[Lesson]]:
    """Return what draws the next batch of lessons: every lesson once, in random order, before any comes again.

    Those still to come are `plain["waiting"]`.
    """

    def draw() -> list[Lesson]:
        waiting: list[int] = plain.setdefault("waiting", [])
        out = []
        while len(out) < min(batch, len(lessons)):
            if not waiting:
                waiting.extend(rng.permutation(len(lessons)).tolist())
            out.append(lessons[waiting.pop()])
        return out

    return draw
