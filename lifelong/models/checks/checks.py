"""What every model must keep, each a check by name: the door gives what transformers alone gives.

A check returns '' where it is kept, else what differs, in one line. Numbers are compared to 3e-4 nats in float32 and
more in shorter types; tokens and ids are equal. Knows the door (`VLM`, which it is handed) and the reference; nothing
of families, editors or runs.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from itertools import product
from typing import Any

import torch
from torch import Tensor, nn

from lifelong.models.checks.cases import ALL_CASES, FEW_CASES, PAIR_CASE, CheckedCase, drawn
from lifelong.models.checks.reference import ModelReference, Question
from lifelong.models.passes.decode import greedy
from streams.types import ImageRef

_NATS, _TOKENS = 3e-4, 8
_LOOSER = {torch.bfloat16: 400.0, torch.float16: 60.0}  # times the bound of float32
_TOP = 5


@dataclass
class Bench:
    """A model on the bench: `make` gives a door that has read nothing yet, `cases` are the questions.

    The same doors' and references' answers serve several checks.
    """

    make: Callable[[], Any]
    cases: Sequence[CheckedCase]
    tokens: int = _TOKENS
    both_ways: bool = True  # whether `generate` is asked without a cache as well
    known: dict[Any, Any] = field(default_factory=dict)

    @property
    def door(self) -> Any:
        """The door of the checks that do not need a new one."""
        return self.once("door", self.make)

    @property
    def reference(self) -> ModelReference:
        """The model as transformers alone asks it."""
        door = self.door
        return self.once("reference", lambda: ModelReference(door.model, door.processor, door.reader.chat.template))

    @property
    def near(self) -> float:
        """How far log-probabilities may differ, in nats."""
        return _NATS * _LOOSER.get(self.door.model.dtype, 1.0)

    @property
    def layers(self) -> list[int]:
        """The decoder layers that are tried: all of a small model, the first, middle and last of a large one."""
        n = self.door.layers
        return list(range(n)) if n <= 6 and self.both_ways else sorted({0, n // 2, n - 1})

    def once(self, key: Any, make: Callable[[], Any]) -> Any:
        """Return what is kept under a key, made at the first time."""
        if key not in self.known:
            self.known[key] = make()
        return self.known[key]

    @property
    def hooks(self) -> dict[str, int]:
        """How many hooks each module had at the first question, when transformers had put in its own."""
        return self.once("hooks", self._count_hooks)

    def _count_hooks(self) -> dict[str, int]:
        question = self.question(self.cases[-1])
        with torch.no_grad():
            self.reference.forward(self.reference.answered(question, question.target), output_hidden_states=True)
        return _hooks_of(self.door.model)

    def question(self, case: CheckedCase) -> Question:
        """Return a case as the reference takes it."""
        family, tiles, parts = self.door.reader.quirk, [], []
        for part in case.prompt.parts:
            parts.append(len(tiles) if isinstance(part, ImageRef) else str(part))
            tiles.extend([family.tiles(drawn(part))] if isinstance(part, ImageRef) else [])
        ordered = [(p,) if isinstance(p, str) else tiles[p] for p in family.arrange(parts)]
        return Question(tuple(p for some in ordered for p in some), tuple(self.door.target_ids(case.target)))

    def true_logprobs(self, case: CheckedCase) -> Tensor:
        """Return the log-probabilities (m,) that the reference gives a case's target."""
        return self.once(("logprobs", case), lambda: self._true(case))

    def true_ids(self, case: CheckedCase, *, cache: bool = True) -> list[int]:
        """Return the ids that the reference generates, the end token left out."""
        ends = sorted(self.door.passes.end_ids)
        made: Callable[[], list[int]] = lambda: self.reference.generated(  # noqa: E731
            self.question(case), self.tokens, ends, cache=cache
        )
        ids = self.once(("ids", case, cache), made)
        return ids[: next((k for k, i in enumerate(ids) if i in ends), len(ids))]

    def _true(self, case: CheckedCase) -> Tensor:
        with torch.no_grad():
            return self.reference.logprobs(self.question(case)).cpu()


