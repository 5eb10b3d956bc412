"""Temporary changes of a model: hooks and exchanged parameters that are gone when their context ends.

Keeps account of how early in the model the active changes act, so that cached results that they would change are
passed by. Knows nothing about editors.
"""

from __future__ import annotations

import difflib
from collections.abc import Callable, Iterator, Mapping
from contextlib import AbstractContextManager, ExitStack, contextmanager
from functools import partial
from typing import Any

from torch import Tensor, nn

from lifelong.models.passes.layout import Layout
from lifelong.models.passes.roles import giving, taking
from lifelong.models.passes.structure import Structure

HookFn = Callable[[nn.Module, tuple[Any, ...], Any, Layout], Any]


def runs_flat(states: Tensor, batch: int, tokens: int) -> bool:
    """Whether a part's states are (batch * tokens, features) instead of (batch, tokens, features)."""
    return states.dim() == 2 and len(states) == batch * tokens


class Interventions:
    """The changes that are active now, in one model; `layout` is what the running forward pass published."""

    def __init__(self, model: nn.Module, structure: Structure) -> None:
        self.model, self.structure = model, structure
        self.layout: Layout | None = None
        self.skip_below = -3  # hooks of modules that act earlier stay silent: their layers are identities now
        self.version = 0  # another number after every change that begins or ends
        self._active: list[Callable[[], AbstractContextManager[None]]] = []  # what would begin each change again
        self._depths: list[int] = []  # one for each hook and for each place of an exchanged parameter
        self._modules: list[nn.Module] = []  # theirs; of a part in two modules both
        self._wide: list[int] = []  # depths of the hooks that are not `pointwise`
        self._late = 0  # modules of hooks that are late
        self._on_head = self._hooks = 0
        self._holders: dict[int, list[tuple[nn.Module, str]]] | None = None
        self._by_name: dict[str, nn.Parameter] = {}

    @property
    def lowest(self) -> int:
        """How early the earliest active change acts (`Structure.depth`); above all layers when there is none."""
        return min(self._depths, default=len(self.structure.layers) + 1)

    @property
    def hooked(self) -> bool:
        """Whether any hook is active, so that a layout has a reader."""
        return self._hooks > 0

    @property
    def on_head(self) -> bool:
        """Whether a hook wants to see the head's input and output at every position."""
        return self._on_head > 0

    @property
    def widest(self) -> int:
        """The depth of the last hook that has to see every token (not a `pointwise` one); -3 if there is none."""
        return max(self._wide, default=-3)

    @property
    def late(self) -> bool:
        """Whether something is changed, and no token before the last prompt token by any of it."""
        return 0 < self._late == len(self._modules)

    @property
    def only(self) -> nn.Module | None:
        """The one module that every active change is a `pointwise` hook of, None where there are others."""
        single = {id(m): m for m in self._modules}
        return self._modules[0] if len(single) == 1 and self._hooks == len(self._modules) and not self._wide else None

    def only_within(self, name: str, layer: int) -> bool:
        """Whether everything that is changed lies inside the module of a name, or above a layer."""
        names = self.structure.names
        inside = (names[id(m)] == name or names[id(m)].startswith(name + ".") for m in self._modules)
        return all(i or self.structure.depth(m) > layer for i, m in zip(inside, self._modules, strict=True))

    @contextmanager
    def hook(self, module: nn.Module, fn: HookFn, *, pointwise: bool = False, late: bool = False) -> Iterator[None]:
        """Run `fn(module, args, output, layout)` after every forward of a module; what it returns (or None) counts.

        It is called in forward passes that publish a layout, and is removed on exit, also after an error. With
        `pointwise` it may be called for some of the tokens only, with a layout of those. A `late` one leaves all
        tokens before the last prompt token as they are.
        """
        depth = self.structure.depth(module)
        first, last = taking(module), giving(module)
        parts = [last] if first is last else [first, last]
        given_first: list[tuple[Any, ...]] = []  # what a part in two modules was given, until its second is through

        def note(_: nn.Module, args: tuple[Any, ...]) -> None:
            given_first[:] = [args]

        def wrapped(_: nn.Module, args: tuple[Any, ...], output: Any) -> Any:
            args = given_first.pop() if first is not last else args
            # Without a layout it is a pass of somebody else's; layers below a resumed one are identities now.
            if self.layout is None or depth < self.skip_below:
                return None
            batch, tokens = self.layout.prompt.shape
            if depth < 0 or not isinstance(output, Tensor) or not runs_flat(output, batch, tokens):
                return fn(module, args, output, self.layout)
            # A family that lays its tokens one after another inside a layer: hooks see rows all the same.
            rows = tuple(x.unflatten(0, (batch, tokens)) if isinstance(x, Tensor) else x for x in args)
            given = output.unflatten(0, (batch, tokens))
            changed = fn(module, rows, given, self.layout)
            return (given if changed is None else changed).flatten(0, 1)

        # The account of what is changed has to hold before the body runs: caches are asked by it.
        handles = [last.register_forward_hook(wrapped)]
        handles += [first.register_forward_pre_hook(note)] if first is not last else []
        again = partial(self.hook, module, fn, pointwise=pointwise, late=late)
        self._active.append(again)
        self._depths.append(depth)
        self._modules.extend(parts)
        self._wide.extend([] if pointwise else [depth])
        self._late += late * len(parts)
        self._on_head += module is self.structure.head
        self._hooks += 1
        self.version += 1
        try:
            yield
        finally:
            for handle in handles:
                handle.remove()
            self._active.remove(again)
            self._depths.remove(depth)
            for part in parts:
                self._modules.remove(part)
            if not pointwise:
                self._wide.remove(depth)
            self._late -= late * len(parts)
            self._on_head -= module is self.structure.head
            self._hooks -= 1
            self.version += 1

    @contextmanager
    def swap(self, parameters: Mapping[str, Tensor]) -> Iterator[None]:
        """Put other tensors in the place of parameters, by name, without a copy; the same ones are back on exit.

        Tied parameters are exchanged everywhere. Raises `ValueError` for an unknown name or a wrong shape, type
        or device.
        """
        # 1. Check all of them before anything is exchanged, and find every module that holds one of them.
        holders = self._index()
        plan: list[tuple[nn.Module, str, nn.Parameter, Tensor]] = []
        depths: list[int] = []
        for name, new in parameters.items():
            old = self.parameter(name)
            if (new.shape, new.dtype, new.device) != (old.shape, old.dtype, old.device):
                raise ValueError(
                    f"Parameter {name}: given {tuple(new.shape)} {new.dtype} on {new.device}, expected"
                    f" {tuple(old.shape)} {old.dtype} on {old.device}."
                )
            for module, attribute in holders[id(old)]:
                plan.append((module, attribute, old, new))
                depths.append(self.structure.depth(module))

        # 2. Enter them in the account, but not in `_hooks`: an exchanged parameter reads no layout.
        again = partial(self.swap, parameters)
        self._active.append(again)
        self._depths.extend(depths)
        self._modules.extend(module for module, *_ in plan)
        self.version += 1

        # 3. Exchange. `_parameters` is written directly, because assigning a plain tensor to an attribute is refused.
        try:
            for module, attribute, _, new in plan:
                module._parameters[attribute] = new  # type: ignore[assignment]
            yield
        finally:
            for module, attribute, old, _ in plan:
                module._parameters[attribute] = old
            self._active.remove(again)
            for depth, (module, *_) in zip(depths, plan, strict=True):
                self._depths.remove(depth)
                self._modules.remove(module)
            self.version += 1

    def now(self) -> Callable[[], AbstractContextManager[None]]:
        """Return what makes the changes of this moment active again for a while, where they have ended since.

        It raises `RuntimeError` where others are active then.
        """
        known = tuple(self._active)

        @contextmanager
        def again() -> Iterator[None]:
            there = len(self._active)
            if tuple(self._active) != known[:there]:
                raise RuntimeError("other changes of the model are active than when its pass was begun")
            with ExitStack() as stack:
                for begin in known[there:]:
                    stack.enter_context(begin())
                yield

        return again

    def parameter(self, name: str) -> nn.Parameter:
        """Return the base model's parameter of a name; raises `ValueError` naming the near ones."""
        self._index()
        if name not in self._by_name:
            close = difflib.get_close_matches(name, self._by_name, 3, 0.4)  # of thousands: not all are listed
            hint = f" Did you mean {' or '.join(close)}?" if close else " Take names from `vlm.name_of(parameter)`."
            raise ValueError(f"The model has no parameter {name!r}.{hint}")
        return self._by_name[name]

    def name_of(self, parameter: nn.Parameter) -> str:
        """Return the name under which `swap` knows a parameter of the base model."""
        self._index()
        for name, known in self._by_name.items():
            if known is parameter:
                return name
        raise ValueError("This tensor is not a parameter of the base model.")

    def _index(self) -> dict[int, list[tuple[nn.Module, str]]]:
        """Return all (module, attribute) that hold a parameter, by its id; made before any is exchanged."""
        if self._holders is None:
            self._holders = {}
            for prefix, module in self.model.named_modules():
                for attribute, p in module._parameters.items():
                    if p is not None:
                        self._by_name[f"{prefix}.{attribute}" if prefix else attribute] = p
                        self._holders.setdefault(id(p), []).append((module, attribute))
        return self._holders
