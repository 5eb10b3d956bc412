"""Neurons added to feed-forward modules: stored, applied, and trained to fire on one edit and nowhere else.

A neuron is a key, a bias and a value: out = FFN(q) + sum_j act(key_j . q + bias_j) value_j at every token (T-Patcher,
arXiv 2301.09785, Eqs. 4-5; UniKE, arXiv 2409.19872, Eq. 2). Knows the VLM's hooks and one edit's hidden states;
nothing of queries, routing or how an editor chooses the tokens that neurons answer for.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from contextlib import AbstractContextManager, ExitStack, contextmanager, nullcontext
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Literal

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from lifelong.editor import State
from lifelong.ops import answer_exact, answer_loss, bytes_of, descend

if TYPE_CHECKING:
    from lifelong.models.layout import Hidden
    from lifelong.models.vlm import VLM

Activation = Literal["relu", "gelu", "silu"]
Form = Literal["exp", "margin", "expmargin"]
SPREAD = 0.02  # standard deviation of a new value before it is amplified
TABLES = ("keys", "bias", "values", "states")


def activate(name: Activation, x: Tensor) -> Tensor:
    """Return an activation function of pre-activations."""
    return {"relu": F.relu, "gelu": F.gelu, "silu": F.silu}[name](x)


class Patches:
    """The frozen neurons of one FFN, in order of storing, in buffers that double: an edit never copies them all.

    Beside key (width,), bias and value (width_out,) each keeps `states` (width,), the token state it was trained on.
    """

    def __init__(self, width: int, width_out: int, activation: Activation = "relu") -> None:
        self.activation: Activation = activation
        self.shapes = {"keys": (width,), "bias": (), "values": (width_out,), "states": (width,)}
        self.owners: list[tuple[str, int]] = []
        self._tables = {name: torch.zeros(0, *shape) for name, shape in self.shapes.items()}
        self._used = 0

    def __len__(self) -> int:
        return self._used

    def table(self, name: str) -> Tensor:
        """Return a view of the used rows of `keys`, `bias`, `values` or `states`."""
        return self._tables[name][: self._used]

    def add(self, owner: str, rows: dict[str, Tensor]) -> None:
        """Append an owner's neurons: a tensor of n rows for each table."""
        n = len(rows["bias"])
        if self._used + n > len(self._tables["bias"]):
            size = max(64, 2 * (self._used + n))
            for name, shape in self.shapes.items():
                bigger = torch.zeros(size, *shape)
                bigger[: self._used] = self.table(name)
                self._tables[name] = bigger
        for name in TABLES:
            self._tables[name][self._used : self._used + n] = rows[name].detach().cpu()
        self._used += n
        self.owners.append((owner, n))

    def remove(self, owners: Sequence[str]) -> None:
        """Drop the neurons of some owners; unknown ones are passed over."""
        gone = set(owners)
        keep = torch.tensor([owner not in gone for owner, n in self.owners for _ in range(n)], dtype=torch.bool)
        for name in TABLES:
            self._tables[name] = self.table(name)[keep].clone()
        self.owners = [(owner, n) for owner, n in self.owners if owner not in gone]
        self._used = int(keep.sum())

    def added(self, q: Tensor) -> Tensor:
        """Return what all neurons add to the FFN's output for inputs (..., width): (..., width_out)."""
        keys, bias, values = (self.table(name).to(q.device) for name in ("keys", "bias", "values"))
        return (activate(self.activation, q.float() @ keys.T + bias) @ values).to(q.dtype)

    def nbytes(self) -> int:
        """Return the bytes of the used rows."""
        return bytes_of(self.table(name) for name in TABLES)

    def state(self) -> State:
        """Return the used rows and whose they are."""
        tensors = {name: self.table(name).clone() for name in TABLES}
        return State(tensors, {"owners": [list(pair) for pair in self.owners]})

    def load(self, state: State) -> None:
        """Hold exactly what a state says."""
        self._tables = {name: state.tensors[name].clone() for name in TABLES}
        self.owners = [(str(owner), int(n)) for owner, n in state.meta["owners"]]
        self._used = len(self._tables["bias"])


