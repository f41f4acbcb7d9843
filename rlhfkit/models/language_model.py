"""A causal language model: hidden states, log-probabilities of responses, saving.

It may be one adapter of several on a shared base; every call first makes its own adapter the
active one. Run `backward` before another role on the same base is called: gradient checkpointing
computes the forward pass again with whatever adapter is then active.
"""

from collections.abc import Sequence
from contextlib import AbstractContextManager, nullcontext
from functools import partial
from pathlib import Path
from typing import Any

import torch
from peft import PeftModel
from torch import Tensor, nn

from rlhfkit.distributed.fsdp import as_forward_pass, unsharded, weights_to_save
from rlhfkit.distributed.processes import is_main
from rlhfkit.errors import UserError
from rlhfkit.models.batch import TokenBatch, make_batch
from rlhfkit.models.checkpointing import checkpoint_layers
from rlhfkit.models.dropout import drop_residuals
from rlhfkit.models.lower_layers import LowerRows, LowerStates, resumed, stopped
from rlhfkit.models.offload import IdleOffload
from rlhfkit.models.own_head import body_of, own_logits
from rlhfkit.models.positions import position_limit
from rlhfkit.models.shared_prompt import attention_masks, right_padded_mask, worth_sharing
from rlhfkit.rl.logprobs import chunked_head_logprobs, chunked_token_logprobs, head_logits

CHUNK_LOGITS = 24 * 2**20
"""How many logits leave the LM head at once: 96 MiB in float32, and as much for each of the two or
three tensors made of them; 512 positions with 49,152 tokens, 96 with 262,144."""


