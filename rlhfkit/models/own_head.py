"""A model's own function of hidden states to logits: its forward pass with given states in place of
its body.

Most heads are one linear layer. Granite, Cohere and Falcon-H1 scale what comes out of it, others
have layers of their own before it, and adapters of others may be on it; their code knows.
"""

from typing import Any

import torch
from torch import Tensor, nn
from torch.distributed.fsdp import FSDPModule
from transformers.modeling_outputs import BaseModelOutputWithPast


def body_of(base: Any) -> nn.Module:
    """The part of a transformers model that gives the last hidden states."""
    body: Any = base.base_model
    if body is base:  # Llama 4's is not called as it says
        body = base.model
    found: nn.Module = body
    return found


def own_logits(base: Any, hidden: Tensor) -> Tensor:
    """[N, V] logits that a transformers model makes of its body's states [N, D], a row each."""
    body = body_of(base)
    double = _with_part(base, body, _GivenStates(hidden[None], body))
    nothing = torch.zeros(1, len(hidden), dtype=torch.long, device=hidden.device)
    output = double.forward(input_ids=nothing, use_cache=False, return_dict=True)
    logits: Tensor = output.logits[0]
    return logits


def _with_part(base: Any, old: nn.Module, new: nn.Module) -> Any:
    """A model with another part that shares everything else with `base`, which stays as it is.

    Made anew each time, because adapters change what `base` consists of; it copies no weights.
    """
    kind = next(kind for kind in type(base).__mro__ if not issubclass(kind, FSDPModule))
    double = kind.__new__(kind)
    attributes = {name: value for name, value in vars(base).items() if name != "forward"}
    parts = base._modules.items()
    modules = {name: new if child is old else child for name, child in parts}
    vars(double).update(attributes, _modules=modules)
    return double


class _GivenStates(nn.Module):
    """In the place of a body, or of the decoder inside it; whatever else is read of it is its."""

    def __init__(self, states: Tensor, body: nn.Module) -> None:
        super().__init__()
        self.states = states
        self._body = (body,)  # not as a part of this module

    @property
    def decoder(self) -> "_GivenStates":
        """Itself: some heads call the decoder within their body."""
        return self

    def __getattr__(self, name: str) -> Any:
        return getattr(vars(self)["_body"][0], name)

    def forward(self, *_: Any, **__: Any) -> "_Output":
        return _Output(last_hidden_state=self.states)


class _Output(BaseModelOutputWithPast):  # type: ignore[misc]
    """What a body gives; of router logits, caches and all else it has none."""

    def __getattr__(self, name: str) -> None:
        if name.startswith("__"):
            raise AttributeError(name)
