"""What one reply says about one probe: its scores, and the facts that go to the log.

Knows probes, routes and scorers; nothing of models, editors' insides, panels or reuse.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from lifelong.editing.contract import Route
from lifelong.log import Probed
from lifelong.probing import scorers
from lifelong.probing.asking import Ask, Reply, gathered
from lifelong.probing.scorers import wanted_top
from streams.types import Probe

if TYPE_CHECKING:
    from lifelong.probing.baseline import Baseline

# Whether a probe's edit still holds, was replaced by a later one, or was taken back.
MEASURED, SUPERSEDED, WITHDRAWN = "measured", "superseded", "withdrawn"
ROUTED_IDS = 8


@dataclass(frozen=True)
class Item:
    """One probe to ask: how old its edit is, and whether the edit still holds."""

    probe: Probe
    age: int
    role: str = MEASURED


@dataclass(frozen=True)
class Score:
    """One number about one answer."""

    scorer: str
    value: float
    answer: str = ""


def scores_of(probe: Probe, role: str, reply: Reply, baseline: Baseline) -> tuple[Score, ...]:
    """Return every score of one reply.

    Against the target: token accuracy and exact match of the decoded text. Against the frozen model (reference
    `baseline`, or a withdrawn edit): agreement of the argmax on the answer's tokens, agreement of the decoded text,
    and for locality both published conventions. The general set: agreement (or match) and nll. End tokens count only
    in nll.
    """
    forced = reply.forced[probe.target]
    against_base = probe.reference == "baseline" or role == WITHDRAWN
    if against_base:
        generated = Score(scorers.GENERATED, scorers.agreement(reply.text, baseline.text(probe.query)), reply.text)
    else:
        generated = Score(scorers.GENERATED, scorers.line_match(reply.text, probe.answers), reply.text)
    if probe.axis == "general":
        return (generated, Score(scorers.NLL, scorers.nll(forced.logprobs)))
    if not against_base:
        accuracy = scorers.token_accuracy(forced.target_ids[:-1], forced.argmax_ids[:-1])
        return (Score(scorers.TEACHER_FORCED, accuracy), generated)
    base = baseline.forced(probe.query, probe.target)
    same = scorers.locality_top1_answer(base.argmax_ids[:-1], forced.argmax_ids[:-1])
    out = [Score(scorers.TEACHER_FORCED, same), generated]
    if base.top_ids is not None and forced.top_ids is not None and wanted_top(probe):
        out += [
            Score(scorers.LOCALITY_TOP1_ANSWER, same),
            Score(scorers.LOCALITY_TOP1_ALL, scorers.locality_top_all(base.top_ids, forced.top_ids, 1)),
            Score(scorers.LOCALITY_TOP10_ALL, scorers.locality_top_all(base.top_ids, forced.top_ids, scorers.TOP)),
        ]
    return tuple(out)


def heaviest(route: Route) -> tuple[str, ...]:
    """Return the ids with the largest weights, at most 8, best first (the route's own order breaks ties)."""
    if len(route.weights) != len(route.ids):
        return route.ids[:ROUTED_IDS]
    order = np.argsort(-np.asarray(route.weights), kind="stable")[:ROUTED_IDS]
    return tuple(route.ids[i] for i in order)


def facts_of(
    step: int,
    sim_s: float,
    item: Item,
    route: Route,
    key: str,
    scores: Iterable[Score],
    reused: bool,
    prompt_kind: str,
) -> list[Probed]:
    """Return one fact per score; a probe of a replaced or withdrawn edit says so in its variant."""
    probe = item.probe
    return [
        Probed(
            step=step,
            sim_s=sim_s,
            probe_id=probe.id,
            edit_id=probe.edit_id,
            age=item.age,
            axis=probe.axis,
            variant=probe.variant if item.role == MEASURED else item.role,
            modality=probe.modality,
            prompt_kind=prompt_kind,
            scorer=score.scorer,
            score=score.value,
            answer=score.answer,
            routed_ids=heaviest(route),
            routed_n=len(route.ids),
            routed_home=probe.edit_id in route.ids,
            route_digest=key,
            route_score=float(route.scores[0]) if route.scores else None,
            reused=reused,
            best_score=route.best,
        )
        for score in scores
    ]


def asks_of(items: Sequence[Item], baseline: Baseline) -> list[Ask]:
    """Return one ask per query: the targets scored, and the frozen model's answer where that is expected."""

    def targets(item: Item) -> list[str]:
        frozen = item.probe.reference == "baseline" or item.role == WITHDRAWN
        expected = baseline.text(item.probe.query) if frozen else ""
        return [item.probe.target, *([expected] if expected else [])]

    return gathered((item.probe.query, targets(item), wanted_top(item.probe)) for item in items)
