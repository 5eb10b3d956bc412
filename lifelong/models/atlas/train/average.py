"""`python -m lifelong.models.atlas.train.average OUT FILE FILE ...`: the mean of several checkpoints of one training.

The weights of one run at different steps lie close together, and their mean is often better than each of them
(arXiv 2203.05482). Knows checkpoint files; nothing of the model in them. Optimiser states are averaged as well, so
that training can go on from the mean; the notes (the step) are those of the last file.
"""

from __future__ import annotations

import argparse
from collections.abc import Sequence
from pathlib import Path

import torch

from lifelong.models.atlas.train import checkpoint


def average(files: Sequence[Path], out: Path) -> None:
    """Write the mean of checkpoints; raises `ValueError` when one holds other tensors than the first."""
    loaded = [checkpoint.load_checkpoint(path) for path in files]
    last, notes = loaded[-1]
    for path, (tensors, _) in zip(files, loaded, strict=True):
        if {k: t.shape for k, t in tensors.items()} != {k: t.shape for k, t in last.items()}:
            raise ValueError(f"{path} holds other tensors than {files[-1]}: expected checkpoints of one training.")
    mean = {}
    for name, value in last.items():
        whole = torch.stack([tensors[name].float() for tensors, _ in loaded]).mean(0)
        mean[name] = whole.to(value.dtype) if value.is_floating_point() else value
    checkpoint.save_checkpoint(out, mean, notes)


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description="Write the mean of several checkpoints of one training.")
    parser.add_argument("out", type=Path)
    parser.add_argument("files", type=Path, nargs="+")
    given = parser.parse_args()
    average(given.files, given.out)
