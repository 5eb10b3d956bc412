"""The run log: the facts of a run, committed panel by panel; readable without torch.

Knows nothing about editors, streams, models, metrics or pictures. A run folder holds

    config.toml            the resolved configuration
    manifest.json          versions, hardware, threads, seeds, git state, the model's size, digests (of files too)
    facts/edited-000000.parquet, probed-000000.parquet, ...      one part per fact type and committed panel
    checkpoint/panel-000000.json, objects/<digest>.safetensors   enough to go on from a panel (the last two)
    committed.json         the parts of all committed panels
    DONE                   written last

A panel is committed when its checkpoint has its final name: parts are written first (temporary file, fsync, rename),
then the checkpoint, then committed.json. Each of checkpoint, committed.json and DONE lists the parts it vouches for,
with bytes, rows and digest, and tells its own damage (`lifelong.log.vouched`). A part that none of them lists is left
over from a run that was killed, or somebody else's, and is never read. What is listed is checked when a folder is
opened (names and sizes) and again when it is read (digests). Every table may be read with any Parquet reader.

What the facts are: `lifelong.log.facts`.
"""

from __future__ import annotations

import tomllib
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Any, BinaryIO

import pyarrow as pa

from lifelong.log.checkpoint import checkpoint_name, collect_garbage, read_checkpoint, write_checkpoint
from lifelong.log.facts import FACTS, FACTS_SCHEMA, Fact, schema_of, table_of
from lifelong.log.files import LogError, left_of, write_atomic
from lifelong.log.folder import AT_THE_TOP, entries
from lifelong.log.parts import (
    FIX,
    Written,
    check_sizes,
    ledger_of,
    panel_of_part,
    part_name,
    part_of,
    read_part,
    read_verified,
    write_part,
)
from lifelong.log.sealed import DIGEST, read_object, read_sealed, unsealed, write_sealed
from lifelong.log.vouched import (
    COMMITTED,
    Vouched,
    checkpoints_in,
    known_panels,
    last_usable,
    newest_vouched,
    write_committed,
)

if TYPE_CHECKING:
    from lifelong.log.checkpoint import Checkpoint, State

DONE, MANIFEST = "DONE", "manifest.json"


