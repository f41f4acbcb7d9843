"""Whether a model's files are there, without reading its weights."""

import json
from pathlib import Path

from transformers.utils import SAFE_WEIGHTS_INDEX_NAME, SAFE_WEIGHTS_NAME

from rlhfkit.context import Context
from rlhfkit.errors import UserError
from rlhfkit.models.loading import is_adapter, load_config, locate


def check_files(context: Context, path: str) -> None:
    """Raise `UserError` for a model whose configuration cannot be loaded, and for a folder that
    lacks weights. An adapter's are read with its base; those of the hub may be fetched yet."""
    folder = Path(locate(context, path))
    if is_adapter(str(folder)):
        return
    load_config(context, path)
    if folder.is_dir() and (lacking := _lacking(folder)):
        raise UserError(f"model '{path}' has no weights as safetensors: no {lacking} in {folder}")


def _lacking(folder: Path) -> str | None:
    """The name of a file of weights that should be there and is not."""
    index = folder / SAFE_WEIGHTS_INDEX_NAME
    names = {SAFE_WEIGHTS_NAME}
    if not (folder / SAFE_WEIGHTS_NAME).exists() and index.exists():
        try:
            names = set(json.loads(index.read_text(encoding="utf-8"))["weight_map"].values())
        except (ValueError, LookupError, TypeError, AttributeError) as error:
            raise UserError(f"{index}: no index of weights ({error})") from error
    return next((name for name in sorted(names) if not (folder / name).exists()), None)
