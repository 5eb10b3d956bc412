"""How a bank is searched: the family of its index, what computes it, and when it is built. Plain data; no arrays.

One word says it all, `FAMILY[:KEY=VALUE]...`, such as `ivf`, `hnsw:effort=128` or `flat:engine=torch:device=cuda`.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, fields
from typing import Any

FAMILIES = ("flat", "flat16", "ivf", "hnsw")
ENGINES = ("faiss", "torch")
TORCH_FAMILIES = ("flat", "flat16")


@dataclass(frozen=True)
class IndexSpec:
    """An index: `flat` compares every key and is exact; the others propose candidates, whose scores are then exact.

    `flat16` compares every key in half precision, `ivf` those of the `probes` nearest of its lists, `hnsw` walks a
    graph of `links` edges a node with a queue of `effort`. Until a bank holds `least` entries all families are exact.
    `threads` and `blas_from` (queries from which FAISS multiplies matrices) are for searching; torch searches with
    the threads of the process.
    """

    family: str = "flat"
    engine: str = "faiss"
    device: str = "cpu"
    probes: int = 16
    effort: int = 64
    links: int = 32
    least: int = 1024
    threads: int = 1
    blas_from: int = 4

    def __post_init__(self) -> None:
        if self.family not in FAMILIES or self.engine not in ENGINES:
            raise ValueError(
                f"index {self.family!r} of engine {self.engine!r}: families are {', '.join(FAMILIES)}, "
                f"engines {', '.join(ENGINES)}."
            )
        if self.engine == "torch" and self.family not in TORCH_FAMILIES:
            raise ValueError(
                f"{self.family}:engine=torch: torch has {' and '.join(TORCH_FAMILIES)}. Use {self.family} without "
                "engine and device (it is searched on the CPU by faiss), or flat:engine=torch, which is exact."
            )
        if self.device != "cpu" and self.engine == "faiss":
            raise ValueError(
                f"{self.family}:device={self.device}: faiss searches on the CPU here. Use "
                f"flat:engine=torch:device={self.device}, which is exact."
            )
        low = {k: getattr(self, k) for k in _COUNTS if getattr(self, k) < 1}
        if low:
            raise ValueError(f"{low}: all must be at least 1.")

    @property
    def exact(self) -> bool:
        """Whether every answer equals that of brute force."""
        return self.family == "flat"

    @classmethod
    def parse(cls, word: str | IndexSpec) -> IndexSpec:
        """Return the spec of a word; raises `ValueError` for an unknown family, key or value.

        >>> IndexSpec.parse("ivf:probes=8").probes
        8
        """
        if isinstance(word, IndexSpec):
            return word
        family, *rest = word.split(":")
        given: dict[str, Any] = {}
        kinds: dict[str, Callable[[str], Any]] = {f.name: int if f.name in _COUNTS else str for f in fields(cls)[1:]}
        for part in rest:
            key, equals, value = part.partition("=")
            if key not in kinds or not equals:
                raise ValueError(f"{part!r} in index {word!r}: expected KEY=VALUE with a key of {', '.join(kinds)}.")
            try:
                given[key] = kinds[key](value)
            except ValueError:
                raise ValueError(f"{part!r} in index {word!r}: expected a whole number.") from None
        return cls(family, **given)


_COUNTS = ("probes", "effort", "links", "least", "threads", "blas_from")
