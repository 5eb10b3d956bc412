"""Training that a killed process goes on with: steps with a progress bar, kept every so often in one file.

Knows parameters, optimisers, a random generator and plain values; nothing of losses or editors. A loop of a fit is

    for step in steps_of(n, what="fit x", tensors=module.state_dict, optimizers=[adam], rng=rng, unfinished=place):
        ...

and what it changes is exactly what it names: everything is put back in place from the file, the step too.
"""

from __future__ import annotations

import copy
import math
import time
from collections.abc import Callable, Iterator, Mapping, MutableMapping, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import torch
from torch import Tensor

from lifelong.editing.ops import NotFiniteError
from lifelong.log.checkpoint import State, load_state, save_state
from lifelong.log.files import LogError, clear_leftovers

if TYPE_CHECKING:
    from lifelong.models.vlm import VLM

KEPT_EVERY_S = 60.0
_Random = np.random.Generator | torch.Generator


@dataclass(frozen=True)
class Unfinished:
    """Where the loops of one fit are kept, each in a file of its own name; `clear` when the fit is finished."""

    folder: Path

    def path(self, what: str) -> Path:
        """Return the file of a loop."""
        words = "".join(c if c.isalnum() else "-" for c in what)
        return self.folder / f"{words}.safetensors"

    def spent_wall_s(self) -> float:
        """Return the measured seconds that earlier processes spent in loops that are kept."""
        return sum(float(load_state(path).meta["wall_s"]) for path in self.folder.glob("*.safetensors"))

    def tidy(self, say: Callable[[str], None] = lambda _: None) -> None:
        """Remove what a kill left half written, and loops that are damaged, which is said; before the first loop."""
        clear_leftovers(self.folder)
        for path in self.folder.glob("*.safetensors"):
            try:
                load_state(path)
            except LogError as error:
                say(f"{error} That loop begins again.")
                path.unlink()

    def clear(self) -> None:
        """Forget all loops; a file of somebody else stays, and the folder with it."""
        clear_leftovers(self.folder)
        for path in self.folder.glob("*.safetensors"):
            path.unlink()
        with suppress(OSError):  # never made, or not empty
            self.folder.rmdir()


def steps_of(
    steps: int,
    *,
    what: str,
    tensors: Callable[[], Mapping[str, Tensor]],
    optimizers: Sequence[torch.optim.Optimizer],
    rng: _Random,
    plain: MutableMapping[str, Any] | None = None,
    unfinished: Path | None = None,
) -> Iterator[int]:
    """Yield the steps that are left, with a progress bar, after putting back what an earlier process kept.

    `tensors()` are the parameters and buffers of this moment, which can be written to; `plain` holds further JSON
    values that the loop changes. With a folder `unfinished` everything is kept each minute and at the end, so that a
    finished loop is skipped. Raises `LogError` for a damaged file.
    """
    from rich.progress import Progress

    plain = {} if plain is None else plain
    place = None if unfinished is None else Unfinished(unfinished).path(what)
    first, spent_wall_s = 0, 0.0
    if place is not None and place.is_file():
        first, spent_wall_s = _restore(place, tensors(), optimizers, rng, plain)
    with Progress(transient=True) as bar:
        task = bar.add_task(what, total=steps, completed=first)
        begun = kept = time.monotonic()
        for step in range(first, steps):
            yield step
            bar.advance(task)
            if place is not None and (step == steps - 1 or time.monotonic() - kept >= KEPT_EVERY_S):
                kept = time.monotonic()
                _keep(place, step + 1, spent_wall_s + kept - begun, tensors(), optimizers, rng, plain)


def gradient_of(
    vlm: VLM,
    losses_of: Callable[[], dict[str, Tensor]],
    *,
    optimizers: Sequence[torch.optim.Optimizer],
    rng: _Random,
    plain: MutableMapping[str, Any],
    what: str,
    step: int,
) -> dict[str, Tensor]:
    """Return the losses of a step, whose sum's gradient is then in the parameters of the optimizers.

    `losses_of` computes them with the model, draws from `rng` and changes `plain`. Where the device is full it is
    called again, from the same numbers, and the gradient is taken on fewer rows at a time. Raises `NotFiniteError`
    that names `what`.
    """
    drawn, drawn_by_torch, before = _state_of(rng), torch.get_rng_state(), copy.deepcopy(dict(plain))

    def work() -> dict[str, Tensor]:
        parts = losses_of()
        total = torch.stack(list(parts.values())).sum()
        if not bool(torch.isfinite(total)):
            raise NotFiniteError(f"{what}: the training loss is {float(total)} at step {step}; lower learning_rate.")
        for optimizer in optimizers:
            optimizer.zero_grad(set_to_none=True)
        total.backward()
        return parts

    def again() -> None:
        _set_state(rng, drawn)
        torch.set_rng_state(drawn_by_torch)
        plain.clear()
        plain.update(copy.deepcopy(before))

    return vlm.step(work, again)


