"""From a name to a model or tokenizer in memory; every loader starts here."""

from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import torch
import transformers
from transformers import AutoConfig, AutoModelForCausalLM, AutoTokenizer, core_model_loading

from rlhfkit.config.run import ModelConfig
from rlhfkit.context import Context
from rlhfkit.errors import UserError
from rlhfkit.models.attention import planned_attention, require_known
from rlhfkit.models.batch_size import advise_when_full, is_out_of_memory
from rlhfkit.models.from_config import causal_lm_from_config
from rlhfkit.models.hub import explained, is_reachable, refuse_missing_folder, shipped_config
from rlhfkit.models.trust import refuse_code, trusts

ADAPTER_FILE = "adapter_config.json"


transformers.logging.disable_progress_bar()  # stages have bars of their own


def load_causal_lm(
    context: Context, path: str | None = None, dtype: torch.dtype | None = None, **options: Any
) -> Any:
    """A transformers causal model on the run's device.

    path: a directory or hub name; None for the run's base model. dtype: None for the run's.
    """
    name = path or context.config.model.path
    with advise_when_full(f"loading {name}"):
        return _load_causal_lm(context, name, path, dtype, options)


def _load_causal_lm(
    context: Context,
    name: str,
    path: str | None,
    dtype: torch.dtype | None,
    options: Mapping[str, Any],
) -> Any:
    if context.dry_run:
        require_known(context)
        return causal_lm_from_config(
            load_config(context, path),
            dtype or context.precision.weights,
            context.device,
            options.get("quantization_config"),
            trusts(context, name),
            planned_attention(context),
        )
    if (attention := context.config.model.attn_implementation) is not None:
        options = {"attn_implementation": attention, **options}
    model, info = load_pretrained(
        AutoModelForCausalLM,
        context,
        name,
        dtype=dtype or context.precision.weights,
        use_safetensors=True,
        output_loading_info=True,
        ignore_mismatched_sizes=True,
        **options,
    )
    check_whole(name, info)
    model.name_or_path = name  # adapters record their base by name, not by a cache path
    if "quantization_config" not in options:
        model.to(context.device)
    return model


def load_config(context: Context, path: str | None = None) -> Any:
    """The configuration of the run's model, or of another one: a small file, no weights."""
    if context.dry_run and context.dry_run.model_config is not None:
        return context.dry_run.model_config
    name = path or context.config.model.path
    if context.dry_run and context.config.model.revision is None and (file := shipped_config(name)):
        return AutoConfig.from_pretrained(file)
    return load_pretrained(AutoConfig, context, name)


def load_tokenizer(context: Context, path: str | None = None) -> Any:
    """The tokenizer of the run's model, or of another one by directory or hub name."""
    tokenizer = load_pretrained(AutoTokenizer, context, path or context.config.model.path)
    if tokenizer.eos_token_id is None:
        raise UserError(f"{path or context.config.model.path}: the tokenizer has no EOS token")
    return tokenizer


def locate(context: Context, path: str) -> str:
    """A local directory for a model's name where a plugin knows one, else the name itself."""
    if Path(path).is_dir():
        return path
    found: str | None = context.plugins.hook.resolve_model(path=path)
    return found or path


def is_adapter(path: str | None) -> bool:
    """Whether a path holds a PEFT adapter and not a whole model."""
    return path is not None and (Path(path) / ADAPTER_FILE).exists()


def load_pretrained(
    loader: Any,
    context: Context,
    name: str,
    *,
    what: str = "model",
    trust: bool | None = None,
    **options: Any,
) -> Any:
    """`loader.from_pretrained`, its failures in one line. trust: whether code that comes with the
    model may run; None is what the run says."""
    model_config: ModelConfig = context.config.model
    located = locate(context, name)
    is_folder = Path(located).is_dir()
    if not is_folder:
        refuse_missing_folder(what, name)
        options["local_files_only"] = not is_reachable()
        if name == model_config.path:
            options["revision"] = model_config.revision
    trusted = trusts(context, name) if trust is None else trust
    with loading(f"{what} '{name}'"):
        try:
            return loader.from_pretrained(located, trust_remote_code=trusted, **options)
        except (OSError, ValueError) as error:
            refuse_code(context, name, error)
            option = "model.path" if name == model_config.path else "its path"
            if not is_folder and (reason := explained(name, error, option)):
                raise UserError(f"{what} '{name}' {reason}") from error
            raise


@contextmanager
def loading(what: str) -> Iterator[None]:
    """Load something that others made in here: whatever a library raises for a broken file, and for
    a full device, is a `UserError` about `what`."""
    try:
        with advise_when_full(f"loading {what}"), _full_while_quantising():
            yield
    except UserError:
        raise
    except Exception as error:
        reason = " ".join(str(error).split())[:300]
        if not isinstance(error, OSError | ValueError):  # a key or a number alone says nothing
            reason = f"{type(error).__name__}: {reason}"
        raise UserError(f"{what} cannot be loaded: {reason}") from error


@contextmanager
def _full_while_quantising() -> Iterator[None]:
    """transformers goes on to the next weight when one cannot be quantised, and says in the end
    that some could not: a full device is to be told as what it is."""
    note = core_model_loading.log_conversion_errors

    @contextmanager
    def note_unless_full(*details: Any) -> Iterator[None]:
        try:
            with note(*details):
                yield
        except core_model_loading.SkipParameters as skipped:
            reason = skipped.__context__
            if isinstance(reason, RuntimeError) and is_out_of_memory(reason):
                raise reason from None
            raise

    core_model_loading.log_conversion_errors = note_unless_full
    try:
        yield
    finally:
        core_model_loading.log_conversion_errors = note


def check_whole(name: str, info: Mapping[str, Any]) -> None:
    """`UserError` for a model with weights that its files lack or have in another shape, which
    transformers would draw at random. info: its `output_loading_info`."""
    if lacking := sorted(info["missing_keys"]):
        raise UserError(f"{name}: no whole model, its weights lack {_some(lacking)}")
    if other := sorted(str(key[0]) for key in info["mismatched_keys"]):
        raise UserError(f"{name}: weights of another shape than config.json says: {_some(other)}")


def _some(names: list[str]) -> str:
    more = len(names) - 3
    return ", ".join(names[:3]) + (f" and {more} more" if more > 0 else "")
