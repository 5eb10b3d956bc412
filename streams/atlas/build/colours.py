"""Colour words of a drawing, by hue, saturation and value; knows no facts."""

from __future__ import annotations

import numpy as np

from streams.pictures.decoding import decode

_NAMES = ("red", "orange", "yellow", "green", "blue", "purple", "pink", "brown", "black", "grey", "white")


def shares(webp: bytes, page: bool) -> np.ndarray:
    """Share of each colour word (11,) among the pixels; with `page`, the white page does not count.

    Without `page` (flags) only the middle 40x40 pixels are looked at, where no margin is.
    """
    hsv = np.asarray(decode(webp, "drawing").convert("HSV"), dtype=np.int32)
    if not page:
        hsv = hsv[12:52, 12:52]
    h, s, v = hsv[..., 0] * 360 // 255, hsv[..., 1], hsv[..., 2]
    index = np.select(
        [
            v < 60,
            (s < 40) & (v > 215),
            s < 45,
            (h >= 8) & (h < 48) & (v < 170),
            ((h < 8) | (h >= 345)) & (v < 100),
            (h < 14) | (h >= 345),
            h < 38,
            h < 70,
            h < 165,
            h < 255,
            (h < 295),
        ],
        [8, 10, 9, 7, 7, 0, 1, 2, 3, 4, 5],
        default=6,
    )
    counts = np.bincount(index.ravel(), minlength=len(_NAMES)).astype(float)
    if page:
        white = counts[10]
        counts[10] = 0 if counts[:10].sum() > 0.15 * index.size else white
    return counts / max(counts.sum(), 1.0)


def main_colours(drawings: list[bytes], page: bool) -> tuple[list[str], bool]:
    """(words, largest first; whether three quarters of the drawings agree on the first)."""
    table = np.stack([shares(d, page) for d in drawings])
    mean = table.mean(0)
    order = np.argsort(-mean, kind="stable")
    floor = 0.25 if page else 0.07
    words = [_NAMES[i] for i in order[:3] if mean[i] >= floor] or [_NAMES[order[0]]]
    agree = (table.argmax(1) == order[0]).mean() >= 0.75 and mean[order[0]] >= 0.4
    return words, bool(agree)