ModelCheck = Callable[[Bench], str]


def _drawing(door: Any) -> Any:
    """Let a door draw the checks' pictures instead of opening any, with as many lines as they like; returns it."""
    door.reader.open_image = drawn
    door.lines = 1 << 20
    return door


# What is asked


def _words_alone(bench: Bench) -> str:
    words = [case for case in bench.cases if not case.prompt.images]
    return _scores_differ(bench, words, bench.door)


def _prompt_ids(bench: Bench) -> str:
    for case in bench.cases:
        ours = bench.door.prompt_ids([case.prompt])[0].tolist()
        theirs = bench.reference.inputs(bench.question(case))["input_ids"][0].tolist()
        if ours != theirs:
            at = next((k for k, (a, b) in enumerate(zip(ours, theirs, strict=False)) if a != b), len(ours))
            return f"{len(ours)} tokens, the official template has {len(theirs)}; the first other one is no. {at}"
    return ""


def _target(bench: Bench) -> str:
    """The target's tokens are those of an answer that the template writes, where it writes answers."""
    door, case = bench.door, bench.cases[0]
    written = bench.reference.answer_ids(case.target)
    ours = door.target_ids(case.target)
    if written is not None and ours[:-1] != written[: len(ours) - 1]:
        return f"the answer begins with token {ours[0]}, the template writes {written[0]}"
    return ""


# Scores


def _score(bench: Bench) -> str:
    for case in bench.cases:
        why = _scores_differ(bench, [case], bench.make())
        if why:
            return why
    return ""


def _batch(bench: Bench) -> str:
    """Rows together, of which no picture was seen before, and again when all were."""
    door = bench.make()
    return _scores_differ(bench, bench.cases, door) or _scores_differ(bench, bench.cases, door)


def _order(bench: Bench) -> str:
    door = bench.door
    for case in bench.cases:
        top = door.score([case.prompt], [case.target], top=_TOP)[0].top_ids
        with torch.no_grad():
            logits = bench.reference.logits(bench.question(case)).float().cpu()
        ours = logits.gather(1, torch.from_numpy(top).long())  # (tokens, top)
        away = (ours - logits.topk(top.shape[1]).values).abs().max()
        if away > bench.near * 10:
            return f"the ids in order are others: {float(away):.2g} below the best"
    return ""


def _later(bench: Bench) -> str:
    """A later token of the target moves no logit before it."""
    door = bench.door
    for case in bench.cases:
        one, other = door.target_ids(case.target), door.target_ids(case.other)
        same = next((k for k, (a, b) in enumerate(zip(one, other, strict=False)) if a != b), 0)
        first, second = (door.answer_logits([case.prompt], ids=[ids])[0] for ids in (one, other))
        away = (first[: same + 1] - second[: same + 1]).abs().max()
        if away > bench.near * 10:
            return f"another token {same + 1} of a target moves the logits before it by {float(away):.2g}"
    return ""


# Answers


def _greedy(bench: Bench) -> str:
    said = 0
    for case in bench.cases:
        for cache in (True, False) if bench.both_ways else (True,):
            theirs = bench.true_ids(case, cache=cache)
            ours = _said(bench.make() if cache else bench.door, [case], bench.tokens)[0]
            if not same_choice(bench, case, ours, theirs):
                return f"decodes {ours}, `generate` {'with' if cache else 'without'} a cache {theirs}"
            said += len(ours)
    return "" if said else "every answer is empty, so that nothing is shown"


def _greedy_batch(bench: Bench) -> str:
    for case, ours in zip(bench.cases, _said(bench.make(), bench.cases, bench.tokens), strict=True):
        if not same_choice(bench, case, ours, bench.true_ids(case)):
            return f"decodes {ours} in a batch, `generate` alone {bench.true_ids(case)}"
    return ""


