"""Files of a model that could run code on this machine: its own modules, and pickled weights."""

from pathlib import Path

from rlhfkit.context import Context
from rlhfkit.errors import UserError

ADAPTER_WEIGHTS = "adapter_model.safetensors"


def trusts(context: Context, name: str) -> bool:
    """Whether code that comes with a model may run: the run's `trust_remote_code` holds for its
    base and for what the run made of it, and for no other model."""
    trusted: bool = context.config.model.trust_remote_code
    return trusted and _is_own(context, name)


def refuse_code(context: Context, name: str, error: Exception) -> None:
    """Word transformers' refusal of such a file, if that is what the error is."""
    reason = str(error)
    if "trust_remote_code" in reason:
        own = _is_own(context, name)
        option = "model.trust_remote_code=true" if own else "trust_remote_code=true beside its path"
        raise UserError(
            f"{name}: the model brings code of its own; read it, then set {option} by hand"
        ) from error
    if "no file named model.safetensors" in reason:
        raise UserError(
            f"{name}: has no weights as safetensors, and pickled ones (.bin) can run code; save it "
            f"again with a recent transformers, or choose another revision"
        ) from error


def adapter_weights(path: str) -> Path:
    """The file of an adapter's weights; `UserError` where there are only pickled ones."""
    file = Path(path) / ADAPTER_WEIGHTS
    if not file.exists():
        raise UserError(
            f"{path}: has no {ADAPTER_WEIGHTS}, and pickled weights (.bin) can run code; save the "
            f"adapter again with a recent PEFT"
        )
    return file


def _is_own(context: Context, name: str) -> bool:
    return name == context.config.model.path or Path(name).is_relative_to(context.run_dir.root)
