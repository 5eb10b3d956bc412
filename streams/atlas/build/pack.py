"""Writes the pack: one zip with every drawing and the facts, the same bytes for the same input."""

from __future__ import annotations

import hashlib
import json
import zipfile
from pathlib import Path

EPOCH = (1980, 1, 1, 0, 0, 0)


def write_pack(path: Path, entities: list[dict], drawings: dict[tuple[str, str], bytes]) -> str:
    """Write `img/<entity>/<set>.webp` and `entities.json`; returns the sha256 of the file."""
    with zipfile.ZipFile(path, "w") as archive:
        text = json.dumps(entities, ensure_ascii=False, separators=(",", ":"), sort_keys=True)
        # Level and strategy are fixed by zlib's default here; images are stored, they do not shrink.
        archive.writestr(_info("entities.json", zipfile.ZIP_DEFLATED), text.encode(), compresslevel=9)
        for entity, name in sorted(drawings):
            archive.writestr(_info(f"img/{entity}/{name}.webp", zipfile.ZIP_STORED), drawings[entity, name])
    return hashlib.sha256(path.read_bytes()).hexdigest()


def _info(name: str, method: int) -> zipfile.ZipInfo:
    info = zipfile.ZipInfo(name, EPOCH)
    info.compress_type = method
    info.external_attr = 0o644 << 16
    info.create_system = 3
    return info