@contextmanager
def in_bfloat16(vlm: VLM, *, on: bool) -> Iterator[None]:
    """Multiply in bfloat16 where `on`; attention is then written out: its gradient is faster than the fused one's.

    A model in float16 multiplies in its own type, which is as short: autocast cannot mix the two.
    """
    if not on or vlm.embeddings().dtype == torch.float16:
        yield
        return
    with vlm.attention("eager"), torch.autocast(vlm.device.type, torch.bfloat16):
        yield


def _state_of(rng: _Random) -> Any:
    return rng.get_state() if isinstance(rng, torch.Generator) else rng.bit_generator.state


def _set_state(rng: _Random, state: Any) -> None:
    if isinstance(rng, torch.Generator):
        rng.set_state(state)
    else:
        rng.bit_generator.state = state


def scale_rates(optimizers: Sequence[torch.optim.Optimizer], share: float) -> None:
    """Set every learning rate to a share of its group's `base_lr`."""
    for optimizer in optimizers:
        for group in optimizer.param_groups:
            group["lr"] = group["base_lr"] * share


def _keep(
    place: Path,
    step: int,
    wall_s: float,
    tensors: Mapping[str, Tensor],
    optimizers: Sequence[torch.optim.Optimizer],
    rng: _Random,
    plain: Mapping[str, Any],
) -> None:
    out = {f"tensors/{name}": t.detach() for name, t in tensors.items()}
    numbers: list[dict[str, dict[str, Any]]] = []
    for place_of, optimizer in enumerate(optimizers):
        numbers.append({})
        for index, state in optimizer.state_dict()["state"].items():
            moments = {k: v for k, v in state.items() if isinstance(v, Tensor)}
            out |= {f"optimizer/{place_of}/{index}/{k}": v for k, v in moments.items()}
            numbers[-1][str(index)] = {k: v for k, v in state.items() if k not in moments}
    out["torch_rng"] = torch.get_rng_state()
    meta = {"step": step, "wall_s": wall_s, "plain": dict(plain), "numbers": numbers}
    if isinstance(rng, torch.Generator):
        out["rng"] = rng.get_state()
    else:
        meta["rng"] = rng.bit_generator.state
    place.parent.mkdir(parents=True, exist_ok=True)
    save_state(place, State(out, meta))


def _restore(
    place: Path,
    tensors: Mapping[str, Tensor],
    optimizers: Sequence[torch.optim.Optimizer],
    rng: _Random,
    plain: MutableMapping[str, Any],
) -> tuple[int, float]:
    whole_state = load_state(place)
    kept, meta = whole_state.tensors, whole_state.meta
    with torch.no_grad():
        for name, tensor in tensors.items():
            tensor.copy_(kept[f"tensors/{name}"])
    for place_of, optimizer in enumerate(optimizers):
        whole = optimizer.state_dict()
        start = f"optimizer/{place_of}/"
        state = {int(index): dict(values) for index, values in meta["numbers"][place_of].items()}
        for name, tensor in kept.items():
            if name.startswith(start):
                index, key = name.removeprefix(start).split("/")
                state[int(index)][key] = tensor
        optimizer.load_state_dict({**whole, "state": state})
    torch.set_rng_state(kept["torch_rng"])
    if isinstance(rng, torch.Generator):
        rng.set_state(kept["rng"])
    else:
        rng.bit_generator.state = meta["rng"]
    plain.clear()
    plain.update(meta["plain"])
    return int(meta["step"]), float(meta["wall_s"])


def share_of(step: int, steps: int) -> float:
    """Return the share of the learning rate at a step: up over 30 steps, then down as a cosine to a hundredth."""
    return min(1.0, (step + 1) / 30) * (0.01 + 0.99 * 0.5 * (1 + math.cos(math.pi * step / steps)))
