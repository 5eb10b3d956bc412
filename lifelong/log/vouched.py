"""What vouches for the facts of a run: DONE, committed.json and the checkpoints each list the parts up to a panel.

Knows file names, digests and panels; nothing of what facts and states mean. The list of the latest panel counts, so
that none of the three can be lost or damaged with the facts.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from lifelong.log.checkpoint import checkpoint_name, panel_of_checkpoint, read_checkpoint, read_checkpoint_json
from lifelong.log.files import LogError
from lifelong.log.parts import Written, ledger_of, panel_of_part, plain_ledger, read_verified
from lifelong.log.sealed import read_sealed, write_sealed

COMMITTED = "committed.json"


@dataclass(frozen=True)
class Vouched:
    """So many committed panels of a run (`run` is the digest of its manifest), and their parts by file name."""

    run: str
    panels: int = 0
    parts: Mapping[str, Written] = field(default_factory=dict)

    def plain(self) -> dict[str, Any]:
        """Return it as JSON holds it."""
        return {"run": self.run, "panels": self.panels, "parts": plain_ledger(self.parts)}

    def read(self, path: Path, found: Mapping[str, Any]) -> Vouched:
        """Return what the content of a file vouches for; raises `LogError` with its name if it is of another run."""
        panels = found.get("panels")
        if type(panels) is not int or panels < 0 or found.get("run") != self.run:
            raise LogError(f"{path}: this is of another run than manifest.json.")
        return Vouched(self.run, panels, ledger_of(path, found.get("parts")))


def checkpoints_in(folder: Path) -> list[int]:
    """Return the panels that a run folder keeps a state of, oldest first; the states may be damaged."""
    inside = folder / "checkpoint"
    panels = (panel_of_checkpoint(path.name) for path in (inside.iterdir() if inside.is_dir() else ()))
    return sorted(panel for panel in panels if panel >= 0)


def write_committed(folder: Path, vouched: Vouched) -> None:
    """Write which parts are committed; called after each checkpoint, so that they outlive it. Raises `LogError`."""
    write_sealed(folder / COMMITTED, vouched.plain())


def newest_vouched(folder: Path, run: str) -> Vouched:
    """Return what is committed in a run that is not finished; raises `LogError` where nothing intact says so."""
    readers: list[Callable[[], Vouched]] = [lambda: _committed(folder, run)]
    readers += [lambda panel=panel: _checkpoint(folder, run, panel) for panel in checkpoints_in(folder)]
    wrong, best = [], Vouched(run)
    for reader in readers:
        try:
            best = max(best, reader(), key=lambda found: found.panels)
        except LogError as error:
            wrong.append(str(error))
    known = known_panels(folder, run)
    if best.panels < known:
        reasons = " ".join(wrong) or f"{folder}: neither {COMMITTED} nor a checkpoint is there."
        raise LogError(
            f"{reasons} So nothing says which facts of {known} panels are whole. Put it back from a copy; --resume "
            "goes on from an earlier checkpoint where there is one, --fresh begins anew."
        )
    return best


def known_panels(folder: Path, run: str) -> int:
    """Return how many panels were committed, by committed.json and by the names of checkpoints and parts.

    Where committed.json is lost or damaged, a part tells that the panels before its own were.
    """
    counts = [panel + 1 for panel in checkpoints_in(folder)]
    try:
        counts.append(_committed(folder, run).panels)
        lost = not (folder / COMMITTED).exists()
    except LogError:
        lost = True
        counts.append(1)  # it is written with the first panel
    facts = folder / "facts"
    if lost and facts.is_dir():
        counts += [panel_of_part(path.name) for path in facts.iterdir()]
    return max(0, *counts)


def last_usable(folder: Path, run: str) -> tuple[Vouched, list[str]]:
    """Return what the last checkpoint that is whole vouches for, and what is wrong with later ones.

    Everything is read for it: tensors and parts. Raises `LogError` where the checkpoint is whole and a part is not.
    """
    wrong: list[str] = []
    for panel in reversed(checkpoints_in(folder)):
        try:
            vouched = _checkpoint(folder, run, panel)
            read_checkpoint(folder / "checkpoint", panel)
        except LogError as error:
            wrong.append(str(error))
            continue
        for name, part in vouched.parts.items():
            read_verified(folder / "facts" / name, part)
        return vouched, wrong
    return Vouched(run), wrong


def _committed(folder: Path, run: str) -> Vouched:
    path = folder / COMMITTED
    try:
        return Vouched(run).read(path, read_sealed(path))
    except FileNotFoundError:
        return Vouched(run)


def _checkpoint(folder: Path, run: str, panel: int) -> Vouched:
    inside = folder / "checkpoint"
    vouched = Vouched(run).read(inside / checkpoint_name(panel), read_checkpoint_json(inside, panel))
    if vouched.panels != panel + 1:
        raise LogError(f"{inside / checkpoint_name(panel)}: damaged, it lists {vouched.panels} panels.")
    return vouched
