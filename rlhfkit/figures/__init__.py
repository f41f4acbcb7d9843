"""How every figure is made: without a display, in the formats that `stage.report.formats` names."""

from pathlib import Path
from typing import Any

import matplotlib

from rlhfkit.context import Context

matplotlib.use("Agg")
import matplotlib.pyplot as plt


def new(columns: int = 1) -> tuple[Any, Any]:
    """A figure and its axes, side by side."""
    figure, axes = plt.subplots(1, columns, figsize=(5 * columns + 1, 4), layout="constrained")
    return figure, axes


def save(context: Context, figure: Any, name: str) -> list[Path]:
    """Write and close the figure; the files."""
    formats = context.config.stage.report.formats
    pictures = [context.stage_dir / f"{name}.{suffix}" for suffix in formats]
    for picture in pictures:
        figure.savefig(picture, dpi=150)
    plt.close(figure)
    return pictures
