"""The run log: the facts of a run, committed panel by panel; readable without torch.

Knows nothing about editors, streams, models, metrics or pictures. A run folder holds

    config.toml            the resolved configuration
    manifest.json          versions, hardware, threads, seeds, git state, digests
    facts/edited-000000.parquet, probed-000000.parquet, ...      one part per fact type and committed panel
    checkpoint/panel-000000.json, objects/<digest>.safetensors   enough to go on from a panel (the last two)
    DONE                   written last

A panel is committed when its checkpoint manifest has its final name: parts are written first (temporary file,
fsync, rename), the manifest last, so a part without a manifest at or after its panel is left over from a run that
was killed, and is ignored. Every table of facts may be read with any Parquet reader.

What the facts are: `lifelong.log.facts`.
"""

from __future__ import annotations

import json
import tomllib
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pyarrow as pa
import pyarrow.parquet as pq

from lifelong.log.facts import (
    FACTS,
    FACTS_SCHEMA,
    Edited,
    Fact,
    Gauged,
    Probed,
    Served,
    Timed,
    schema_of,
    table_of,
)
from lifelong.log.files import LogError, write_atomic

if TYPE_CHECKING:
    from lifelong.log.checkpoint import Checkpoint, State

__all__ = ["FACTS", "FACTS_SCHEMA", "Edited", "Fact", "Gauged", "LogError", "Probed", "RunLog", "Served", "Timed",
           "schema_of", "table_of"]  # fmt: skip


