"""LoRA-FT: one low-rank adapter, made by the peft library, tuned again on every edit.

Knows edits, the model's linear modules and peft's LoRA layers; it does not route.
"""

from __future__ import annotations

from collections.abc import Hashable, Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager
from typing import TYPE_CHECKING

import torch
from torch import Tensor, nn

from lifelong.editing.contract import Answerer, Editor, Route, State
from lifelong.editing.ops import bytes_of, descend, edit_generator, editable
from lifelong.editing.settled import unused
from lifelong.editing.weights.regions import (
    find_region,
    layers_from,
    relative_change,
    require_sound,
    unread_of_region,
)
from lifelong.editors.lora.adapter import NAME, LoraOptions, adapter, adapter_hook
from streams.types import Edit, Query

if TYPE_CHECKING:
    from lifelong.models.vlm import VLM


class LoraTuning(Editor):
    """Sequential LoRA fine-tuning (LoRA: arXiv 2106.09685; as an editor's baseline: arXiv 2308.07269).

    There is no expert and no route: y = W x + (alpha / rank) B A x with one A (rank, in) and B (out, rank) per
    adapted module, kept and tuned again by each edit on -log p(answer); W is frozen, later edits overwrite earlier.
    A begins as peft has it (Kaiming uniform, drawn from the run's seed), B at 0. Memory: all A and B, whatever the
    number of edits; a query costs 2 rank (in + out) multiplications a token and module, whatever the number of edits.
    `module=vision` adapts the connector's linear modules; an edit without a picture cannot be learnt there.
    Deviations: LoRA, where the port also offers AdaLoRA; dropout is drawn from the run's seed and the edit's id.
    """

    Options = LoraOptions
    searched = {
        "optimizer": ("sgd", "adamw"),
        "learning_rate": (0.00001, 0.00003, 0.0001, 0.0003, 0.001, 0.003, 0.01, 0.03, 0.1),
        "steps": (2, 5, 10, 20),
        "rank": (4, 8, 16),
        "first_layer": (0.0, 0.34, 0.67, 1.0),
        "stop_loss": (0.0, 0.01, 0.1),
    }
    published = {}
    depths = ("first_layer",)
    routed = False
    options: LoraOptions

    def __init__(self, vlm: VLM, options: LoraOptions | None = None, *, seed: int = 0) -> None:
        super().__init__(vlm, options, seed=seed)
        o = self.options
        self.region = find_region(vlm, o.module, layers_from(vlm, o.first_layer), o.targets)
        self.base = {n: editable(n, m.weight).detach() for n, m in self.region.linear().items()}
        with torch.random.fork_rng(devices=[]):
            torch.manual_seed(seed)
            self.layers = {name: adapter(m, o) for name, m in self.region.linear().items()}
        self._changes = 0

    @classmethod
    def settles(cls, options: LoraOptions, vlm: VLM) -> LoraOptions:
        """Return the options without those that the adapted modules do not read."""
        return unused(super().settles(options, vlm), unread_of_region(options.module))

    def edit(self, edits: Sequence[Edit]) -> dict[str, str]:
        """Tune the adapter on the batch; a collapse raises `CollapseError` and changes nothing."""
        reached = [e for e in edits if self.region.reaches(e.query)]
        if reached:
            before = self._copy()
            try:
                self._tune(reached)
            except Exception:
                self._put(before)
                raise
            self._changes += not all(torch.equal(now, before[n]) for n, now in self._tensors().items())
        self.revision += bool(edits)
        return self.region.passed_over(edits)

    def _tune(self, edits: Sequence[Edit]) -> None:
        o, what = self.options, f"lora, edit {', '.join(e.id for e in edits)}"
        questions = self.region.questions([e.query for e in edits], [e.target for e in edits])
        kind = torch.optim.SGD if o.optimizer == "sgd" else torch.optim.AdamW
        optimizer = kind(list(self._tensors().values()), lr=o.learning_rate)
        schedule = torch.optim.lr_scheduler.ExponentialLR(optimizer, o.decay)

        def loss_of() -> Tensor:
            return questions.losses().mean()

        with torch.random.fork_rng(devices=[]), self._adapted():
            torch.manual_seed(edit_generator(self.seed, edits[0].id).initial_seed())
            self._train(True)
            try:
                descend(
                    optimizer,
                    loss_of,
                    steps=o.steps,
                    done=lambda loss: loss < o.stop_loss,
                    what=what,
                    vlm=self.vlm,
                    after=schedule.step,
                )
            finally:
                self._train(False)
        require_sound(self._whole(), self.base, what)

    def _whole(self) -> dict[str, Tensor]:
        """Return the adapted modules' weights, (out, in) each, with the adapter in them."""
        with torch.no_grad():
            return {n: self.base[n] + layer.get_delta_weight(NAME) for n, layer in self.layers.items()}

    def _train(self, on: bool) -> None:
        for layer in self.layers.values():
            layer.lora_dropout[NAME].train(on)

    @contextmanager
    def _adapted(self) -> Iterator[None]:
        with ExitStack() as stack:
            for name, module in self.region.linear().items():
                stack.enter_context(self.vlm.hook(module, adapter_hook(self.layers[name])))
            yield

    @contextmanager
    def applied(self, queries: Sequence[Query], routes: Sequence[Route]) -> Iterator[Answerer]:
        """Answer with the adapter beside every adapted module."""
        with self._adapted():
            yield self.vlm.answerer(queries, from_layer=self.region.layer)

    def _tensors(self) -> dict[str, nn.Parameter]:
        sides = ((n, side, getattr(layer, f"lora_{side}")) for n, layer in self.layers.items() for side in "AB")
        return {f"{name}.{side}": held[NAME].weight for name, side, held in sides}

    def _copy(self) -> dict[str, Tensor]:
        return {name: p.detach().clone() for name, p in self._tensors().items()}

    def _put(self, values: Mapping[str, Tensor]) -> None:
        with torch.no_grad():
            for name, p in self._tensors().items():
                p.copy_(values[name])

    def acts_on(self) -> Sequence[str]:
        """Return the names of the adapted modules."""
        return list(self.layers)

    def bytes_for(self, edits: int) -> int:
        """Return the bytes of the adapter, whatever the number of edits."""
        return self.nbytes()

    def nbytes(self) -> int:
        """Return the bytes of the adapter, whatever the number of edits."""
        return bytes_of(self._tensors().values())

    def mark(self) -> Hashable:
        """Return how often the adapter was changed."""
        return self._changes

    def weight_drift(self) -> tuple[float, int] | None:
        """Return how far the adapter moves the matrices beside which it stands."""
        return relative_change(self._whole(), self.base)

    def state(self) -> State:
        """Return the adapter's matrices."""
        return State(self._copy(), {"revision": self.revision})

    def load(self, state: State) -> None:
        """Go on from an adapter's matrices."""
        super().load(state)
        self._put(state.tensors)
