"""How many edits a system bears: the largest number at which all limits hold, and which limit breaks first.

A seed's number is known between its last fine and its first broken panel, or from below where nothing broke; over
seeds it is fitted to that (`reports.statistics.censored`). Puts ladders, measures and limits together, and computes
none of them. With one seed a stream is a prefix of nothing else: the run of `edits` edits is climbed as far as its
limits allow, so every panel is of one and the same run.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from lifelong.log.folder import remove_run
from lifelong.log.shown import Shown, short_repr
from lifelong.running.config import Panels, RunConfig, check_one_stream, hash8
from lifelong.running.prepare import Prepared, prepare, resolve
from lifelong.running.run import locked
from lifelong.running.words import ConfigError
from lifelong.studies.stress.ladder import Ladder
from lifelong.studies.stress.limits import Limit, LimitVerdict, Measured, climb, verdict
from lifelong.studies.sweep import cells, is_sweep
from reports.analyses.decay import Decay, decay
from reports.numbers.last_panel import SCORERS, bytes_grown_since, last_panel, since_at_once
from reports.statistics.censored import Censored, typical_size

# A limit is on the p99 of routing at each panel: enough samples for one, at every panel.
LATENCY = {"latency_routes": 600, "latency_answers": 0, "latency_growth": 1.0}


@dataclass(frozen=True)
class Bounds:
    """What is asked of a system that is edited: the least shares, the longest routing, and who scores.

    With `relative` the least shares are of what was right as soon as its edit was made, not of all: a system that
    never answers more than half rightly may then keep all of it.
    """

    retention: float = 0.7
    generality: float = 0.5
    locality: float = 0.7
    route_p99_s: float = 0.05
    scorer: str = "generated"
    relative: bool = False

    def limits(self) -> tuple[Limit, ...]:
        """Return the limits; raises `ConfigError` for shares beyond 0 to 1, no time at all, or an unknown scorer."""
        shares = ("retention", "generality", "locality")
        for name in shares:
            if not 0 <= getattr(self, name) <= 1:
                raise ConfigError(f"{name}={getattr(self, name)}: a share from 0 (never broken) to 1.")
        if self.route_p99_s <= 0:
            raise ConfigError(f"route_p99_s={self.route_p99_s}: seconds above 0.")
        if self.scorer not in SCORERS:
            raise ConfigError(f"scorer={self.scorer!r}: expected one of {', '.join(SCORERS)}.")
        return (
            *(Limit(name, getattr(self, name)) for name in shares),
            Limit("route_p99_s", self.route_p99_s, least=False),
        )


@dataclass(frozen=True)
class Search:
    """How limits are searched: panels from `first` edits on, `per_doubling` of them, then halving to `tolerance`.

    Of few edits two panels in a row may break a limit by chance; what breaks at `first` is searched below it.
    """

    first: int = 32
    per_doubling: int = 1
    tolerance: float = 0.1


@dataclass(frozen=True)
class Climbed:
    """One seed's way up: its panels, the verdict on them, and how its retention decayed."""

    seed: int
    panels: tuple[Measured, ...]
    verdict: LimitVerdict
    decay: Decay

    @property
    def at_least(self) -> bool:
        """Whether nothing broke up to the end: the number is a lower bound."""
        return self.verdict.broken is None


@dataclass(frozen=True)
class Capacity:
    """How many edits one editor bears, over seeds; `most` is the length of the stream."""

    editor: str
    stream: str
    clock: str
    most: int
    climbs: tuple[Climbed, ...]

    __repr__ = short_repr

    @property
    def edits(self) -> float:
        """The median over seeds by maximum likelihood; a lower bound where none of them ever broke."""
        return self._fitted().median

    @property
    def at_least(self) -> bool:
        """Whether no seed ever broke."""
        return self._fitted().at_least

    @property
    def never_broke(self) -> int:
        """How many seeds never broke: theirs count as at least so many."""
        return sum(climb.at_least for climb in self.climbs)

    def interval(self) -> tuple[float, float] | None:
        """Return the 95 % interval of the median (its end may be infinite): None below five, or where none broke."""
        found = self._fitted()
        return None if found.low is None or found.high is None else (found.low, found.high)

    def _fitted(self) -> Censored:
        """Return the fit to what is known: a number of edits stands for half an edit below it to half above."""
        found = [climb.verdict for climb in self.climbs]
        lower = [one.fine if one.broken is None else max(0.0, one.fine - 0.5) for one in found]
        upper = [float("inf") if one.broken is None else one.broken - 0.5 for one in found]
        return typical_size(lower, upper)

    def binding(self) -> dict[str, int]:
        """Return how many seeds each measure's limit broke first in, most first; a tie counts for both."""
        return dict(Counter(name for climb in self.climbs for name in climb.verdict.binding).most_common())

    def plain(self) -> dict[str, Any]:
        """Return it all as plain data."""
        return {
            "editor": self.editor,
            "stream": self.stream,
            "clock": self.clock,
            "most": self.most,
            "edits": self.edits,
            "at_least": self.at_least,
            "never_broke": self.never_broke,
            "interval": self.interval(),
            "binding": self.binding(),
            "seeds": [{**asdict(climb), "at_least": climb.at_least} for climb in self.climbs],
        }


