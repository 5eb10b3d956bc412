"""What every place where cells run keeps: requests in, how each ended out, and somebody is told meanwhile.

Knows nothing of any place. A request is what `lifelong.cli.cell` reads: a line of JSON.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Protocol

from lifelong.running.signals import STOP_SIGNALS

Request = Mapping[str, Any]
ALL_DONE = "all done"
"""The last line of standard output of a cell that has done what its request says."""


@dataclass(frozen=True)
class Ended:
    """How a cell's process ended: exit code, lines of standard output, the last line of standard error, seconds.

    `asked`: it was asked to stop by us, and killed where it took too long. `where`: a file with all that it said.
    """

    code: int
    output: tuple[str, ...]
    last_words: str
    wall_s: float
    asked: bool = False
    where: str = ""

    @property
    def stopped(self) -> bool:
        """Whether it was asked to stop, by us or by a signal from elsewhere: it did not fail."""
        return self.asked or self.code in {sign for number in STOP_SIGNALS for sign in (-number, 128 + number)}


@dataclass(frozen=True)
class Need:
    """What each cell asks of a cluster: cores, accelerators, bytes of memory. 0: as the cluster gives it."""

    cpus: float = 0
    gpus: float = 0
    memory_bytes: int = 0


@dataclass(frozen=True)
class Hearer:
    """Who is told what, by a request's place: when it starts, a line that it says (from any thread), when it ends.

    A cluster tells of the end only; what its cells say is where it keeps what its jobs say.
    """

    on_start: Callable[[int], None] = lambda _: None
    on_line: Callable[[int, str], None] = lambda _, __: None
    on_end: Callable[[int, Ended], None] = lambda _, __: None


NOBODY = Hearer()


class CellEngine(Protocol):
    """A place where cells run.

    Called with the requests and who is told, it returns how each ended, in the order of the requests. Whatever is
    raised meanwhile, also `KeyboardInterrupt`, asks those that run to stop, and passes on; `on_end` is called for
    them, too. A cell that is begun again, because its machine was lost or taken away, goes on from what it committed.
    """

    def __call__(self, requests: Sequence[Request], *, told: Hearer) -> list[Ended]:
        """Run all cells to their end."""
        ...
