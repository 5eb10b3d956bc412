"""Keys found again, with payloads, ids and eviction; knows no editor."""

from __future__ import annotations

import importlib
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from lifelong.bank.bank import Bank as Bank
    from lifelong.bank.search.compare import Found as Found
    from lifelong.bank.search.compare import FoundRows as FoundRows
    from lifelong.bank.search.engine_faiss import one_faiss_thread as one_faiss_thread
    from lifelong.bank.search.spec import IndexSpec as IndexSpec
    from lifelong.bank.storage.eviction import Eviction as Eviction
    from lifelong.bank.storage.eviction import Usage as Usage

_HOME = {
    "Bank": "lifelong.bank.bank",
    "Eviction": "lifelong.bank.storage.eviction",
    "Found": "lifelong.bank.search.compare",
    "FoundRows": "lifelong.bank.search.compare",
    "IndexSpec": "lifelong.bank.search.spec",
    "Usage": "lifelong.bank.storage.eviction",
    "one_faiss_thread": "lifelong.bank.search.engine_faiss",
}


def __getattr__(name: str) -> Any:  # reading the word of an index loads neither torch nor faiss
    if name not in _HOME:
        raise AttributeError(f"lifelong.bank has no {name!r}; it has {', '.join(_HOME)}.")
    return getattr(importlib.import_module(_HOME[name]), name)
