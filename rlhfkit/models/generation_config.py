"""How transformers' `generate` is told to use a model."""

from json import JSONDecodeError
from typing import Any

from transformers import CONFIG_NAME, GenerationConfig

from rlhfkit.context import Context
from rlhfkit.errors import UserError
from rlhfkit.models.loading import load_pretrained


def load_generation_config(context: Context, path: str | None = None) -> Any:
    """That of the run's model, or of another one by directory or hub name."""
    return load_pretrained(_File, context, path or context.config.model.path)


class _File:
    """generation_config.json, or what config.json says, as transformers reads them with a model."""

    @staticmethod
    def from_pretrained(name: str, trust_remote_code: bool, **options: Any) -> Any:
        try:
            return GenerationConfig.from_pretrained(name, **options)
        except OSError as error:
            if isinstance(error.__context__, JSONDecodeError | UnicodeDecodeError):
                raise  # it is there, and broken
        source = {"config_file_name": CONFIG_NAME, "_from_model_config": True}
        return GenerationConfig.from_pretrained(name, **source, **options)


def end_ids(config: Any, name: str) -> list[int]:
    """The tokens at which `generate` ends with this configuration of a model."""
    ends = config.eos_token_id
    found = ends if isinstance(ends, list) else [] if ends is None else [ends]
    if any(type(item) is not int for item in found):
        raise UserError(
            f"{name}: eos_token_id={ends!r:.60} of its generation_config.json is no token id"
        )
    return found
