"""A model tried on a few tokens: by one way of computing and by another, which must agree."""

from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from functools import cache

import torch
from torch import Tensor

from rlhfkit.console import console
from rlhfkit.distributed.fsdp import unsharded
from rlhfkit.errors import UserError
from rlhfkit.models.batch_size import is_out_of_memory
from rlhfkit.models.language_model import LanguageModel
from rlhfkit.models.quantised import is_quantised

Decode = Callable[[Sequence[Sequence[int]]], Sequence[tuple[list[int], Tensor]]]
"""Some tokens after each prompt, and [T, V] the logits that decoding has for them, or [T] the
log-probabilities of these tokens alone."""


class Fails(Exception):
    """A way of computing that the model does not know; the reason in words."""


def follows(model: LanguageModel, decode: Decode) -> bool:
    """Whether a way of decoding, for prompts of several lengths and equal ones, has the logits of
    the full forward pass; one that fails does not."""
    prompts = probe_rows(model, (6, 2, 2))
    with undisturbed(model), torch.random.fork_rng():
        try:
            with attempted():
                decoded = decode(prompts)
        except Fails:
            return False
        for prompt, (ids, logits) in zip(prompts, decoded, strict=True):
            row = torch.tensor([[*prompt, *ids]], device=model.device)
            whole = model.logits(model.hidden_states(row, None)[0, len(prompt) - 1 : -1])
            if not same(model, logits, whole, ids):
                return False
    return True


def probe_rows(model: LanguageModel, lengths: Sequence[int]) -> list[list[int]]:
    """Tokens to try a model with, none of them special; shorter rows start a longer one."""
    config = model.base.config.get_text_config()
    ends = config.eos_token_id
    special = {config.pad_token_id, config.bos_token_id}
    special |= set(ends) if isinstance(ends, list) else {ends}
    size = len(model.head.weight)
    spread = [size * n // 97 for n in range(31, 97, 3)]
    usual = [token for token in spread if token not in special] or [0]
    usual *= max(lengths)
    return [usual[:length] for length in lengths]


def same(
    model: LanguageModel, found: Tensor, expected: Tensor, ids: Sequence[int] | None = None
) -> bool:
    """Whether logits [N, V] give the same log-probabilities, up to rounding. True of a model whose
    own numbers are NaN: the stage that meets them says where.

    ids: where `found` is [N] the log-probabilities of these tokens alone.
    """
    found, expected = found.cpu(), expected.cpu()  # MPS has no float64
    other = torch.log_softmax(expected.double(), -1)
    if other.isnan().any():
        return True
    spread = (other - other.mean(-1, keepdim=True)).square().mean().sqrt()
    if found.dim() == 1 and ids is not None:
        one, other = found.double(), other.gather(1, torch.tensor(ids)[:, None])[:, 0]
    else:
        one = torch.log_softmax(found.double(), -1)
    if one.shape != other.shape:
        return False
    error = (one - other).square().mean().sqrt()
    return bool(error <= _tolerance(model) * spread + 1e-6)


@contextmanager
def undisturbed(model: LanguageModel) -> Iterator[None]:
    """The whole model without gradients and dropout; afterwards it is as before."""
    modes = [(module, module.training) for module in model.module.modules()]
    try:
        model.module.eval()
        with torch.no_grad(), unsharded(model.module):
            yield
    finally:
        for module, training in modes:
            module.training = training


@contextmanager
def attempted() -> Iterator[None]:
    """`Fails` for whatever a model's code raises here, apart from a lack of memory."""
    try:
        yield
    except (UserError, Fails):
        raise
    except Exception as error:
        if isinstance(error, RuntimeError) and is_out_of_memory(error):
            raise
        raise Fails(f"{type(error).__name__}: {' '.join(str(error).split())[:200]}") from error


def name_of(model: LanguageModel) -> str:
    """A model as messages call it."""
    return str(model.base.name_or_path or kind_of(model))


def kind_of(model: LanguageModel) -> str:
    """Its architecture, which all models of a run share."""
    return type(model.base).__name__


@cache
def say_once(line: str) -> None:
    """Print a line that is as true of the run's other stages."""
    console.print(line, markup=False, soft_wrap=True)


def _tolerance(model: LanguageModel) -> float:
    """Largest error of a log-probability by the spread of them. Half precision and quantised
    kernels round otherwise for other shapes; a GPU may compute float32 in fewer bits."""
    exact = model.base.dtype in (torch.float32, torch.float64) and model.compute_dtype is None
    if not exact or is_quantised(model.base):
        return 0.1
    return 1e-3 if model.device.type == "cpu" else 1e-2
