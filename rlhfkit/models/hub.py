"""The Hugging Face hub: whether it answers, and why a model does not come from it."""

from functools import cache
from importlib.resources import files
from importlib.resources.abc import Traversable
from pathlib import Path

from huggingface_hub import constants, get_session
from huggingface_hub.errors import (
    GatedRepoError,
    HFValidationError,
    RepositoryNotFoundError,
    RevisionNotFoundError,
)
from omegaconf import OmegaConf

from rlhfkit.errors import UserError

_WAIT_S = 5.0


@cache
def is_reachable() -> bool:
    """Whether the hub answers. Asked once, and without the many attempts of its own client."""
    if constants.HF_HUB_OFFLINE:
        return False
    try:
        get_session().head(constants.ENDPOINT, timeout=_WAIT_S)
    except Exception:  # the client's errors have no base of Python's own
        return False
    return True


def refuse_missing_folder(what: str, name: str) -> None:
    """`UserError` for a name that can only be a folder's. What is one has been found before."""
    if name.startswith((".", "/", "~")) or name.count("/") > 1 or "\\" in name:
        raise UserError(f"{what} '{name}': no such folder")


def explained(name: str, error: BaseException | None, option: str) -> str | None:
    """Why a model is not got from the hub, and the way on; None for another error. option: what a
    folder is given by."""
    here = f"a folder is given by {option}=DIR"
    while error is not None:
        if isinstance(error, GatedRepoError):
            page = f"{constants.ENDPOINT}/{name}"
            return f"is gated: accept its terms at {page}, then set HF_TOKEN; {here}"
        if isinstance(error, RepositoryNotFoundError | HFValidationError):
            return f"no such model on the hub; a private one needs HF_TOKEN, {here}"
        if isinstance(error, RevisionNotFoundError):
            return "has no such revision on the hub; model.revision is a branch, tag or commit"
        error = error.__cause__ or error.__context__
    if not is_reachable():
        host = constants.ENDPOINT.removeprefix("https://")
        asked = "HF_HUB_OFFLINE is set" if constants.HF_HUB_OFFLINE else f"{host} does not answer"
        return f"is not on this machine, and {asked}; {here}"
    return None


@cache
def shipped_config(name: str) -> str | None:
    """The file of a preset model's `config.json` as published on the hub, which is enough for a
    plan; None for another model."""
    for preset in _presets():
        settings = OmegaConf.create(preset.read_text(encoding="utf-8"))
        if settings.path == name:
            return str(Path(str(preset)).with_suffix(".json"))
    return None


def _presets() -> list[Traversable]:
    folder = files("rlhfkit_conf") / "model"
    return [file for file in folder.iterdir() if file.name.endswith(".yaml")]