class RunLog:
    """One run folder: facts are appended panel by panel, and read back as Arrow tables."""

    def __init__(self, folder: Path, manifest: Mapping[str, Any]) -> None:
        self.folder = folder
        self.manifest = dict(manifest)

    @classmethod
    def create(cls, folder: str | Path, config_toml: str, manifest: Mapping[str, Any]) -> RunLog:
        """Make a new run folder; raises `LogError` when a run is there already."""
        folder = Path(folder)
        if (folder / "manifest.json").exists():
            raise LogError(f"{folder}: a run is there already. Use --resume (go on) or --fresh (replace it).")
        try:
            (folder / "facts").mkdir(parents=True, exist_ok=True)
            (folder / "checkpoint" / "objects").mkdir(parents=True, exist_ok=True)
        except OSError as error:
            raise LogError(f"{folder}: could not be made ({error.strerror}). Try out=FOLDER.") from error
        whole = {**manifest, "facts_schema": FACTS_SCHEMA}
        write_atomic(folder / "config.toml", lambda f: f.write(config_toml.encode()))
        text = json.dumps(whole, indent=1, sort_keys=True, default=str) + "\n"
        write_atomic(folder / "manifest.json", lambda f: f.write(text.encode()))
        return cls(folder, whole)

    @classmethod
    def open(cls, folder: str | Path) -> RunLog:
        """Open a run folder for reading or going on; raises `LogError` where there is none, or of another schema."""
        folder = Path(folder)
        path = folder / "manifest.json"
        try:
            manifest = json.loads(path.read_text())
        except FileNotFoundError as error:
            raise LogError(f"{folder}: not a run folder (it has no manifest.json).") from error
        except (OSError, ValueError) as error:
            raise LogError(f"{path}: cannot be read ({error}). Run again with --fresh.") from error
        if manifest.get("facts_schema") != FACTS_SCHEMA:
            raise LogError(
                f"{folder}: its facts have schema {manifest.get('facts_schema')}, this version has schema "
                f"{FACTS_SCHEMA}. Run again with --fresh."
            )
        return cls(folder, manifest)

    def config(self) -> dict[str, Any]:
        """Return the run's resolved configuration as plain tables; raises `LogError` when it cannot be read."""
        path = self.folder / "config.toml"
        try:
            return tomllib.loads(path.read_text())
        except (OSError, tomllib.TOMLDecodeError, UnicodeDecodeError) as error:
            raise LogError(f"{path}: cannot be read as TOML ({error}). Run again with --fresh.") from error

    @property
    def name(self) -> str:
        """The folder's name."""
        return self.folder.name

    def done(self) -> bool:
        """Return whether the run is finished."""
        return (self.folder / "DONE").exists()

    def finish(self, notes: Mapping[str, Any] | None = None) -> None:
        """Mark the run as finished; `notes` (say, the seconds of its parts) are kept in DONE as JSON."""
        text = json.dumps({"panels": self.last_panel() + 1, **(notes or {})}, sort_keys=True) + "\n"
        write_atomic(self.folder / "DONE", lambda f: f.write(text.encode()))

    def checkpoints(self) -> list[int]:
        """Return the panels that can be gone on from, oldest first (the last two are kept)."""
        names = (self.folder / "checkpoint").glob("panel-*.json")
        return sorted(int(p.stem.removeprefix("panel-")) for p in names)

    def last_panel(self) -> int:
        """Return the index of the last committed panel, -1 when none is."""
        return max(self.checkpoints(), default=-1)

    def parts(self, fact: type) -> list[Path]:
        """Return the committed Parquet parts of one fact type in order of panels."""
        last = self.last_panel()
        prefix = fact.__name__.lower() + "-"
        paths = (self.folder / "facts").glob(prefix + "*.parquet")
        return sorted(p for p in paths if int(p.stem.removeprefix(prefix)) <= last)

    def table(self, fact: type) -> pa.Table:
        """Return all committed facts of one type, in the order in which they were committed.

        Raises `LogError` with the file's name when a part is broken.
        """
        schema = schema_of(fact)
        tables = []
        for path in self.parts(fact):
            try:
                tables.append(pq.ParquetFile(path).read().select(schema.names).cast(schema))
            except (OSError, ValueError, KeyError) as error:
                raise LogError(f"{path}: this part cannot be read ({error}). Run again with --fresh.") from error
        return pa.concat_tables(tables) if tables else schema.empty_table()

    def commit(self, panel_index: int, facts: Sequence[Fact], checkpoint: State) -> None:
        """Append one panel's facts together with the state to go on from, all or nothing.

        `panel_index` must be one more than the last committed panel; raises `ValueError` otherwise, `TypeError` for
        something that is no fact, and `LogError` when the disk refuses (earlier panels stay as they are).
        """
        from lifelong.log.checkpoint import collect_garbage, write_objects

        if panel_index != self.last_panel() + 1:
            raise ValueError(f"panel {panel_index} cannot be committed: the next one is {self.last_panel() + 1}.")
        strangers = {type(f).__name__ for f in facts} - {f.__name__ for f in FACTS}
        if strangers:
            names = ", ".join(f.__name__ for f in FACTS)
            raise TypeError(f"not a fact: {', '.join(sorted(strangers))}. Facts are {names}.")
        folder = self.folder / "checkpoint"
        tensors = write_objects(folder / "objects", checkpoint.tensors)
        for fact in FACTS:
            path = self.folder / "facts" / f"{fact.__name__.lower()}-{panel_index:06d}.parquet"
            table = table_of(fact, facts)
            if table.num_rows:
                write_atomic(path, lambda f, table=table: pq.write_table(table, f, compression="zstd"))
            else:
                path.unlink(missing_ok=True)
        text = json.dumps({"panel": panel_index, "tensors": tensors, "meta": checkpoint.meta}, sort_keys=True)
        write_atomic(folder / f"panel-{panel_index:06d}.json", lambda f: f.write(text.encode()))
        collect_garbage(folder, keep=2)

    def discard_uncommitted(self) -> None:
        """Remove parts and temporary files that a killed run left behind; call before going on with a run."""
        committed = {p for fact in FACTS for p in self.parts(fact)}
        for path in (self.folder / "facts").iterdir():
            if path not in committed:
                path.unlink()
        for path in self.folder.rglob(".*.tmp"):
            path.unlink(missing_ok=True)

    def checkpoint(self, panel_index: int | None = None) -> Checkpoint | None:
        """Return the state saved with a panel (the last one by default), or None when nothing is committed.

        Raises `LogError` when that panel's state is no longer kept or its files are damaged.
        """
        from lifelong.log.checkpoint import read_checkpoint

        kept = self.checkpoints()
        if panel_index is None and not kept:
            return None
        wanted = kept[-1] if panel_index is None else panel_index
        if wanted not in kept:
            raise LogError(f"{self.folder}: no state of panel {wanted} is kept; kept are {kept or 'none'}.")
        return read_checkpoint(self.folder / "checkpoint", wanted)
