"""The picture of a training: every value of its loss.csv against the step, one panel a value. Knows no model."""

from __future__ import annotations

from pathlib import Path

import polars as pl

from reports.figures.style import grid, save

_COLUMNS = ("stage", "step", "wall_s", "name", "value")
SMOOTH = 5  # recorded points in the running median that is drawn thick


def read_losses(path: str | Path) -> pl.DataFrame:
    """Return the rows of a loss.csv, of a step that was trained again after a break only the last.

    Columns `_COLUMNS`, in order of stage (as first met), name and step. Raises `ValueError` for a file without rows
    or with other columns.
    """
    table = pl.read_csv(path)
    if tuple(table.columns) != _COLUMNS or not len(table):
        raise ValueError(f"{path}: expected rows with the columns {', '.join(_COLUMNS)}; found {table.columns}.")
    return table.unique(("stage", "step", "name"), keep="last", maintain_order=True).sort(
        pl.col("stage").rle_id(), "name", "step", maintain_order=True
    )


def draw_losses(source: str | Path, target: str | Path) -> Path:
    """Draw a loss.csv as one picture (PNG or SVG by the ending of `target`) and return its path."""
    table = read_losses(source)
    wanted = table.select("stage", "name").unique(maintain_order=True).rows()
    figure, axes = grid(len(wanted))
    for ax, (stage, name) in zip(axes, wanted, strict=True):
        rows = table.filter((pl.col("stage") == stage) & (pl.col("name") == name))
        middle = rows["value"].rolling_median(SMOOTH, min_samples=1, center=True)
        ax.plot(rows["step"], rows["value"], color="#0072B2", linewidth=0.6, alpha=0.5)
        if len(rows) > 2 * SMOOTH:
            ax.plot(rows["step"], middle, color="#0072B2", linewidth=1.6)
        ax.set_title(f"{stage}: {name}", fontsize=9)
        ax.set_xlabel("training step")
    figure.suptitle(f"Training, as recorded (thin) and running median of {SMOOTH} records (thick)", fontsize=10)
    return save(figure, target)
