"""Running checks on a model and saying what came of them.

Knows checks by name; nothing of what they compare.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from contextlib import suppress
from dataclasses import dataclass
from typing import Any

from lifelong.models.checks.checks import MODEL_CHECKS, SHORT_FORM, Bench, bench_of
from lifelong.models.folders.check import text_of_error


@dataclass(frozen=True)
class Finding:
    """One check: `why` says what differs, '' where it is kept."""

    name: str
    why: str

    @property
    def kept(self) -> bool:
        """Whether the check is kept."""
        return not self.why


def findings_of(make: Callable[[], Any], *, short: bool = False, names: Iterable[str] = ()) -> list[Finding]:
    """Return what came of all checks, of the `short` form's, or of some by name; `make` gives a new door each time.

    What a library raises inside a check is why it is not kept.
    """
    bench = bench_of(make, short=short)
    wanted = tuple(names) or (SHORT_FORM if short else tuple(MODEL_CHECKS))
    with suppress(Exception):  # a model that cannot be asked at all is told by the checks
        bench.hooks if "nothing left" in wanted else None  # noqa: B018
    return [Finding(name, _why(name, bench)) for name in wanted]


def _why(name: str, bench: Bench) -> str:
    try:
        return MODEL_CHECKS[name](bench)
    except (KeyboardInterrupt, MemoryError):
        raise
    except Exception as error:  # of a model that cannot be asked so: what it says is the finding
        return f"{type(error).__name__}: {text_of_error(error)}"
