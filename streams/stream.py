"""A stream: what is edited, in which order, and the probes of every edit; and how one is loaded by its name.

Knows no model, editor or clock. A stream called NAME is the module `streams/NAME.py`, `streams/NAME/edits.py` or
`streams/published/NAME.py`, with two names: `Options` (a pydantic model of its settings) and
`load(options, *, edits, seed) -> Stream`. One that reads picture files also takes `watch`, which is told how many are
read, of how many.
"""

from __future__ import annotations

import importlib
import inspect
import pkgutil
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from types import ModuleType
from typing import Any

from pydantic import BaseModel, ConfigDict

from streams.near import near
from streams.orders.succession import with_succession
from streams.settings import SettingError, checked_settings
from streams.types import Edit, Pool, Probe, digest_of, identity_of

_MODULE = "edits"


@dataclass(frozen=True)
class FilesRead:
    """What came of reading a stream's files: records, how many of them are bad, and one line for each thing wrong."""

    records: int = 0
    bad: int = 0
    problems: tuple[str, ...] = ()


class StreamError(ValueError):
    """A stream that cannot be had: an unknown name or option, a bad record, nothing to edit.

    Where records are bad, `reading` has every line of what is wrong, also where the message tells the first ones.
    """

    def __init__(self, message: str, reading: FilesRead | None = None) -> None:
        super().__init__(message)
        self.reading = reading or FilesRead()


class StreamOptions(BaseModel):
    """Base of every stream's options: frozen, and an unknown key is an error."""

    model_config = ConfigDict(frozen=True, extra="forbid", allow_inf_nan=False)


@dataclass(frozen=True)
class Source:
    """Where a stream's probes and training items come from: plain functions, called only when needed.

    `truths` gives the answers to an edit's question that were right before any edit, none where that is not known.
    """

    probes: Callable[[Edit], tuple[Probe, ...]]
    pool: Callable[[int, int], Pool]
    truths: Callable[[Edit], tuple[str, ...]] = lambda edit: ()


class Stream:
    """Edits in their order, with the probes of each (made when first asked for, and kept).

    An edit `supersedes` an earlier one of the same question, also where its record does not say so.
    `digest` identifies the stream: its edits, its general set, and `made_of`, which identifies all that decides
    the probes and the pool, since those are made when asked for. `general` holds untouched facts that no edit of the
    stream concerns. `notes` are sentences about the data that a user should read once, `reading` says what its files
    held.
    """

    def __init__(
        self,
        name: str,
        made_of: str,
        edits: tuple[Edit, ...],
        general: tuple[Probe, ...],
        source: Source,
        notes: tuple[str, ...] = (),
        reading: FilesRead | None = None,
    ) -> None:
        if not edits:
            raise StreamError(f"stream={name}: no edit is left. Ask for edits >= 1, or check the stream's data.")
        self.name = name
        self.edits = edits = with_succession(edits)
        self.digest = digest_of(name, made_of, identity_of(edits), identity_of(general))
        self.general = general
        self.notes = notes
        self.reading = reading or FilesRead()
        self._source = source
        self._by_id = {edit.id: edit for edit in edits}
        self._probes: dict[str, tuple[Probe, ...]] = {}
        if len(self._by_id) != len(edits):
            ids = [edit.id for edit in edits]
            twice = next(i for i in ids if ids.count(i) > 1)
            raise StreamError(f"stream={name}: two edits have the id {twice!r}. Ids must be unique.")

    def __len__(self) -> int:
        return len(self.edits)

    def edit(self, edit_id: str) -> Edit:
        """Return an edit by its id; raises `KeyError`."""
        return self._by_id[edit_id]

    def probes(self, edit_id: str) -> tuple[Probe, ...]:
        """Return the probes of an edit (the same at every call); raises `KeyError` for an unknown id."""
        if edit_id not in self._probes:
            self._probes[edit_id] = self._source.probes(self._by_id[edit_id])
        return self._probes[edit_id]

    def truths(self, edit_id: str) -> tuple[str, ...]:
        """Return the answers to an edit's question that were right before any edit, none where that is not known.

        Raises `KeyError` for an unknown id.
        """
        return self._source.truths(self._by_id[edit_id])

    def every_probe(self) -> list[Probe]:
        """Return all probes: those of the edits, in their order, and the general set."""
        return [probe for edit in self.edits for probe in self.probes(edit.id)] + list(self.general)

    def pool(self, n: int, seed: int = 0) -> Pool:
        """Return n training items for an editor's `fit`, disjoint from every stream's edits and probes."""
        return self._source.pool(n, seed)


def stream_names() -> list[str]:
    """Return the names of all streams that ship with the package, sorted."""
    return sorted(name for name, module in _modules().items() if hasattr(importlib.import_module(module), "load"))


def stream_options(name: str) -> type[StreamOptions]:
    """Return the options model of a stream; raises `StreamError` with near names."""
    return _find(name).Options


def load_stream(
    name: str, *, edits: int, seed: int = 0, watch: Callable[[int, int], None] | None = None, **options: Any
) -> Stream:
    """Return a stream of at most `edits` edits; `watch` is told how many picture files are read, of how many.

    Raises `StreamError` for an unknown name or option (with the near ones), a bad value, bad data or no edits.
    """
    if edits < 1:
        raise StreamError(f"edits={edits}: a stream needs at least one edit.")
    module = _find(name)
    try:
        settings = checked_settings(module.Options, options, "stream")
    except SettingError as error:
        raise StreamError(str(error)) from error
    watched = {"watch": watch} if watch is not None and "watch" in inspect.signature(module.load).parameters else {}
    return module.load(settings, edits=edits, seed=seed, **watched)


def _modules() -> dict[str, str]:
    """Return the modules that may be streams, by the name that each would have."""
    import streams.published

    home = Path(__file__).parent
    found = {}
    for info in pkgutil.iter_modules([str(home)]):
        if not info.ispkg:
            found[info.name] = f"streams.{info.name}"
        elif (home / info.name / f"{_MODULE}.py").is_file():
            found[info.name] = f"streams.{info.name}.{_MODULE}"
    published = pkgutil.iter_modules(streams.published.__path__)
    return found | {info.name: f"streams.published.{info.name}" for info in published}


def _find(name: str) -> ModuleType:
    if name not in stream_names():
        raise StreamError(f"No stream is called {name!r}.{near(name, stream_names())}")
    return importlib.import_module(_modules()[name])
