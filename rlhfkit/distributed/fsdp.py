"""FSDP2 for sft, rl_sft, reward_model and the four models of rl: each process keeps its share of
every parameter, gradient and optimizer state (ZeRO-3 of Rajbhandari et al. 2020, arXiv 1910.02054).

PyTorch's `fully_shard`, not accelerate's wrapping of models: that needs GPUs, and gathers weights
for the forward pass of the whole model, where the stages call its inner parts.
"""

from collections.abc import Callable, Iterator, Sequence
from contextlib import AbstractContextManager, contextmanager, nullcontext
from types import MethodType
from typing import Any, TypeVar, cast

import torch
from torch import Tensor, nn
from torch.distributed.device_mesh import init_device_mesh
from torch.distributed.fsdp import FSDPModule, fully_shard, register_fsdp_forward_method
from torch.distributed.tensor import DTensor, distribute_tensor
from torch.utils._pytree import tree_map_only
from transformers.modeling_layers import GradientCheckpointingLayer

from rlhfkit.distributed import processes
from rlhfkit.distributed.launch import wants_sharding

T = TypeVar("T")

_COMPUTED = "rlhfkit_computed"

_gathered: set[FSDPModule] = set()
"""What `unsharded` has gathered at the moment."""


def shard_trainer(trainer: Any) -> None:
    """Spread a trainer's model; to be called before the trainer makes its optimizer, which then has
    the shares alone."""
    shard_module(trainer.model, trainer.args.device)
    if wants_sharding():
        trainer.is_distributed_loading_by_transformers = True  # nobody is to wrap it once more


def shard_module(model: nn.Module, device: torch.device) -> None:
    """Leave each process its share of a model, where the launcher wants that: layer by layer, the
    rest as one more part."""
    if not wants_sharding():
        return
    mesh = init_device_mesh(device.type, (processes.world_size(),))
    layers = [part for part in model.modules() if isinstance(part, GradientCheckpointingLayer)]
    for part in (*layers, model):
        fully_shard(part, mesh=mesh)
    parts = sharded_parts(model)
    for part in parts:
        part.set_gradient_divide_factor(1.0)  # the losses of the processes add up to the batch's
        part.set_force_sum_reduction_for_comms(True)
        # by default what passes without gradients came before, which are not as many everywhere
        part.set_modules_to_backward_prefetch([part])
    setattr(model, _COMPUTED, MethodType(lambda _, compute: compute(), model))
    register_fsdp_forward_method(model, _COMPUTED)
    with unsharded(model):  # the first pass tells the parts that this is the root
        as_forward_pass(model, lambda: None)


def sharded_parts(model: nn.Module) -> list[FSDPModule]:
    """The parts that are gathered one by one; none of a model that is whole."""
    return [part for part in model.modules() if isinstance(part, FSDPModule)]


def as_forward_pass(model: nn.Module, compute: Callable[[], T]) -> T:
    """`compute()` as the forward pass of a model, sharded or not; all processes must call it as
    often. What of the model is in no layer is gathered first."""
    result: T = getattr(model, _COMPUTED, lambda function: function())(compute)
    return result


@contextmanager
def unsharded(model: nn.Module) -> Iterator[None]:
    """All weights in every process: for saving, and for passes that not all make alike. Of FSDP2,
    where it does nothing within itself, and of DeepSpeed's ZeRO-3."""
    root = cast(Any, model)
    parts = [part for part in sharded_parts(model) if part not in _gathered]
    for part in parts:
        part.set_reshard_after_forward(False, recurse=False)
        part.unshard()
    _gathered.update(parts)
    try:
        with _gathered_by_deepspeed(model):
            yield
    finally:
        _gathered.difference_update(parts)
        for part in parts:
            part.set_reshard_after_forward(part is not root, recurse=False)
            part.reshard()


def weights_to_save(model: nn.Module) -> dict[str, dict[str, Tensor]]:
    """What `save_pretrained` is to be told of a model that `unsharded` has gathered: its own look
    at the weights would shard them again."""
    if not sharded_parts(model):
        return {}
    return {"state_dict": {**dict(model.named_parameters()), **_stored_buffers(model)}}


def gather_state(state: Any) -> Any:
    """Nested state with whole tensors in place of shares, in main memory and for the main process;
    all must call it."""

    def whole_tensor(share: DTensor) -> Tensor | None:
        every = share.full_tensor()
        return every.cpu() if processes.is_main() else None

    return tree_map_only(DTensor, whole_tensor, state)


def shard_like(parameter: Tensor, value: Any) -> Any:
    """The share of a whole tensor that this process has of its parameter; anything
    else as it is."""
    if not isinstance(parameter, DTensor) or getattr(value, "shape", None) != parameter.shape:
        return value
    mesh, placements = parameter.device_mesh, parameter.placements
    return distribute_tensor(value.to(parameter.device), mesh, placements, src_data_rank=None)


def to_floats(values: Sequence[Tensor]) -> list[float]:
    """Tensors of one number each, whole or in shares, which all must then call it for; the device
    is waited for once."""
    numbers: list[float] = torch.stack([whole(value) for value in values]).tolist()
    return numbers


def whole(value: Tensor) -> Tensor:
    """A tensor that may be in shares, which all must then call it for."""
    return value.full_tensor() if isinstance(value, DTensor) else value


def _gathered_by_deepspeed(model: nn.Module) -> AbstractContextManager[None]:
    shares = [parameter for parameter in model.parameters() if hasattr(parameter, "ds_id")]
    if not shares:
        return nullcontext()
    import deepspeed

    context: AbstractContextManager[None] = deepspeed.zero.GatheredParameters(shares)
    return context


def _stored_buffers(model: nn.Module) -> dict[str, Tensor]:
    return {
        f"{place}.{name}".lstrip("."): buffer
        for place, part in model.named_modules()
        for name, buffer in part.named_buffers(recurse=False)
        if name not in part._non_persistent_buffers_set
    }