def _in_any_order(bench: Bench) -> str:
    """Scored, then decoded; captured, then scored; hidden states first: nothing depends on what came before."""
    door, prompts = bench.make(), [case.prompt for case in bench.cases]
    targets = [case.target for case in bench.cases]
    middle = door.decoder_layer(door.layers // 2)
    answerer = door.answerer(prompts)
    for _ in range(2):
        answerer.score(targets)
        texts = answerer.generate(max_tokens=bench.tokens)
        for case, text in zip(bench.cases, texts, strict=True):
            if text != door.text_of(bench.true_ids(case)):
                return f"says {text!r} after scoring, `generate` {door.text_of(bench.true_ids(case))!r}"
        door.capture(prompts, middle)
        door.hidden(prompts, door.layers // 2)
        why = _scores_differ(bench, bench.cases, door)
        if why:
            return f"after capturing: {why}"
    return ""


# Inside


def _hidden(bench: Bench) -> str:
    """What a layer takes; transformers' own list is the same, but where pictures are added between layers."""
    door, prompts = bench.door, [case.prompt for case in bench.cases]
    states = {i: door.hidden(prompts, i, [case.target for case in bench.cases]).states for i in bench.layers}
    for k, case in enumerate(bench.cases):
        question = bench.question(case)
        with torch.no_grad():
            taken, listed = bench.reference.layer_inputs(question, {i: door.decoder_layer(i) for i in bench.layers})
        for i in bench.layers:
            why = _tensors_differ(bench, states[i][k], taken[i])
            if not why and not door.passes.sees_later:
                why = _tensors_differ(bench, states[i][k], listed[i][0])
            if why:
                return f"layer {i}: {why}"
    return ""


def _parts(bench: Bench) -> str:
    """What a part inside of a layer takes, in a batch and alone."""
    door, prompts = bench.door, [case.prompt for case in bench.cases]
    middle = door.layers // 2
    for part in _back_to_width(door, middle):
        found = door.capture(prompts, part, [case.target for case in bench.cases])
        for case, states in zip(bench.cases, found, strict=True):
            with torch.no_grad():
                taken, _ = bench.reference.layer_inputs(bench.question(case), {middle: part})
            why = _tensors_differ(bench, states, taken[middle].view(-1, states.shape[-1]))
            if why:
                return why
    return ""


def _back_to_width(door: Any, layer: int) -> list[nn.Module]:
    """Return the matrix that most editors change, where a layer has one."""
    try:
        return [door.submodule(layer, "mlp.down_proj")]
    except ValueError:
        return []


def _resume(bench: Bench) -> str:
    door, prompts = bench.door, [case.prompt for case in bench.cases]
    targets = [case.target for case in bench.cases]
    for i in bench.layers:
        found = door.resume_score(door.hidden(prompts, i, targets))
        why = _differ(bench, bench.cases, found)
        if why:
            return f"from layer {i}: {why}"
    return ""


def _hooks(bench: Bench) -> str:
    """A hook on every token, and one at the last prompt token, under batches and a cache, against neither."""
    door, middle = bench.door, bench.door.layers // 2
    generator = torch.Generator().manual_seed(0)
    push = (torch.randn(door.width, generator=generator) * 2).to(door.device, door.model.dtype)
    parts = [door.decoder_layer(middle), *_back_to_width(door, middle)]
    for module, last_only in product(parts, (False, True)):
        with door.hook(module, _pushing(push, last_only=last_only)):
            ours = _said(door, bench.cases, bench.tokens)
        for case, ids in zip(bench.cases, ours, strict=True):
            true = _pushed(bench, case, module, push, last_only=last_only)
            if ids != true:
                where = "at the last prompt token" if last_only else "on every token"
                return f"a hook of a {type(module).__name__} {where} gives {ids}, without batch and cache {true}"
    return ""


def _gradient(bench: Bench) -> str:
    door, case = bench.door, bench.cases[0]
    layer = door.layers // 2
    block = door.decoder_layer(layer)
    weight = next((p for p in block.parameters() if p.dim() == 2 and p.is_floating_point()), None)
    if weight is None:
        return "no matrix of the layer can be differentiated"
    value = weight.detach().clone().requires_grad_()
    hidden = door.hidden([case.prompt], layer, [case.target])
    ids = torch.tensor(door.target_ids(case.target), device=door.device)
    with door.swap({door.name_of(weight): value}):
        logits = door.resume(hidden, grad=True, answers_only=True)[0].float()
        ours = torch.autograd.grad(nn.functional.cross_entropy(logits, ids), value)[0]
    weight.requires_grad_(True)
    try:
        loss = -bench.reference.logprobs(bench.question(case)).mean()
        true = torch.autograd.grad(loss, weight)[0]
    finally:
        weight.requires_grad_(False)
    return _tensors_differ(bench, ours, true)


def _several(bench: Bench) -> str:
    """Two pictures in one prompt, which were seen alone before, where the model takes so many."""
    if bench.door.unaskable([(PAIR_CASE.prompt, PAIR_CASE.target)])[0]:
        return ""
    door = bench.make()
    return _scores_differ(bench, bench.cases, door) or _scores_differ(bench, [PAIR_CASE], door)


def _left(bench: Bench) -> str:
    """No hook, forward or offset of a prompt stays in the model; called after all others."""
    door, before = bench.door, bench.hooks
    _said(door, bench.cases, 2)
    door.answerer([case.prompt for case in bench.cases]).score([case.target for case in bench.cases])
    door.capture([case.prompt for case in bench.cases], door.decoder_layer(0))
    after = _hooks_of(door.model)
    for name, module in door.model.named_modules():
        if "forward" in module.__dict__:
            return f"{name or 'the model'} has another forward"
        if after[name] != before[name]:
            return f"{name or 'the model'} has a hook"
        if getattr(module, "rope_deltas", None) is not None:
            return f"{name or 'the model'} keeps the offsets of the last prompt"
    learning = [name for name, p in door.model.named_parameters() if p.requires_grad]
    return f"{learning[0]} asks for a gradient" if learning else ""


MODEL_CHECKS: dict[str, ModelCheck] = {
    "words alone": _words_alone,
    "prompt ids": _prompt_ids,
    "target": _target,
    "score": _score,
    "batch": _batch,
    "two pictures": _several,
    "top ids": _order,
    "later tokens": _later,
    "greedy": _greedy,
    "greedy in a batch": _greedy_batch,
    "any order": _in_any_order,
    "hidden states": _hidden,
    "parts of a layer": _parts,
    "resume": _resume,
    "hooks": _hooks,
    "gradient": _gradient,
    "nothing left": _left,
}
"""All checks by name, in the order in which they are made."""

SHORT_FORM = ("prompt ids", "target", "batch", "greedy in a batch", "two pictures", "resume")
"""Those of the short form, which a model is held to when it is loaded for the first time."""


def bench_of(make: Callable[[], Any], *, short: bool = False) -> Bench:
    """Return the bench of a model; `make` gives a new door each time. `short` asks few and short questions."""
    doors = lambda: _drawing(make())  # noqa: E731
    return Bench(doors, FEW_CASES, tokens=4, both_ways=False) if short else Bench(doors, ALL_CASES)


# Comparing


def _hooks_of(model: nn.Module) -> dict[str, int]:
    return {name: len(m._forward_hooks) + len(m._forward_pre_hooks) for name, m in model.named_modules()}


def _scores_differ(bench: Bench, cases: Sequence[CheckedCase], door: Any) -> str:
    return _differ(bench, cases, door.score([c.prompt for c in cases], [c.target for c in cases]))


def _differ(bench: Bench, cases: Sequence[CheckedCase], found: Sequence[Any]) -> str:
    for case, scored in zip(cases, found, strict=True):
        true = bench.true_logprobs(case)
        ours = torch.from_numpy(scored.logprobs)
        if not bool(torch.isfinite(true).all()):
            return (
                "an answer's probability is not finite, by transformers alone. Usual causes: damaged weights, or a"
                " dtype too narrow for them (try dtype=float32)"
            )
        away = float((ours - true).abs().max())
        if not away <= bench.near * max(1.0, float(true.abs().max()) / 20):
            kind = "with a picture" if case.prompt.images else "of words alone"
            return f"a prompt {kind} is scored {away:.2g} nats off"
    return ""


def same_choice(bench: Bench, case: CheckedCase, ours: Sequence[int], true: Sequence[int]) -> bool:
    """Whether two decoded answers are one, or part where the reference finds two tokens equal but for rounding."""
    if list(ours) == list(true):
        return True
    k = next((k for k, (a, b) in enumerate(zip(ours, true, strict=False)) if a != b), min(len(ours), len(true)))
    ends = sorted(bench.door.passes.end_ids)
    with torch.no_grad():
        inputs = bench.reference.answered(bench.question(case), list(ours[:k]))
        logits = bench.reference.forward(inputs).logits[0, -1].float()
    best = [logits[[said[k]] if k < len(said) else ends].max() for said in (ours, true)]
    # Logits of 33 are .25 apart in bfloat16: two that lie next to each other may change places in a batch.
    spacing = torch.finfo(bench.door.model.dtype).eps * float(max(abs(best[0]), abs(best[1])))
    return bool(abs(best[0] - best[1]) <= max(bench.near, spacing))


def _tensors_differ(bench: Bench, ours: Tensor, true: Tensor) -> str:
    if ours.shape != true.shape:
        return f"shape {tuple(ours.shape)}, expected {tuple(true.shape)}"
    size = float(true.float().abs().max())
    away = float((ours.float() - true.float()).abs().max())
    return "" if away <= bench.near * 10 * max(size, 1e-6) else f"{away / max(size, 1e-12):.2g} of the largest off"


def _said(door: Any, cases: Sequence[CheckedCase], tokens: int) -> list[list[int]]:
    out: dict[int, list[int]] = {}
    with torch.no_grad():
        for batch in door.passes.batches(door.rows([case.prompt for case in cases]), new_tokens=tokens):
            ids = greedy(door.passes, batch, tokens)
            out |= {row.place: said for row, said in zip(batch.rows, ids, strict=True)}
    return [out[i] for i in range(len(cases))]


def _pushing(push: Tensor, *, last_only: bool) -> Callable[..., Any]:
    def fn(module: nn.Module, args: tuple[Any, ...], output: Any, layout: Any) -> Any:
        states = output[0] if isinstance(output, tuple) else output
        where = layout.image | layout.prompt | layout.answer  # (batch, tokens)
        if last_only:
            at = torch.arange(where.shape[1], device=where.device)
            where = at == layout.last_prompt[:, None]
        moved = states + where[..., None] * push
        return (moved, *output[1:]) if isinstance(output, tuple) else moved

    return fn


def _pushed(bench: Bench, case: CheckedCase, module: nn.Module, push: Tensor, *, last_only: bool) -> list[int]:
    """Return what the reference decodes by whole passes under a plain hook."""
    question = bench.question(case)
    last = bench.reference.inputs(question)["input_ids"].shape[1] - 1

    def fn(_: nn.Module, args: tuple[Any, ...], output: Any) -> Any:
        states = output[0] if isinstance(output, tuple) else output
        moved = states.clone()
        where = slice(last, last + 1) if last_only else slice(None)
        moved.view(1, -1, moved.shape[-1])[:, where] += push  # some families leave out the first dimension
        return (moved, *output[1:]) if isinstance(output, tuple) else moved

    handle, ids = module.register_forward_hook(fn), list[int]()
    try:
        with torch.no_grad():
            while len(ids) < bench.tokens:
                out = bench.reference.forward(bench.reference.answered(question, ids))
                ids.append(int(out.logits[0, -1].argmax()))
                if ids[-1] in bench.door.passes.end_ids:
                    return ids[:-1]
    finally:
        handle.remove()
    return ids
