"""All checks on one model of a user's, or on a tiny model of every family, and the table of what came of them.

Knows the door, the checks and the families; nothing of editors or runs.
"""

from __future__ import annotations

import tempfile
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path

from lifelong.models.checks.checks import MODEL_CHECKS
from lifelong.models.checks.findings import Finding, findings_of
from lifelong.models.families.building import build_family, family_names
from lifelong.models.folders.check import ModelError
from lifelong.models.vlm import VLM


@dataclass(frozen=True)
class Examined:
    """A model by name and what came of each check; `refused` says why none was made, '' where they were."""

    name: str
    findings: tuple[Finding, ...] = ()
    refused: str = ""

    @property
    def ok(self) -> bool:
        """Whether every check is kept."""
        return not self.refused and all(finding.kept for finding in self.findings)

    def lines(self) -> list[str]:
        """Return one line for each check: its name, and ok or what differs."""
        return [f"{f.name:<18} {'ok' if f.kept else f.why}" for f in self.findings] or [self.refused]


def examine_model(
    name_or_path: str, *, dtype: str = "float32", device: str = "cpu", short: bool = False, names: Iterable[str] = ()
) -> Examined:
    """Return what came of all checks on a model's folder, or of the `short` form's, or of some by `names`.

    Raises what `VLM.load` raises for a model that cannot be loaded.
    """
    vlm = VLM.load(name_or_path, dtype=dtype, device=device, check=False)
    make = partial(VLM, vlm.model, vlm.processor, name=vlm.name, digest=vlm.digest)
    return Examined(vlm.name, tuple(findings_of(make, short=short, names=names)))


def examine_families(
    names: Sequence[str] = (), *, short: bool = False, say: Callable[[str], None] = lambda _: None
) -> list[Examined]:
    """Return what came of all checks on a tiny model of each family, of all families without `names`.

    A family that is refused is among them, with the reason. Raises `ModelError` for a name that there is not.
    """
    out = []
    with tempfile.TemporaryDirectory() as place:
        for name in names or family_names():
            folder = build_family(name, Path(place) / name)
            try:
                out.append(examine_model(str(folder), short=short))
            except ModelError as error:
                out.append(Examined(name, refused=str(error).replace(f"{folder}: ", "")))
            say(f"{name}: {'ok' if out[-1].ok else 'refused or not kept'}")
    return out


def table_of_families(found: Sequence[Examined]) -> str:
    """Return families x checks as a Markdown table, and a line for each that is refused."""
    lines = ["| family | " + " | ".join(MODEL_CHECKS) + " |", "|---" * (len(MODEL_CHECKS) + 1) + "|"]
    for one in found:
        kept = {finding.name: finding.kept for finding in one.findings}
        cells = ["ok" if kept.get(name) else "FAIL" if name in kept else "-" for name in MODEL_CHECKS]
        lines.append(f"| {one.name} | " + " | ".join(cells) + " |")
    refused = [f"- {one.name}: {one.refused or _first(one)}" for one in found if not one.ok]
    return "\n".join([*lines, "", *refused]).rstrip() + "\n"


def _first(one: Examined) -> str:
    finding = next(finding for finding in one.findings if not finding.kept)
    return f"does not keep {finding.name!r}: {finding.why}"
