"""The keys that routing is measured on: hidden states of the atlas model, and what stands in where they run out.

Knows the model and its stream; nothing of banks. In order: the state of every edit's own question (`real`), of its
rephrased questions and of the same with other pictures of the same thing (`rendered`), of all these with random crops
of their pictures (`cropped`); beyond them, mixtures of two of these with noise (`mixed`), which are states of no
question. How many of which kind is declared wherever a number comes from them.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from itertools import cycle, islice
from pathlib import Path

import numpy as np
from PIL import Image

from streams.pictures.images import open_image
from streams.types import ImageRef, Query, digest_of

_CHUNK = 256  # questions encoded at a time
CROP = 0.6, 0.95  # share of either side of a picture that a crop keeps
NOISE = 0.1  # length of the noise in a mixture, of unit vectors
TOKENS = {256: 1, 1024: 4, 4096: 16}
"""Width of a key -> how many of the last tokens' states, 256 wide, are joined in it."""


@dataclass(frozen=True)
class KeySource:
    """Unit keys of one width: states (real first), queries (states of further questions), and mixtures beyond."""

    states: np.ndarray
    queries: np.ndarray
    real: int
    rendered: int
    seed: int = 0

    def counts(self, n: int) -> dict[str, int]:
        """Return how many of the first n keys are real, rendered, cropped and mixed."""
        real, states = min(n, self.real), min(n, len(self.states))
        rendered = min(states - real, self.rendered)
        return {"real": real, "rendered": rendered, "cropped": states - real - rendered, "mixed": n - states}

    def rows(self, first: int, n: int) -> np.ndarray:
        """Return the keys `first` to `first + n`, (n, width) float32: the same ones however they are cut."""
        known = self.states[first : first + n]
        start = max(first, len(self.states))
        mixed = (
            [self._mixed(row) for row in range(start // _CHUNK, -(-(first + n) // _CHUNK))]
            if first + n > start
            else []
        )
        rest = np.concatenate(mixed)[start - start // _CHUNK * _CHUNK :] if mixed else known[:0]
        return np.concatenate([known, rest[: n - len(known)]])

    def _mixed(self, chunk: int) -> np.ndarray:
        rng = np.random.default_rng([self.seed, chunk])
        one, other = (self.states[rng.integers(0, len(self.states), _CHUNK)] for _ in range(2))
        share = rng.uniform(0.5, 1.0, (_CHUNK, 1)).astype(np.float32)
        noise = rng.standard_normal(one.shape, np.float32) * np.float32(NOISE / np.sqrt(one.shape[1]))
        return unit(share * one + (1 - share) * other + noise)


def unit(keys: np.ndarray) -> np.ndarray:
    """Return keys of length 1, float32."""
    return (keys / np.linalg.norm(keys, axis=1, keepdims=True).clip(1e-12)).astype(np.float32)


def atlas_states(
    edits: int, crops: int, folder: Path, *, seed: int = 0, on_progress: Callable[[int, int], None] | None = None
) -> dict[str, np.ndarray]:
    """Return the states (n, 4096) of `real`, `rendered` and `crops` `cropped` questions, kept in a file in `folder`.

    A row is the states of the last 16 tokens (image tokens count) in the middle of the decoder, joined, the last
    first.
    """
    from lifelong.models.loading import load_parts
    from lifelong.models.vlm import VLM
    from streams.stream import load_stream

    stream = load_stream("atlas", edits=edits, seed=seed)
    model, processor, digest = load_parts("atlas", "float32", "cpu")
    vlm = VLM(model, processor, name="atlas", digest=digest, open_image=open_crop)
    file = folder / f"states-{vlm.digest}-{edits}-{crops}-{seed}.npz"
    if file.is_file():
        with np.load(file) as kept:
            return {name: kept[name] for name in kept.files}
    probes = [[p for p in stream.probes(e.id) if p.axis == "generality"] for e in stream.edits]
    asked = {"real": [e.query for e in stream.edits], "rendered": [p.query for some in probes for p in some[:2]]}
    asked["cropped"] = list(islice(cropped([q for some in asked.values() for q in some]), crops))
    total, done = sum(map(len, asked.values())), 0
    found: dict[str, np.ndarray] = {}
    for name, queries in asked.items():
        distinct = list({q.digest: q for q in queries}.values())
        parts = [np.empty((0, TOKENS[4096] * vlm.width), np.float32)]
        for low in range(0, len(distinct), _CHUNK):
            states = vlm.hidden(distinct[low : low + _CHUNK], vlm.layers // 2).states
            parts.append(np.stack([_joined(s.float().cpu().numpy(), TOKENS[4096]) for s in states]))
            done += len(states)
            if on_progress is not None:
                on_progress(min(done, total), total)
        found[name] = np.concatenate(parts)
    folder.mkdir(parents=True, exist_ok=True)
    np.savez(file, **found)  # pyright: ignore[reportArgumentType]
    return found


def cropped(queries: Sequence[Query]) -> Iterator[Query]:
    """Yield the queries that have a picture, with another crop of it each time, over and over."""
    seen = list({q.digest: q for q in queries if q.image is not None}.values())
    for number, query in enumerate(cycle(seen)):
        assert query.image is not None
        ref = ImageRef(
            f"crop:{number}:{query.image.uri}", digest_of(query.image.digest, str(number)), query.image.root
        )
        yield Query(query.prompt, ref)


def open_crop(ref: ImageRef) -> Image.Image:
    """Return the picture of a reference as `open_image` does, or the crop of it that `crop:NUMBER:URI` names."""
    scheme, _, rest = ref.uri.partition(":")
    if scheme != "crop":
        return open_image(ref)
    number, _, uri = rest.partition(":")
    whole, rng = open_image(ImageRef(uri, ref.digest, ref.root)), np.random.default_rng(int(number))
    sides = [round(side * rng.uniform(*CROP)) for side in whole.size]
    left, top = (int(rng.integers(0, side - kept + 1)) for side, kept in zip(whole.size, sides, strict=True))
    return whole.crop((left, top, left + sides[0], top + sides[1]))


def _joined(states: np.ndarray, tokens: int) -> np.ndarray:
    """Return the last tokens' states (tokens, width) joined, the last first; a short question repeats its first."""
    last = states[::-1][:tokens]
    return np.concatenate([*last, *[last[-1]] * (tokens - len(last))])


def key_source(states: dict[str, np.ndarray], width: int, *, queries: int = 512, seed: int = 0) -> KeySource:
    """Return keys of a width (256, 1024 or 4096): rendered states are first queries, and keys beyond their number."""
    real, rendered, crops = (unit(distinct(states[name][:, :width])) for name in ("real", "rendered", "cropped"))
    order = np.random.default_rng(seed).permutation(len(rendered))
    asked, kept = rendered[order[:queries]], rendered[order[queries:]]
    return KeySource(np.concatenate([real, kept, crops]), asked, len(real), len(kept), seed)


def distinct(keys: np.ndarray) -> np.ndarray:
    """Return keys without exact repetitions, in order of first appearance."""
    _, first = np.unique(keys, axis=0, return_index=True)
    return np.ascontiguousarray(keys[np.sort(first)])