def stress_edits(
    source: str | None,
    changes: Mapping[str, Any],
    bounds: Bounds = Bounds(),
    search: Search = Search(),
    *,
    seeds: int = 1,
    fresh: bool = False,
    say: Callable[[str], None] = lambda _: None,
) -> list[Capacity]:
    """Return how many edits each editor of a configuration bears, at most `edits` of them.

    `source` and `changes` are those of `run`, or of a sweep; `editor` may be a list. Panels that earlier calls left
    in the configuration's `out` are used again; `fresh` makes them anew. Raises `ConfigError` and what `run` raises.
    """
    bounds.limits()
    return Shown(
        _capacity(config, bounds, search, range(config.seed, config.seed + seeds), fresh, say)
        for config in configs_of(source, changes, relative=bounds.relative)
    )


def configs_of(source: str | None, changes: Mapping[str, Any], *, relative: bool = False) -> list[RunConfig]:
    """Return one configuration per editor, without panels of its own: they are held where the search asks.

    At each of them every past edit is probed, unless `panels.sample` says how many; where limits are `relative` also
    right after each edit. Raises `ConfigError` for a change
    of the panels' steps or of what is asked between them.
    """
    for key in ("panels", "panels.at", "panels.every", "panels.instant", "panels.instant_axes", "panels.gaps"):
        if key in changes:
            raise ConfigError(f"{key}: the search says itself when panels are held; see --first and --per-doubling.")
    if source is not None and is_sweep(source):
        found = [cell.config for cell in cells(source, changes)]
    else:
        given = changes.get("editor")
        named = [{"editor": name} for name in given] if isinstance(given, list) else [{}]
        found = [resolve(source, {**changes, **own}).config for own in named]
    for config in found:
        check_one_stream(config, "the search")
    at_once = ("reliability", "generality", "locality") if relative else ()
    chosen: dict[str, Any] = {"at": (), "every": 0, "instant": relative, "instant_axes": at_once, "gaps": ()}
    for key, value in LATENCY.items():
        if f"panels.{key}" not in changes:
            chosen[key] = value
    if "panels.sample" not in changes:  # a sample by age is mostly of young edits: retention would be too high
        chosen["sample"] = max(config.edits for config in found)
    panels = (Panels.model_validate(config.panels.model_dump() | chosen) for config in found)
    pairs = zip(found, panels, strict=True)
    return [resolve(config.model_copy(update={"panels": some})).config for config, some in pairs]


def _capacity(
    config: RunConfig,
    bounds: Bounds,
    search: Search,
    seeds: Sequence[int],
    fresh: bool,
    say: Callable[[str], None],
) -> Capacity:
    label, climbs, most = resolve(config).label, [], config.edits
    for seed in seeds:
        ready = prepare(resolve(config.model_copy(update={"seed": seed})), say)
        most = len(ready.stream.edits)
        with ready.computing():
            climbs.append(_climbed(ready, f"{label} seed {seed}", bounds, search, fresh, say))
    return Capacity(label, config.stream.name, config.clock.name, most, tuple(climbs))


def _climbed(
    ready: Prepared, name: str, bounds: Bounds, search: Search, fresh: bool, say: Callable[[str], None]
) -> Climbed:
    limits = bounds.limits()
    folder = Path(ready.config.out) / f"stress-{ready.resolved.title}-{hash8(ready.config, ready.digests)}"
    with locked(folder):
        if fresh:
            for rung in folder.glob("step-*"):
                remove_run(rung)
        ladder = Ladder(ready, folder, say)

        def at(step: int) -> Measured:
            reached, found = last_panel(ladder.at(step), bounds.scorer)
            behind = [ladder.rung(rung) for rung in ladder.steps() if rung <= reached]
            found |= bytes_grown_since(behind)
            if bounds.relative:
                found |= since_at_once(behind, bounds.scorer)
            say(f"{name}: {reached} edits: " + ", ".join(f"{x.measure} {_shown(found, x)}" for x in limits))
            return Measured(reached, {k: v for k, (v, _) in found.items()}, {k: n for k, (_, n) in found.items()})

        try:
            first = min(search.first, ladder.most)
            panels = climb(
                at, limits, first, ladder.most, per_doubling=search.per_doubling, tolerance=search.tolerance
            )
        finally:
            ladder.close()
    kept = [p for p in panels if "retention" in p.values]
    shares = [min(1.0, p.values["retention"]) for p in kept]  # of what was right at once it may be more
    shape = decay([p.step for p in kept], shares, [p.n["retention"] for p in kept])
    return Climbed(ready.config.seed, panels, verdict(panels, limits), shape)


def _shown(found: Mapping[str, tuple[float, int]], limit: Limit) -> str:
    if limit.measure not in found:
        return "-"
    value = found[limit.measure][0]
    return f"{value:.3g}{' (broken)' if limit.broken(value) else ''}"
