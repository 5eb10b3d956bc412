"""The frozen model's answers, computed once per model and stream, before any fit or edit, and shared by all runs.

Knows nothing about editors, steps or scores. Answers lie as Parquet files of one chunk each in a folder named by
the model's digest and the scorer version; a file's name is the digest of what it answers, it is written whole and
renamed into place, so any number of processes may share the folder. Each holds a digest of its rows: one that is
damaged is made again.
"""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Iterable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
import pyarrow as pa

from lifelong.log.facts import UNKNOWN, UPDATED
from lifelong.log.files import clear_leftovers, held, read_regular, write_atomic
from lifelong.log.parts import parquet_bytes, read_parquet
from lifelong.models.passes.layout import Scored
from lifelong.probing.asking import Ask, Reply, chunks_of, gathered, replies, rows_of
from lifelong.probing.limits import answer_limit, check_askable
from lifelong.probing.scorers import SCORER_VERSION, line_match, wanted_top
from streams.types import Probe, Query, digest_of

if TYPE_CHECKING:
    from lifelong.models.vlm import VLM

CHUNK_ROWS = 512
_IDS = pa.list_(pa.int32())
_SCHEMA = pa.schema(
    [
        ("query_digest", pa.string()),
        ("target", pa.string()),
        ("text", pa.string()),
        ("target_ids", _IDS),
        ("argmax_ids", _IDS),
        ("logprobs", pa.list_(pa.float32())),
        ("top_ids", _IDS),
        ("top", pa.int32()),
    ]
)


class MissingBaselineError(KeyError):
    """The frozen model was never asked this query with this target."""

    def __str__(self) -> str:
        return str(self.args[0])


def _asks_of(probes: Iterable[Probe]) -> list[Ask]:
    """Return one ask per distinct query of some probes, in order, with all targets that they need."""
    return gathered((probe.query, (probe.target,), wanted_top(probe)) for probe in probes)


class Baseline:
    """What the frozen model answers, by query and target."""

    def __init__(self, replies_by_query: dict[str, Reply], max_tokens: int) -> None:
        self._replies = replies_by_query
        self.max_tokens = max_tokens
        self.from_cache = 0  # how many queries were not asked now

    @classmethod
    def prepare(
        cls,
        vlm: VLM,
        probes: Iterable[Probe],
        cache: str | Path | None = None,
        *,
        max_tokens: int | None = None,
        on_progress: Callable[[int, int], None] | None = None,
        say: Callable[[str], None] = lambda _: None,
    ) -> Baseline:
        """Return the answers to all probes, from the cache where it has them, else from the model as it is now.

        `cache` is the folder of all models' baselines (None: nothing is kept). `max_tokens` is the length of a
        decoded answer, by default that of `answer_limit`. `on_progress(done, total)` counts queries; `say` is told
        which file of the cache is damaged and made again. Must be called before any `fit` or `edit`.
        """
        probes = list(probes)
        if max_tokens is None:
            check_askable(vlm, probes, pictures=False)
        limit = answer_limit(vlm, probes).tokens if max_tokens is None else max_tokens
        folder = None if cache is None else Path(cache) / f"{vlm.digest}-{SCORER_VERSION}"
        asks = _asks_of(probes)
        found: dict[str, Reply] = {}
        from_cache = 0
        todo = [[asks[i] for i in chunk] for chunk in chunks_of(asks, CHUNK_ROWS)]
        new = todo if folder is None else [part for part in todo if not _path(folder, part, limit, vlm).exists()]
        unknown = {ask.query.digest for part in new for ask in part}
        check_askable(vlm, [p for p in probes if p.query.digest in unknown])
        # What another process is computing now is put off and read when all else is done.
        for wait in (False, True):
            put_off = []
            for part in todo:
                path = None if folder is None else _path(folder, part, limit, vlm)
                kept = wait or (path is not None and path.is_file())
                known = _answers(vlm, part, limit, path, wait, say)
                if known is None:
                    put_off.append(part)
                    continue
                from_cache += len(part) if kept else 0
                found.update((ask.query.digest, reply) for ask, reply in zip(part, known, strict=True))
                if on_progress is not None:
                    on_progress(len(found), len(asks))
            todo = put_off
        baseline = cls(found, limit)
        baseline.from_cache = from_cache
        return baseline

    def knowledge_of(self, query: Query, truths: Sequence[str]) -> str:
        """Return `updated` where the model gave an answer that was right before, `unknown` where it gave another.

        '' where nobody knows what was right (`truths` is empty), or the model was never asked this query.
        """
        asked = self._replies.get(query.digest)
        if asked is None or not truths:
            return ""
        return UPDATED if line_match(asked.text, truths) else UNKNOWN

    def reply(self, query: Query) -> Reply:
        """Return all that the frozen model answered to a query; raises `MissingBaselineError`."""
        reply = self._replies.get(query.digest)
        if reply is None:
            raise MissingBaselineError(
                f"The frozen model was not asked {query.prompt!r}. Give Baseline.prepare every probe of the stream."
            )
        return reply

    def text(self, query: Query) -> str:
        """Return the frozen model's decoded answer; raises `MissingBaselineError`."""
        return self.reply(query).text

    def forced(self, query: Query, target: str) -> Scored:
        """Return the frozen model's teacher forcing of a target; raises `MissingBaselineError`."""
        forced = self.reply(query).forced.get(target)
        if forced is None:
            raise MissingBaselineError(
                f"The frozen model was not asked {query.prompt!r} with target {target!r}. "
                "Give Baseline.prepare every probe of the stream."
            )
        return forced

    def __len__(self) -> int:
        return len(self._replies)

    def __contains__(self, query: Query) -> bool:
        return query.digest in self._replies