def initial_keys(states: Tensor) -> Tensor:
    """Return keys (n, width) whose activation on their own token states (n, width) is 1."""
    return states / (states * states).sum(-1, keepdim=True).clamp(min=1e-12)


class Neurons(nn.Module):
    """New neurons of one FFN while they are trained, one for each of n token states (n, width).

    The value is an amplified random vector, plus `beta * W direction` with W trained from the identity where a
    direction (width_out,) is given (UniKE's zeta).
    """

    def __init__(
        self,
        states: Tensor,
        width_out: int,
        *,
        activation: Activation,
        scale: float,
        rng: torch.Generator,
        direction: Tensor | None = None,
        beta: float = 0.0,
    ) -> None:
        super().__init__()
        self.activation: Activation = activation
        self.beta = beta
        self.keys = nn.Parameter(initial_keys(states.float()))
        self.bias = nn.Parameter(torch.zeros(len(states), device=states.device))
        self.raw = nn.Parameter((SPREAD * torch.randn(len(states), width_out, generator=rng)).to(states.device))
        self.scale = nn.Parameter(torch.tensor(scale, device=states.device))
        self.direction = None if direction is None else direction.to(states.device)
        self.turned = None if direction is None else nn.Parameter(torch.eye(width_out, device=states.device))

    def values(self) -> Tensor:
        """Return the values (n, width_out) as they act."""
        values = self.raw * self.scale
        if self.turned is None or self.direction is None:
            return values
        return values + self.beta * (self.turned @ self.direction)

    def added(self, q: Tensor) -> Tensor:
        """Return what these neurons add for inputs (..., width): (..., width_out)."""
        return (activate(self.activation, q.float() @ self.keys.T + self.bias) @ self.values()).to(q.dtype)

    def rows(self, states: Tensor) -> dict[str, Tensor]:
        """Return the tables that `Patches.add` takes."""
        return {"keys": self.keys, "bias": self.bias, "values": self.values(), "states": states}


@dataclass(frozen=True)
class Penalty:
    """Mean of the `top` largest penalties (None: all) of numbers that should be below `-margin`.

    `exp` is exp of every value, `margin` the positive values, `expmargin` exp of the positive values.
    """

    form: Form = "exp"
    margin: float = 0.0
    top: int | None = None

    def of(self, values: Tensor) -> Tensor:
        """Return the penalty of values of any shape: a scalar, 0 where there are none."""
        flat = values.reshape(-1) + self.margin
        if self.form != "exp":
            flat = flat[flat > 0]
        if not len(flat):
            return values.sum() * 0
        if self.top is not None and len(flat) > self.top:
            flat = flat.topk(self.top, sorted=False).values  # exp keeps the order
        return (flat if self.form == "margin" else flat.exp()).mean()


ACTIVE = Penalty(top=5)
SILENT = Penalty(margin=3.0, top=1000)


def activation_loss(acts: Tensor, penalty: Penalty = ACTIVE) -> Tensor:
    """Return the loss of neurons that do not fire on their own tokens: pre-activations (batch, n)."""
    return penalty.of(-acts)


def memory_loss(stored: Tensor, acts: Tensor, relative: Penalty = SILENT, absolute: Penalty = SILENT) -> Tensor:
    """Return the loss of neurons that fire on stored states: pre-activations (m, n) there, (batch, n) at home.

    One term compares with the activation at home, one wants silence.
    """
    every = stored[:, None].expand(-1, len(acts), -1)
    return relative.of(every - acts[None]) + absolute.of(every)


@dataclass(frozen=True)
class Site:
    """One patched FFN: its module, its frozen neurons, and stored token states (m, width) to be silent on."""

    module: nn.Module
    patches: Patches
    silent: Tensor


@dataclass(frozen=True)
class Teaching:
    """How new neurons are trained; defaults are T-Patcher's but for the number of steps."""

    rate: float = 1e-2
    steps: int = 200
    check_every: int = 25
    stop_loss: float = 0.1
    activation_weight: float = 1.0
    memory_weight: float = 5.0
    scale: float = 10.0
    beta: float = 0.0


@dataclass(frozen=True)
class Taught:
    """New neurons of one site as rows for `Patches.add`."""

    site: Site
    rows: dict[str, Tensor]