class LanguageModel:
    """A transformers causal model, or one adapter of a PEFT model around it."""

    own_head = False
    """Whether logits are made by the model's own code, because they are more than the product with
    the head's weight and a soft cap: `rlhfkit.models.verification` finds out."""

    merged_from: str | None = None
    """The stored adapter that was added into its base for good: a server that has the base takes it
    from there."""

    def __init__(
        self,
        model: Any,
        adapter: str | None = None,
        compute_dtype: torch.dtype | None = None,
        *,
        share_prompts: bool = True,
    ) -> None:
        """compute_dtype: of matrix products, where it is not the weights' own (autocast).
        share_prompts: whether a prompt is computed once for all of its completions in a batch."""
        self.model = model
        self.module: nn.Module = model
        """What is sharded and gathered together: a scalar model's head too."""
        self.compute_dtype = compute_dtype
        self.adapter = adapter
        self.share_prompts = share_prompts
        self.offload: IdleOffload | None = None
        """Shared with the models that leave the device for this one and the reverse."""
        self._frozen = not any(parameter.requires_grad for parameter in model.parameters())
        self.base = model.get_base_model() if isinstance(model, PeftModel) else model
        self.body = body_of(self.base)
        self.head: nn.Linear = self.base.get_output_embeddings()
        text_config = self.base.config.get_text_config()
        self.hidden_size: int = text_config.hidden_size
        self.positions = position_limit(self.base, self.body)
        """Longest sequence the model can read; None where it has no such end."""
        self.logit_softcap: float | None = getattr(text_config, "final_logit_softcapping", None)
        self.own_head = not isinstance(self.head, nn.Linear)

    @property
    def device(self) -> torch.device:
        """Where inputs must be."""
        if self.offload is not None:
            return self.offload.device
        return self.head.weight.device

    def activate(self) -> None:
        """Make this model the one to compute with: its adapter, its place on the device."""
        if self.offload is not None:
            self.offload.make_room(self.model, self._frozen)
        if self.adapter is not None and self.model.active_adapter != self.adapter:
            self.model.set_adapter(self.adapter)

    def autocast(self) -> AbstractContextManager[None]:
        """Mixed precision; every forward pass of this model runs under it."""
        if self.compute_dtype is None:  # its weights' own, or what a trainer has chosen around it
            return nullcontext()
        return torch.autocast(self.device.type, self.compute_dtype)

    def kept_casts(self) -> AbstractContextManager[None]:
        """Passes in here cast an adapter's weights once for all of them; the weights must not
        change meanwhile. Autocast forgets its casts where the outermost block ends, even one that
        is off. Full models are not kept twice so long."""
        if self.compute_dtype is None or self.adapter is None:
            return nullcontext()
        return torch.autocast(self.device.type, enabled=False)

    def checkpoint_activations(self, *, offload: bool = False) -> None:
        """Trade time for memory wherever gradients are taken. offload: what is still kept waits in
        main memory."""
        checkpoint_layers(self.body, offload=offload)

    def drop_residuals(self, rate: float) -> None:
        """Residual dropout in train mode; 0 leaves the model as it is."""
        if rate:
            drop_residuals(self.body, rate)

    def require_positions(self, length: int, what: str) -> None:
        """`UserError` for tokens beyond the model's last position, which would be an index out of
        range, and on a GPU the end of the process."""
        if self.positions is not None and length > self.positions:
            raise UserError(
                f"{what} has {length} tokens, but {self.base.name_or_path} has {self.positions} "
                f"positions: lower model.max_prompt_length and the longest completion's option"
            )

    def hidden_states(
        self,
        input_ids: Tensor,
        attention_mask: Tensor | dict[str, Tensor] | None,
        position_ids: Tensor | None = None,
        cache: Any = None,
        lower: LowerStates | None = None,
    ) -> Tensor:
        """[B, L, D] final hidden states (after the last norm) of `input_ids` [B, L].

        attention_mask: [B, L], or [B, cached + L] with a cache, which is extended in place; None
        without padding; or masks as attention takes them.
        lower: where the lower layers have been computed before.
        """
        self.require_positions(input_ids.shape[1], "a sequence")
        self.activate()
        given = {
            "attention_mask": attention_mask,
            "position_ids": position_ids,
            "past_key_values": cache,
        }
        given = {name: value for name, value in given.items() if value is not None}
        with self.autocast(), resumed(self.body, lower):
            output = self.body(input_ids=input_ids, use_cache=cache is not None, **given)
        hidden: Tensor = output.last_hidden_state
        return hidden

    def batch(
        self,
        prompts: Sequence[Sequence[int]],
        responses: Sequence[Sequence[int]],
        lower: LowerRows | None = None,
    ) -> TokenBatch:
        """Token ids for this model to compute with; equal prompts that stand next to each other
        share a row, where that is less work."""
        share = self.share_prompts and worth_sharing(self.body, prompts, responses)
        return make_batch(prompts, responses, self.device, lower, share_prompts=share)

    def states(self, batch: TokenBatch) -> Tensor:
        """[R, L, D] final hidden states of a batch."""
        if batch.shared is None:
            mask = right_padded_mask(batch.attention_mask, self.body)
            return self.hidden_states(batch.input_ids, mask, lower=batch.lower)
        masks = attention_masks(batch.shared, self.body)
        positions = batch.shared.position_ids
        return self.hidden_states(batch.input_ids, masks, positions, lower=batch.lower)

    @torch.no_grad()
    def lower_states(self, batch: TokenBatch, depth: int) -> Tensor:
        """[R, L, D] hidden states of a batch after so many layers."""
        self.activate()  # while all layers are in their places
        with stopped(self.body, depth) as found:
            self.states(batch)
        return found.states

    def logits(self, hidden: Tensor) -> Tensor:
        """[N, V] float32 logits of hidden states [N, D]."""
        with self.autocast():
            if self.own_head:
                return own_logits(self.base, hidden).float()
            logits = head_logits(hidden, self.head.weight, self.head.bias).float()
        if self.logit_softcap is not None:
            logits = self.logit_softcap * torch.tanh(logits / self.logit_softcap)
        return logits

    def response_logprobs(
        self, batch: TokenBatch, temperature: float = 1.0, entropy_gradient: bool = False
    ) -> tuple[Tensor, Tensor]:
        """[N, T] log-probabilities of the response tokens and [N, T] entropies, 0 off the mask.

        The LM head runs on response positions only, in chunks.
        """

        def compute() -> tuple[Tensor, Tensor]:
            states = batch.before_tokens(self.states(batch)).flatten(0, 1)[batch.token_index]
            ids = batch.response_ids.flatten()[batch.token_index]
            return self.token_logprobs(states, ids, temperature, entropy_gradient)

        logprobs, entropy = as_forward_pass(self.module, compute)
        return _scatter(logprobs, batch), _scatter(entropy, batch)

    def token_logprobs(
        self,
        states: Tensor,
        ids: Tensor,
        temperature: float = 1.0,
        entropy_gradient: bool = False,
    ) -> tuple[Tensor, Tensor]:
        """[N] log-probabilities of tokens and [N] entropies, from the states [N, D] before them."""
        chunk_size = max(1, CHUNK_LOGITS // len(self.head.weight))
        with self.autocast():
            if self.own_head:
                head = partial(own_logits, self.base)
                return chunked_head_logprobs(
                    head, states, ids, temperature, chunk_size, entropy_gradient
                )
            return chunked_token_logprobs(
                states,
                self.head.weight,
                self.head.bias,
                ids,
                temperature,
                chunk_size,
                self.logit_softcap,
                entropy_gradient,
            )

    def trainable_parameters(self) -> list[nn.Parameter]:
        """The parameters an optimizer is to change: the adapter's, or all of them."""
        self.activate()
        return [parameter for parameter in self.model.parameters() if parameter.requires_grad]

    def save(self, path: Path) -> None:
        """Write the adapter, or the whole model, as PEFT and transformers do; one process does."""
        with unsharded(self.module):
            if is_main():
                self._write(path)

    def _write(self, path: Path) -> None:
        weights = weights_to_save(self.model)
        if self.adapter is None:
            self.model.save_pretrained(path, **weights)
            return
        self.activate()
        config = self.model.peft_config[self.adapter]
        if isinstance(config.target_modules, set):  # in another order in every process
            config.target_modules = sorted(config.target_modules)
        # embeddings are never trained; told so, PEFT does not ask the hub about them
        self.model.save_pretrained(
            path, selected_adapters=[self.adapter], save_embedding_layers=False, **weights
        )
        _flatten_adapter_folder(path, self.adapter)


def _scatter(values: Tensor, batch: TokenBatch) -> Tensor:
    full = values.new_zeros(batch.response_mask.shape)
    return full.masked_scatter(batch.response_mask, values)


def _flatten_adapter_folder(path: Path, adapter: str) -> None:
    """PEFT puts adapters not called `default` in a folder of their own; readers expect `path`."""
    folder = path / adapter
    if folder.is_dir():
        for file in folder.iterdir():
            file.replace(path / file.name)
        folder.rmdir()