def _answers(
    vlm: VLM, asks: Sequence[Ask], max_tokens: int, path: Path | None, wait: bool, say: Callable[[str], None]
) -> list[Reply] | None:
    """Return the replies of a chunk, read or computed; None while another process computes it and `wait` is off."""
    if path is None:
        return _compute(vlm, asks, max_tokens)
    known = _read(path, asks)
    if known is not None:
        return known
    with held(path.with_suffix(".lock"), wait=wait) as ours:
        if not ours:
            return None
        clear_leftovers(path.parent, path.name)
        known = _read(path, asks)  # another process may have finished it since
        if known is None:
            if path.exists():
                say(f"{path}: damaged; the frozen model is asked again")
            known = _compute(vlm, asks, max_tokens)
            _write(path, asks, known)
    return known


def _compute(vlm: VLM, asks: Sequence[Ask], max_tokens: int) -> list[Reply]:
    answerer = vlm.answerer([asks[i].query for i, _ in rows_of(asks)])
    known = replies(answerer, asks, vlm.picked_text, max_tokens=max_tokens)
    _check_finite(vlm, asks, known)
    return known


def _check_finite(vlm: VLM, asks: Sequence[Ask], known: Sequence[Reply]) -> None:
    for ask, reply in zip(asks, known, strict=True):
        if not reply.finite:
            raise FloatingPointError(
                f"model={vlm.name}: the unedited model's answer to {ask.query.prompt!r} is not finite. The usual "
                "causes: damaged weights, or a dtype too narrow for them (try dtype=float32)."
            )


def _path(folder: Path, asks: Sequence[Ask], max_tokens: int, vlm: VLM) -> Path:
    """Return the file of a chunk; its name says what was asked, and what ended an answer."""
    asked = (digest_of(a.query.digest, str(a.top), *a.targets) for a in asks)
    return folder / f"{digest_of(f'{max_tokens} {vlm.lines}', *asked)}.parquet"


def _write(path: Path, asks: Sequence[Ask], known: Sequence[Reply]) -> None:
    rows = []
    for ask, reply in zip(asks, known, strict=True):
        for target in ask.targets:
            f = reply.forced[target]
            top = None if f.top_ids is None else f.top_ids.ravel()
            k = 0 if f.top_ids is None else f.top_ids.shape[1]
            rows.append((ask.query.digest, target, reply.text, f.target_ids, f.argmax_ids, f.logprobs, top, k))
    columns = list(zip(*rows, strict=True))
    arrays = [pa.array(c, type=f.type) for c, f in zip(columns, _SCHEMA, strict=True)]
    table = pa.Table.from_arrays(arrays, schema=_SCHEMA)
    path.parent.mkdir(parents=True, exist_ok=True)
    data = parquet_bytes(table.replace_schema_metadata({"digest": _content_digest(table)}))
    write_atomic(path, lambda file: file.write(data))


def _content_digest(table: pa.Table) -> str:
    """Return 32 hexadecimal digits of a table's rows, alike before they are written and after they are read."""
    found = hashlib.sha256()
    for name in _SCHEMA.names:
        column = table.column(name).combine_chunks()
        if pa.types.is_list(column.type):
            rows = _lists(column)
            found.update(np.array([len(row) for row in rows], np.int64).tobytes())
            found.update(b"".join(row.tobytes() for row in rows))
        elif pa.types.is_string(column.type):
            texts = [text.encode("utf-8", "surrogatepass") for text in column.to_pylist()]
            found.update(np.array([len(text) for text in texts], np.int64).tobytes() + b"".join(texts))
        else:
            found.update(column.to_numpy(zero_copy_only=False).tobytes())
    return found.hexdigest()[:32]


def _read(path: Path, asks: Sequence[Ask]) -> list[Reply] | None:
    """Return the replies in a file, or None when it is absent or damaged (it is then computed and written again)."""
    try:
        table = read_parquet(read_regular(path)).select(_SCHEMA.names)
        told = (table.schema.metadata or {}).get(b"digest", b"")
        if table.schema.types != _SCHEMA.types or told != _content_digest(table).encode():
            return None
    except (OSError, ValueError, KeyError, TypeError, AttributeError, pa.ArrowException):
        return None
    columns = {name: table.column(name).combine_chunks() for name in _SCHEMA.names}
    texts, tops = columns["text"].to_pylist(), columns["top"].to_pylist()
    keys = list(zip(columns["query_digest"].to_pylist(), columns["target"].to_pylist(), strict=True))
    if keys != [(ask.query.digest, target) for ask in asks for target in ask.targets]:
        return None
    lists = {n: _lists(columns[n]) for n in ("target_ids", "argmax_ids", "logprobs", "top_ids")}
    out, row = [], 0
    for ask in asks:
        forced = {}
        for target in ask.targets:
            top = lists["top_ids"][row].reshape(-1, tops[row]) if tops[row] else None
            ids, argmax = lists["target_ids"][row], lists["argmax_ids"][row]
            forced[target] = Scored(ids, argmax, lists["logprobs"][row], top)
            row += 1
        out.append(Reply(texts[row - 1], forced))
    return out


def _lists(column: pa.ListArray) -> list[np.ndarray]:
    """Return the rows of a list column as views of one flat array."""
    flat = column.values.to_numpy(zero_copy_only=False)
    offsets = column.offsets.to_numpy()
    return [flat[a:b] for a, b in zip(offsets[:-1], offsets[1:], strict=True)]