@contextmanager
def patched(vlm: VLM, sites: Sequence[Site]) -> Iterator[None]:
    """Let the frozen neurons of some sites act, at every token of every pass."""

    def adder(site: Site) -> Callable[..., Tensor | None]:
        return lambda module, args, output, layout: output + site.patches.added(args[0])

    with ExitStack() as stack:
        for site in sites:
            if len(site.patches):
                stack.enter_context(vlm.hook(site.module, adder(site)))
        yield


def teach(
    vlm: VLM,
    hidden: Hidden,
    sites: Sequence[Site],
    tokens_of: Callable[[Tensor], Sequence[int]],
    how: Teaching,
    rng: torch.Generator,
    *,
    what: str,
    around: Callable[[], AbstractContextManager[Any]] = nullcontext,
    directions: Sequence[Tensor | None] = (),
) -> list[Taught]:
    """Train new neurons at every site so that one row of hidden states says its target; nothing is stored yet.

    `tokens_of` gets which target tokens are right now (m,) bool and returns the target tokens that neurons answer
    for, one each; with none, or with the target learnt already, nothing is trained and the list is empty. `around`
    opens further changes that act in training as they do in use. Raises `NotFiniteError` naming `what`.
    """
    ids = hidden.target_ids[0]
    first = len(hidden.states[0]) - len(ids) - 1  # the position that predicts the target's first token
    seen: dict[int, Tensor] = {}

    def forward(new: Sequence[Neurons], grad: bool) -> Tensor:
        with ExitStack() as stack:
            stack.enter_context(around())
            stack.enter_context(patched(vlm, sites))
            for i, site in enumerate(sites):
                stack.enter_context(vlm.hook(site.module, _watch(seen, i, new[i] if new else None)))
            return vlm.resume(hidden, grad=grad, answers_only=True)[0]

    logits = forward([], False)
    right = logits.argmax(-1).cpu() == torch.as_tensor(ids, dtype=torch.long)
    tokens = list(tokens_of(right))
    known = bool(right.all()) and float(answer_loss(logits, ids)) < how.stop_loss
    if not tokens or known:
        return []
    at = torch.tensor(tokens) + first
    states = [seen[i][at].float().clone() for i in range(len(sites))]
    new = [
        Neurons(
            states[i],
            site.patches.shapes["values"][0],
            activation=site.patches.activation,
            scale=how.scale,
            rng=rng,
            direction=directions[i] if directions else None,
            beta=how.beta,
        )
        for i, site in enumerate(sites)
    ]
    stored = [torch.cat([site.silent, site.patches.table("states")]).to(states[0].device) for site in sites]
    taken, learnt = -1, False

    def loss_of() -> Tensor:
        nonlocal taken, learnt
        taken += 1
        logits = forward(new, True)
        loss = answer_loss(logits, ids)
        learnt = answer_exact(logits, ids) and float(loss.detach()) < how.stop_loss
        for i, neurons in enumerate(new):
            acts = (seen[i][at].float() * neurons.keys).sum(-1)[None] + neurons.bias
            loss = loss + how.activation_weight * activation_loss(acts)
            if len(stored[i]) and how.memory_weight:
                loss = loss + how.memory_weight * memory_loss(stored[i] @ neurons.keys.T + neurons.bias, acts)
        return loss

    descend(
        torch.optim.Adam([p for neurons in new for p in neurons.parameters()], lr=how.rate),
        loss_of,
        steps=how.steps,
        done=lambda _: learnt and taken > 0 and taken % how.check_every == 0,
        what=what,
    )
    with torch.no_grad():
        pairs = zip(sites, new, states, strict=True)
        return [Taught(site, {k: v.detach() for k, v in n.rows(s).items()}) for site, n, s in pairs]


def _watch(seen: dict[int, Tensor], place: int, neurons: Neurons | None) -> Callable[..., Tensor | None]:
    """Return a hook that notes the FFN's input of the only row, (tokens, width), and lets new neurons act."""

    def watch(module: Any, args: Any, output: Tensor, layout: Any) -> Tensor | None:
        seen[place] = args[0][0]
        return None if neurons is None else output + neurons.added(args[0])

    return watch


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
