"""The head of a scalar model that is loaded or started."""

from pathlib import Path

from torch import nn

from rlhfkit.models.scalar_model import HEAD_FILE, fresh_head, load_head


def head_of(path: str | None, hidden_size: int) -> nn.Linear:
    """The stored head of what `ScalarModel.save` wrote; a fresh one for a language model."""
    if path is not None and (Path(path) / HEAD_FILE).exists():
        return load_head(Path(path), hidden_size)
    return fresh_head(hidden_size)
