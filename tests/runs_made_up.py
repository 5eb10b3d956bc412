"""Panels and curves that nobody measured, for tests of what is made of them."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from types import MappingProxyType

import numpy as np

from lifelong.log import Edited, Gauged, Probed, RunLog, Timed
from lifelong.log.checkpoint import State
from lifelong.studies.stress.limits import Limit, Measured

LIMITS = (Limit("retention", 0.8), Limit("locality", 0.9), Limit("route_p99_s", 0.01, least=False))


def breaking(retention: float = np.inf, locality: float = np.inf, p99: float = np.inf) -> Callable[[int], Measured]:
    """A system whose measures keep their limits up to so many edits."""

    def at(step: int) -> Measured:
        values = {
            "retention": 1.0 if step <= retention else 0.5,
            "locality": 1.0 if step <= locality else 0.5,
            "route_p99_s": 0.001 if step <= p99 else 0.1,
        }
        return Measured(step, values, dict.fromkeys(values, step))

    return at


def flat(panels: Mapping[int, float]) -> list[Measured]:
    """Panels of one measure."""
    return [Measured(step, {"retention": value}, {"retention": 100}) for step, value in panels.items()]


CURVES: Mapping[str, Callable[[np.ndarray], np.ndarray]] = {
    "flat": lambda t: np.full(len(t), 0.9),
    "straight": lambda t: 0.95 - 0.7 * t,
    "logarithm": lambda t: 0.95 - 0.1 * np.log(np.maximum(1.0, 500 * t)),
    "exponential": lambda t: 0.95 * np.exp(-2 * t),
    "drop": lambda t: np.where(t > 0.5, 0.1, 0.92),
    "drop_from_a_slope": lambda t: np.where(t > 0.6, 0.1, 0.95 - 0.4 * t),
    "bend": lambda t: np.where(t > 0.5, 0.92 - 1.6 * (t - 0.5), 0.92),
    "early_drop": lambda t: np.where(t > 0.12, 0.15, 0.95),
}


PROBES = [
    ("reliability", "edit", "image"),
    ("generality", "template", "text"),
    ("generality", "seen", "image"),
    ("locality", "question", "text"),
    ("locality", "near", "image"),
    ("locality", "same-image", "image"),
    ("locality", "far", "image"),
    ("portability", "hop", "image"),
    ("specificity", "must", "image"),
    ("specificity", "must-not", "image"),
]


STEPS = (1, 2, 5, 10, 20, 60)


def fake_run(
    folder: Path,
    editor: str,
    keep: float,
    seed: int = 0,
    label: str = "",
    options: str = "",
    steps: tuple[int, ...] = STEPS,
    *,
    first: float = 1.0,
    probes: Sequence[tuple[str, str, str]] = PROBES,
    routed: bool = True,
    samples: int = 60,
    kinds: tuple[str, str, str] = ("partial", "generic", "text"),
    on: tuple[str, str] = ("tiny", "toy"),
    said: Mapping[str, object] = MappingProxyType({}),
    fit: int | None = None,
) -> Path:
    """Write a run whose answers are right with probability `first` * `keep` ** (age / 20).

    Without a label as before there were labels. `probes` (axis, variant, modality) are asked of every edit; routes
    and latency `samples` may be left out; `on` is its model and stream, `said` more of its manifest, `fit` the seed
    of its training.
    """
    rng = np.random.default_rng(seed)
    model, stream = on
    config = f'editor = {{ name = "{editor}"{options} }}\nstream = {{ name = "{stream}" }}\n'
    config += f'model = {{ name = "{model}" }}\nclock = {{ name = "modelled" }}\nseed = {seed}\n'
    config += "" if fit is None else f"fit = {{ seed = {fit} }}\n"
    manifest = {"hardware": "here"} | ({"label": label} if label else {}) | dict(said)
    log = RunLog.create(folder / Path(editor).name, config, manifest)
    for panel, step in enumerate(steps):
        facts: list[Edited | Probed | Gauged | Timed] = []
        facts += [Edited(step, float(step), f"e{step}", 0.0, float(step), 0.01 * (1 + rng.random()))]
        bank = step if routed and editor != "none" else 0
        gauges = (("bank_len", bank), ("bank_bytes", 100 * bank), ("rss_bytes", 1e8))
        facts += [Gauged(step, float(step), "system", name, float(value)) for name, value in gauges]
        for edit in range(1, step + 1):
            for i, (axis, variant, modality) in enumerate(probes):
                right = rng.random() < first * keep ** ((step - edit) / 20)
                for scorer in ("generated", "teacher_forced", "locality_top1_answer")[
                    : 3 if axis == "locality" else 2
                ]:
                    kind = kinds[edit % 3]
                    cell = (step, 0.0, f"p{edit}.{i}", f"e{edit}", step - edit, axis, variant, modality, kind, scorer)
                    home = int(bank > 0)
                    facts.append(Probed(*cell, float(right), routed_n=home, routed_home=bool(home and right)))
        for operation in ("encode", "route", "apply", "answer"):
            facts += [
                Timed(step, bank, operation, 1e-4 * (1 + rng.random()) * max(1, bank) ** 0.5) for _ in range(samples)
            ]
        log.commit(panel, facts, State({}, {}))
    log.finish()
    return log.folder
