"""Hidden states inside the model: what several modules read or write in one pass, and a sample to be silent on.

Knows the VLM's hooks and questions with answers; nothing of neurons.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from contextlib import ExitStack
from typing import TYPE_CHECKING, Any

import torch
from torch import Tensor, nn

if TYPE_CHECKING:
    from lifelong.models.vlm import VLM


def tapped(
    vlm: VLM,
    asked: Sequence[Any],
    targets: Sequence[str] | None,
    *,
    inputs: Sequence[nn.Module],
    outputs: Sequence[nn.Module] = (),
) -> tuple[list[list[Tensor]], list[list[Tensor]]]:
    """Return inputs of some modules and outputs of others, `[module][row]` (tokens, width), in one forward pass.

    The pass ends at the last of `inputs`, which must lie behind all the others.
    """
    got: list[dict[int, Tensor]] = [{} for _ in (*inputs, *outputs)]

    def keeper(place: int, of_input: bool) -> Callable[..., None]:
        def keep(module: Any, args: Any, output: Any, layout: Any) -> None:
            found = args[0] if of_input else output[0] if isinstance(output, tuple) else output
            for i, row in enumerate(layout.rows.tolist()):
                got[place][row] = found[i].clone()

        return keep

    with ExitStack() as stack:
        for place, module in enumerate((*inputs, *outputs)):
            if module is not inputs[-1]:
                stack.enter_context(vlm.hook(module, keeper(place, place < len(inputs))))
        last = vlm.capture(asked, inputs[-1], targets)
    rows = [
        last if place == len(inputs) - 1 else [got[place][row][: len(last[row])] for row in range(len(last))]
        for place in range(len(got))
    ]
    return rows[: len(inputs)], rows[len(inputs) :]


def silent_states(
    vlm: VLM, modules: Sequence[nn.Module], asked: Sequence[tuple[Any, str]], count: int, *, others: int, seed: int
) -> list[Tensor]:
    """Return about `count` FFN inputs (m, width) per module that new neurons shall be silent on.

    Of each question with an answer, taken in a seeded order until there are enough: the positions that predict the
    answer, and up to `others` more anywhere.
    """
    from rich.progress import Progress

    rng = torch.Generator().manual_seed(seed)
    order = torch.randperm(len(asked), generator=rng).tolist()
    found: list[list[Tensor]] = [[] for _ in modules]
    n = 0
    with Progress(transient=True) as bar:
        task = bar.add_task("states to be silent on", total=count)
        for low in range(0, len(order), 128):
            part = [asked[i] for i in order[low : low + 128]]
            states, _ = tapped(vlm, [q for q, _ in part], [t for _, t in part], inputs=modules)
            for row, (_, target) in enumerate(part):
                length = len(states[0][row])
                m = len(vlm.target_ids(target))
                at = torch.arange(length - m - 1, length - 1)
                at = torch.cat([at, torch.randperm(length - m - 1, generator=rng)[:others]])
                for k, module_states in enumerate(states):
                    found[k].append(module_states[row][at].float().cpu())
                n += len(at)
            bar.update(task, completed=min(n, count))
            if n >= count:
                break
    return [torch.cat(parts)[:count] if parts else torch.zeros(0, 0) for parts in found]