class RunLog:
    """One run folder as it was when it was opened: facts are appended panel by panel, and read back as tables."""

    def __init__(self, folder: Path, manifest: Mapping[str, Any], run: str) -> None:
        self.folder = folder
        self.manifest = dict(manifest)
        self.notes: dict[str, Any] = {}
        self._finished, self._vouched = False, Vouched(run)
        self._intact: set[str] = set()  # tensors' files that this process wrote or read

    @classmethod
    def create(
        cls,
        folder: str | Path,
        config_toml: str,
        manifest: Mapping[str, Any],
        files: Mapping[str, bytes | Callable[[BinaryIO], object]] | None = None,
    ) -> RunLog:
        """Make a new run folder; raises `LogError` when a run, or what is left of one, is there already.

        `files` are kept beside the configuration and vouched for: bytes, or a function that writes them into a file,
        under names of `folder.AT_THE_TOP`.
        """
        folder = Path(folder)
        unknown = set(files or {}) - set(AT_THE_TOP)
        if unknown:
            raise ValueError(f"{', '.join(sorted(unknown))}: a run folder keeps {', '.join(AT_THE_TOP)}.")
        if (folder / MANIFEST).exists():
            raise LogError(f"{folder}: a run is there already. Use --resume (go on) or --fresh (replace it).")
        _refuse_remains(folder)
        try:
            (folder / "facts").mkdir(parents=True, exist_ok=True)
            (folder / "checkpoint" / "objects").mkdir(parents=True, exist_ok=True)
        except OSError as error:
            raise LogError(f"{folder}: could not be made ({error.strerror}). Try out=FOLDER.") from error
        kept = {}
        for name, given in {"config.toml": config_toml.encode(), **(files or {})}.items():
            write = given if callable(given) else lambda f, data=given: f.write(data)
            write_atomic(folder / name, write)
            kept[name] = asdict(part_of(folder / name))
        write_sealed(folder / MANIFEST, {**manifest, "facts_schema": FACTS_SCHEMA, "files": kept}, indent=1)
        return cls._described(folder)

    @classmethod
    def open(cls, folder: str | Path) -> RunLog:
        """Open a run folder for reading: everything that it vouches for is there, and of the size that was written.

        Raises `LogError` where there is no run, one of another schema, or where a file is missing or damaged; the
        message names it.
        """
        log = cls._described(Path(folder))
        done = log.folder / DONE
        try:
            log.notes = read_sealed(done)
            log._vouched = log._vouched.read(done, log.notes)
            log._finished = True
        except FileNotFoundError:
            log._vouched = newest_vouched(log.folder, log._vouched.run)
        except LogError as error:
            raise LogError(
                f"{error} If you remove this file, --resume checks all others and makes it again."
            ) from error
        check_sizes(log.folder / "facts", log._vouched.parts)
        return log

    @classmethod
    def go_on(cls, folder: str | Path, say: Callable[[str], None] = lambda _: None) -> RunLog:
        """Open a run that is not finished to go on with it, everything verified; what was not committed is removed.

        Where the last checkpoint is missing or damaged, the one before it is gone on from, and `say` is told which
        panels are taken back. Raises `LogError`, and changes nothing, where there is nothing left to go on from.
        """
        log = cls._described(Path(folder))
        known = known_panels(log.folder, log._vouched.run)
        log._vouched, wrong = last_usable(log.folder, log._vouched.run)
        panels = log._vouched.panels
        if panels < known:
            reasons = " ".join(wrong) or f"{log.folder / 'checkpoint'}: no checkpoint of the last panel is there."
            if not panels:
                raise LogError(
                    f"{log.folder}: {known} panels are committed and there is no checkpoint to go on from. "
                    f"{reasons} Nothing was changed: put it back from a copy. --fresh deletes the facts and begins "
                    "anew."
                )
            say(
                f"{reasons} Going on from the one before it: the facts of {known - panels} of {known} committed "
                "panels are taken back and made again."
            )
        log._discard_uncommitted()
        return log

    @classmethod
    def _described(cls, folder: Path) -> RunLog:
        """Return the log of a folder as its manifest says it; nothing is committed in it yet."""
        path = folder / MANIFEST
        if folder.exists() and not folder.is_dir():
            raise LogError(f"{folder}: not a run folder (it is no folder at all).")
        try:
            found = read_object(path)
        except FileNotFoundError as error:
            _refuse_remains(folder)
            raise LogError(f"{folder}: not a run folder (it has no {MANIFEST}).") from error
        except LogError as error:
            raise LogError(f"{error} {FIX}") from error
        if found.get("facts_schema") != FACTS_SCHEMA:
            raise LogError(
                f"{path}: the run has schema {found.get('facts_schema')}, this version has schema {FACTS_SCHEMA}: "
                "begun with another version, or damaged. Begin anew with --fresh."
            )
        try:
            manifest = unsealed(path, found)
        except LogError as error:
            raise LogError(f"{error} {FIX}") from error
        log = cls(folder, manifest, str(found[DIGEST]))
        check_sizes(folder, ledger_of(path, manifest.get("files")))
        log.beside("config.toml")
        return log

    def beside(self, name: str) -> bytes:
        """Return a file that was kept at the beginning of the run, such as config.toml, verified.

        Raises `LogError` with its name where it was not kept, or was edited or damaged since.
        """
        kept = ledger_of(self.folder / MANIFEST, self.manifest.get("files"))
        if name not in kept:
            raise LogError(f"{self.folder / name}: this run keeps no such file; kept are {', '.join(kept)}.")
        try:
            return read_verified(self.folder / name, kept[name])
        except LogError as error:
            raise LogError(
                f"{self.folder / name}: edited, damaged or missing since the run began. {FIX} Another configuration "
                "is another run."
            ) from error

    def config(self) -> dict[str, Any]:
        """Return the run's resolved configuration as plain tables; raises `LogError` when it cannot be read."""
        try:
            return tomllib.loads(self.beside("config.toml").decode())
        except ValueError as error:
            raise LogError(f"{self.folder / 'config.toml'}: cannot be read as TOML ({error}). {FIX}") from error

    @property
    def name(self) -> str:
        """The folder's name."""
        return self.folder.name

    def done(self) -> bool:
        """Return whether the run is finished; what was noted at its end is in `notes`."""
        return self._finished

    def finish(self, notes: Mapping[str, Any] | None = None) -> None:
        """Mark the run as finished; `notes` (say, the seconds of its parts) are kept in DONE as JSON."""
        self.notes = {**(notes or {}), **self._vouched.plain()}
        write_sealed(self.folder / DONE, self.notes)
        self._finished = True

    def checkpoints(self) -> list[int]:
        """Return the panels whose state is kept, oldest first (the last two are); they may still be damaged."""
        return checkpoints_in(self.folder)

    def last_panel(self) -> int:
        """Return the index of the last committed panel, -1 when none is."""
        return self._vouched.panels - 1

    def parts(self, fact: type) -> list[Path]:
        """Return the committed Parquet parts of one fact type in order of panels."""
        names = (part_name(fact, panel) for panel in range(self._vouched.panels))
        return [self.folder / "facts" / name for name in names if name in self._vouched.parts]

    def table(self, fact: type) -> pa.Table:
        """Return all committed facts of one type, in the order in which they were committed.

        Raises `LogError` with the file's name when a part is missing or is not what was written.
        """
        tables = list(self.tables(fact))
        return pa.concat_tables(tables) if tables else schema_of(fact).empty_table()

    def tables(self, fact: type) -> Iterator[pa.Table]:
        """Yield the committed facts of one type file by file, each read when it is wanted; raises as `table` does."""
        schema = schema_of(fact)
        for path in self.parts(fact):
            yield read_part(path, self._vouched.parts[path.name], schema)

    def panel(self, fact: type, panel_index: int) -> pa.Table:
        """Return the facts of one type that one committed panel added, in order; raises what `table` raises."""
        schema, name = schema_of(fact), part_name(fact, panel_index)
        part = self._vouched.parts.get(name)
        return schema.empty_table() if part is None else read_part(self.folder / "facts" / name, part, schema)

    def commit(self, panel_index: int, facts: Sequence[Fact], checkpoint: State) -> None:
        """Append one panel's facts together with the state to go on from, all or nothing.

        `panel_index` must be one more than the last committed panel; raises `ValueError` otherwise, `TypeError` for
        something that is no fact, and `LogError` when the disk refuses (earlier panels stay as they are).
        """
        before = self._vouched
        if panel_index != before.panels:
            raise ValueError(f"panel {panel_index} cannot be committed: the next one is {before.panels}.")
        strangers = {type(f).__name__ for f in facts} - {f.__name__ for f in FACTS}
        if strangers:
            names = ", ".join(f.__name__ for f in FACTS)
            raise TypeError(f"not a fact: {', '.join(sorted(strangers))}. Facts are {names}.")
        try:
            added = self._write_parts(panel_index, facts)
            after = Vouched(before.run, panel_index + 1, {**before.parts, **added})
            write_checkpoint(self.folder / "checkpoint", panel_index, checkpoint, after.plain(), self._intact)
            self._vouched = after
            write_committed(self.folder, after)
        except LogError as error:
            raise LogError(f"{error} Committed panels are kept and readable: go on with --resume.") from error
        collect_garbage(self.folder / "checkpoint", keep=2)

    def _write_parts(self, panel: int, facts: Sequence[Fact]) -> dict[str, Written]:
        added = {}
        for fact in FACTS:
            path = self.folder / "facts" / part_name(fact, panel)
            table = table_of(fact, facts)
            if table.num_rows:
                added[path.name] = write_part(path, table)
            else:
                path.unlink(missing_ok=True)
        return added

    def checkpoint(self, panel_index: int | None = None) -> Checkpoint | None:
        """Return the state saved with a panel (the last one by default), or None when nothing is committed.

        Raises `LogError` when that panel's state is no longer kept or its files are damaged.
        """
        if panel_index is None and not self._vouched.panels:
            return None
        kept = self.checkpoints()
        wanted = self.last_panel() if panel_index is None else panel_index
        if wanted not in kept:
            raise LogError(f"{self.folder}: no state of panel {wanted} is kept; kept are {kept or 'none'}.")
        return read_checkpoint(self.folder / "checkpoint", wanted)

    def _discard_uncommitted(self) -> None:
        """Remove what a killed run left behind, and what is taken back; other people's files stay."""
        # In this order a reader, and a kill, find a whole run at each moment.
        if self._vouched.panels or (self.folder / COMMITTED).exists():
            write_committed(self.folder, self._vouched)
        for panel in self.checkpoints():
            if panel > self.last_panel():
                (self.folder / "checkpoint" / checkpoint_name(panel)).unlink()
        for place in ("facts", "checkpoint/objects"):
            (self.folder / place).mkdir(parents=True, exist_ok=True)
        for path, ours in list(entries(self.folder)):
            late = panel_of_part(path.name) >= 0 and path.name not in self._vouched.parts
            if ours and (late or left_of(path.name)):
                path.unlink(missing_ok=True)
        collect_garbage(self.folder / "checkpoint", keep=2)


def _refuse_remains(folder: Path) -> None:
    """Raise `LogError` for a folder that holds facts, a checkpoint or DONE and lacks the manifest."""
    remains = [p for p, ours in entries(folder) if ours and (p.parent != folder or p.name in (COMMITTED, DONE))]
    if remains:
        raise LogError(
            f"{folder / MANIFEST}: missing, and {len(remains)} files of a run are there. {FIX} That deletes them."
        )
