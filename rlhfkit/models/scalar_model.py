"""A model with one number per token: the reward model and the value model.

On disk it is a language model (or adapter) with `head.safetensors` beside it. The head is checked
on every load: a lost or fresh head is the classic silent failure of LoRA reward models.
"""

import hashlib
from pathlib import Path
from typing import cast

import torch
from safetensors import safe_open
from safetensors.torch import save_file
from torch import Tensor, nn

from rlhfkit.distributed.fsdp import as_forward_pass
from rlhfkit.distributed.processes import is_main
from rlhfkit.errors import UserError
from rlhfkit.models.batch import TokenBatch
from rlhfkit.models.language_model import LanguageModel
from rlhfkit.models.loading import loading

HEAD_FILE = "head.safetensors"


class ScalarModel:
    """A language model's body with a linear head of width 1 (weight [1, D], bias [1], float32)."""

    def __init__(self, language_model: LanguageModel, head: nn.Linear) -> None:
        if head.in_features != language_model.hidden_size:
            raise UserError(
                f"a head of width {head.in_features} does not fit a model of hidden size "
                f"{language_model.hidden_size}"
            )
        self.language_model = language_model
        self.head = head.to(language_model.device)
        language_model.module = BodyAndHead(language_model.model, self.head)

    def values(self, batch: TokenBatch) -> Tensor:
        """[N, T] values of the states from which each response token is chosen, 0 off the mask."""

        def compute() -> Tensor:
            hidden = self.language_model.states(batch)
            return cast(Tensor, self.head(batch.before_tokens(hidden).float()).squeeze(-1))

        values = as_forward_pass(self.language_model.module, compute)
        return torch.where(batch.response_mask, values, values.new_zeros(()))

    def scores(self, batch: TokenBatch) -> Tensor:
        """[N] the number at the last token of each response."""
        hidden = self.language_model.states(batch)
        scores: Tensor = self.head(batch.at_end(hidden).float()).squeeze(-1)
        return scores

    def trainable_parameters(self) -> list[nn.Parameter]:
        """The adapter's or the body's parameters, and the head's."""
        return [*self.language_model.trainable_parameters(), *self.head.parameters()]

    def shift(self, offset: float) -> None:
        """Add a constant to every score."""
        with torch.no_grad():
            self.head.bias.add_(offset)

    def save(self, path: Path) -> None:
        """Write the body and the head; one process does."""
        self.language_model.save(path)
        if not is_main():
            return
        # copies: `unsharded` frees what it has gathered
        state = {name: value.detach().cpu().clone() for name, value in self.head.named_parameters()}
        save_file(state, path / HEAD_FILE, metadata={"sha256": _digest(state)})


class BodyAndHead(nn.Module):
    """All weights of a scalar model as one module; it has no forward pass of its own."""

    def __init__(self, body: nn.Module, head: nn.Linear) -> None:
        super().__init__()
        self.body, self.head = body, head


def fresh_head(hidden_size: int) -> nn.Linear:
    """Weights from N(0, 1 / (D + 1)), bias 0 (Stiennon et al. 2020, appendix B.1)."""
    head = nn.Linear(hidden_size, 1)
    nn.init.normal_(head.weight, std=(hidden_size + 1) ** -0.5)
    nn.init.zeros_(head.bias)
    return head


def load_head(path: Path, hidden_size: int | None = None) -> nn.Linear:
    """The head that `ScalarModel.save` wrote; `UserError` when it is missing, altered or of
    another width than the model's."""
    file = path / HEAD_FILE
    if not file.exists():
        raise UserError(f"{path}: no {HEAD_FILE}, so this is no reward model written by rlhfkit")
    with loading(f"{file}: the head"), safe_open(str(file), framework="pt") as stored:
        state = {name: stored.get_tensor(name) for name in ("weight", "bias")}
        digest = (stored.metadata() or {}).get("sha256")
    if digest != _digest(state):
        raise UserError(f"{file}: the head is not the one that was saved (digest differs)")
    width = state["weight"].shape[1]
    if hidden_size is not None and width != hidden_size:
        raise UserError(
            f"{file}: head of width {width}, but the model's hidden size is {hidden_size}"
        )
    head = nn.Linear(width, 1)
    head.load_state_dict(state)
    return head


def _digest(state: dict[str, Tensor]) -> str:
    content = b"".join(state[name].float().numpy().tobytes() for name in sorted(state))
    return hashlib.sha256(content).hexdigest()
