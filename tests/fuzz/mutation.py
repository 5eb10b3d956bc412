"""Ways of damaging a file: bits, cuts, repeats, splices, and nasty texts in place of good ones; drawn from a seed."""

from __future__ import annotations

import json
import random
from collections.abc import Callable
from typing import Any

NASTY: tuple[str, ...] = (
    "", " ", "\n", "\r\n", "\0", "\ufeff", "\u2028", "\u200b", "\ud800", "\x1b[31m", "\U0001f426", "ｶﾞ",
    "</s>", "<s>", "<image>", "<pad>", "=1+1", "$\\frac{$", "{{ 1 }}", "../../x", "/dev/zero", "~", "file:///x",
    "nan", "inf", "-0.0", "1e308", "1e-320", "9" * 40, "-1", "0", "true", "null", "a" * 5000, "1,2", "[", "{", '"',
)  # fmt: skip
VALUES: tuple[Any, ...] = (
    None, True, False, 0, -1, 1, 2**31, 2**63, 10**30, 0.5, -1e308, float("nan"), float("inf"), [], {}, [[]], [None],
    {"name": 3}, ["a", 1], *NASTY,
)  # fmt: skip


def damaged(data: bytes, rng: random.Random, other: bytes = b"") -> bytes:
    """Return the content of a file after one to four damages."""
    for _ in range(rng.choice((1, 1, 1, 2, 4))):
        data = rng.choice(_DAMAGES)(data, rng, other)
    return data


def _flip(data: bytes, rng: random.Random, other: bytes) -> bytes:
    out = bytearray(data)
    for _ in range(rng.choice((1, 1, 8)) if out else 0):
        out[rng.randrange(len(out))] ^= 1 << rng.randrange(8)
    return bytes(out)


def _cut(data: bytes, rng: random.Random, other: bytes) -> bytes:
    return data[: rng.randrange(len(data) + 1)]


def _drop(data: bytes, rng: random.Random, other: bytes) -> bytes:
    start = rng.randrange(len(data) + 1)
    return data[:start] + data[start + rng.choice((1, 4, 64, 4096)) :]


def _repeat(data: bytes, rng: random.Random, other: bytes) -> bytes:
    start = rng.randrange(len(data) + 1)
    piece = data[start : start + rng.choice((1, 16, 256))]
    return data[:start] + piece * rng.choice((2, 3, 100)) + data[start + len(piece) :]


def _insert(data: bytes, rng: random.Random, other: bytes) -> bytes:
    start = rng.randrange(len(data) + 1)
    return data[:start] + rng.choice(NASTY).encode("utf-8", "surrogatepass") + data[start:]


def _splice(data: bytes, rng: random.Random, other: bytes) -> bytes:
    return data[: rng.randrange(len(data) + 1)] + other[rng.randrange(len(other) + 1) :]


def _garble(data: bytes, rng: random.Random, other: bytes) -> bytes:
    start = rng.randrange(len(data) + 1)
    return data[:start] + rng.randbytes(rng.choice((1, 4, 32))) + data[start + 4 :]


def _spoil_json(data: bytes, rng: random.Random, other: bytes) -> bytes:
    """Put another value somewhere into one line of JSON; other files are left as they are."""
    lines = data.split(b"\n")
    place = rng.randrange(len(lines))
    try:
        tree = json.loads(lines[place])
    except (ValueError, RecursionError):
        try:
            tree, lines, place = json.loads(data), [b""], 0
        except (ValueError, RecursionError):
            return data
    lines[place] = json.dumps(spoilt(tree, rng), ensure_ascii=rng.random() < 0.5).encode("utf-8", "surrogatepass")
    return b"\n".join(lines)


def spoilt(tree: Any, rng: random.Random) -> Any:
    """Return plain data with one value, key or item replaced, removed, added or repeated."""
    inside = isinstance(tree, dict | list) and tree and rng.random() < 0.85
    if not inside:
        return rng.choice(VALUES)
    if isinstance(tree, list):
        place = rng.randrange(len(tree))
        ways: list[Callable[[], list[Any]]] = [
            lambda: [*tree[:place], spoilt(tree[place], rng), *tree[place + 1 :]],
            lambda: [*tree[:place], *tree[place + 1 :]],
            lambda: [*tree, tree[place]],
        ]
        return rng.choices(ways, (6, 1, 1))[0]()
    key = rng.choice(list(tree))
    without = {k: v for k, v in tree.items() if k != key}
    change = rng.random()
    if change < 0.7:
        return {**tree, key: spoilt(tree[key], rng)}
    return without if change < 0.85 else {**without, rng.choice(NASTY): tree[key]}


_DAMAGES = (_flip, _cut, _drop, _repeat, _insert, _splice, _garble, _spoil_json, _spoil_json, _spoil_json)
