"""Which runs are seeds of each other, and what sets the others apart: from everything that a run says it was made of.

Runs are averaged only where all of it but the seed is equal. What they are made of is their whole configuration and,
of the manifest, the digests of their parts, versions, and the machine's ways of computing. Knows plain tables only:
nothing of editors, streams or facts.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from streams.text import printable

NOT_COMPARED = ("seed", "name", "label", "out", "cache", "cache_bytes", "memory_bytes", "trackers")
"""Keys of a configuration that may differ between seeds: the seed, and what says where things lie or who is told."""
TRAINING = ("fit.seed", "digest.fit")
"""Of a trained editor: the seed of its training, and what came out of it."""
_SAID = ("digests", "sources", "versions", "threads", "device", "products", "routing")
"""Parts of a manifest that are compared; others say when and beside what else a run was made."""
_LONGEST = 28  # characters of a value in a label


def made_of(config: Mapping[str, Any], manifest: Mapping[str, Any]) -> dict[str, str]:
    """Return all that a run is made of but its seed, by dotted key; called once for each run of a report.

    What a manifest says stands for what was only asked for (threads, device), and a file's content for its place. The
    digest of a stream is left out: each seed draws one of its own; `sources` has the files that it was read from.
    """
    out = _flat({k: v for k, v in config.items() if k not in NOT_COMPARED})
    said = {k: v for k, v in manifest.items() if k in _SAID}
    digests = {k: v for k, v in _table(said.pop("digests", {})).items() if k != "stream"}
    # A digest under the key of a file, or of the editor where that is one, says what is in it.
    keys = {key: "editor.name" if key == "editor" else key for key in digests}
    files = _table(said.pop("sources", {})) | {keys[k]: digests.pop(k) for k in keys if keys[k] in out}
    out |= {key: f"{Path(out.get(key, key)).name}#{str(digest)[:8]}" for key, digest in files.items()}
    out |= {f"digest.{key}": str(digest) for key, digest in digests.items()}
    hardware = manifest.get("hardware")
    cpu = hardware.get("cpu") if isinstance(hardware, dict) else hardware
    out |= _flat(said) | ({"cpu": str(cpu)} if cpu else {})
    # A part's name is known by the part's: `editor=grace` and not `editor.name=grace`.
    return {k.removesuffix(".name"): v for k, v in out.items()}


def without_fits(
    labels: Sequence[str], made: Sequence[Mapping[str, str]], seeds: Sequence[int]
) -> list[Mapping[str, str]]:
    """Return what runs are made of, of each label without its trainings where these are averaged over as seeds are.

    That is where runs that are equal but for the seeds of stream and training have a stream each, and one seed of a
    training has one outcome.
    """
    rest = [{k: v for k, v in one.items() if k not in TRAINING} for one in made]
    groups: dict[str, list[int]] = {}
    for at, one in enumerate(rest):
        groups.setdefault(json.dumps([labels[at], sorted(one.items())]), []).append(at)
    apart = set()
    for group in groups.values():
        outcomes = {(made[i].get(TRAINING[0]), made[i].get(TRAINING[1])) for i in group}
        if len({seeds[i] for i in group}) < len(group) or len({seed for seed, _ in outcomes}) < len(outcomes):
            apart.add(labels[group[0]])
    return [made[i] if labels[i] in apart else rest[i] for i in range(len(made))]


def told_apart(labels: Sequence[str], made: Sequence[Mapping[str, str]]) -> list[str]:
    """Return the runs' labels, those of one label followed by what sets them apart; equal ones are seeds.

    As many keys as are needed, in the order of a configuration. Runs that lack a key have no word for it.
    """
    out = list(labels)
    for label in dict.fromkeys(labels):
        mine = [i for i, x in enumerate(labels) if x == label]
        words: dict[int, list[str]] = {i: [] for i in mine}
        for key in _ordered(list(dict.fromkeys(key for i in mine for key in made[i]))):
            values = {i: made[i].get(key) for i in mine}
            # A key is needed where it splits runs that no key before it has split.
            if any(words[i] == words[j] and values[i] != values[j] for i in mine for j in mine):
                for i, value in values.items():
                    words[i] += [] if value is None else [f"{key.removeprefix('editor.')}={_short(value)}"]
        for i in mine:
            same = [j for j in mine if words[j] == words[i] and made[j] != made[i]]
            out[i] = " ".join([label, *words[i], *([f"#{_digest(sorted(made[i].items()))}"] if same else [])])
    return out


def _ordered(keys: Sequence[str]) -> list[str]:
    first = ("editor", "stream", "model")
    return sorted(
        keys, key=lambda k: next((n for n, part in enumerate(first) if k.split(".")[0] == part), len(first))
    )


def _short(value: str) -> str:
    """Return a value as a label shows it: a long one by its beginning and a digest of all of it."""
    shown = printable(value)
    return shown if len(shown) <= _LONGEST else f"{shown[: _LONGEST - 9]}..#{_digest(value)}"


def _digest(value: Any) -> str:
    return hashlib.sha256(json.dumps(value).encode()).hexdigest()[:6]


def _flat(table: Mapping[str, Any], prefix: str = "") -> dict[str, str]:
    """Return nested tables as one, by dotted key; texts as they are, everything else as JSON.

    >>> _flat({"a": {"b": 1, "c": "x"}, "d": [1, 2]})
    {'a.b': '1', 'a.c': 'x', 'd': '[1,2]'}
    """
    out: dict[str, str] = {}
    for key, value in table.items():
        if isinstance(value, Mapping):
            out |= _flat(value, f"{prefix}{key}.")
        else:
            out[prefix + key] = value if isinstance(value, str) else json.dumps(value, separators=(",", ":"))
    return out


def _table(value: Any) -> dict[str, Any]:
    return dict(value) if isinstance(value, Mapping) else {}
