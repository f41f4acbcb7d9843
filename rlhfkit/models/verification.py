"""That a model computes here what it computes in transformers, on a few tokens, whenever it is
loaded: with its adapter, its quantisation and its precision, before anything is trained."""

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import torch
from torch import Tensor, nn

from rlhfkit.context import Context
from rlhfkit.errors import UserError
from rlhfkit.models.batch import make_batch
from rlhfkit.models.language_model import LanguageModel
from rlhfkit.models.lower_layers import LowerStates, depth_below_adapters
from rlhfkit.models.probing import Fails, attempted, kind_of, name_of, probe_rows, same, undisturbed


def verified(context: Context, model: LanguageModel) -> LanguageModel:
    """The model itself; its own code makes the logits where the head's weight alone does not.

    Raises `UserError` where its log-probabilities are not those of transformers' forward pass, or
    depend on tokens that come later. A plan has no numbers to compare.
    """
    if context.dry_run is None:
        with undisturbed(model), _or_refused(model):
            _verify(model)
    return model


def shared_depth(context: Context, model: LanguageModel) -> int:
    """How many lower layers can be computed once for all roles; 0 for a model whose layers take
    more than the states."""
    depth = depth_below_adapters(model.body)
    if depth == 0 or context.dry_run:
        return depth
    with undisturbed(model):
        (row,) = probe_rows(model, (6,))
        batch = make_batch([row[:1]], [row[1:]], model.device)
        whole = model.states(batch)[0]
        try:
            with attempted():
                lower = LowerStates(model.lower_states(batch, depth), depth)
                again = model.hidden_states(batch.input_ids, batch.attention_mask, lower=lower)[0]
        except Fails:
            return 0
        return depth if same(model, model.logits(again), model.logits(whole)) else 0


def _verify(model: LanguageModel) -> None:
    rows = probe_rows(model, (6, 3))
    # 1. transformers' own pass, which must not look ahead
    states, logits = zip(*[_by_transformers(model, row) for row in rows], strict=True)
    if not same(model, logits[1], logits[0][: len(rows[1])]):
        raise Fails("what it says of a token depends on the tokens after it")
    # 2. the head: its weight alone, or else the model's own code
    if not same(model, model.logits(states[0]), logits[0]):
        model.own_head = True
        if not same(model, model.logits(states[0]), logits[0]):
            raise Fails("its logits are no function of each token's last hidden state")
    # 3. batches: padded rows, and rows that share a prompt
    pairs = [row[:1] for row in rows], [row[1:] for row in rows]
    for batch in (make_batch(*pairs, model.device), model.batch(*pairs)):
        found = [model.logits(item) for item in batch.sequences(model.states(batch))]
        for ours, theirs in zip(found, logits, strict=True):
            if not same(model, ours, theirs):
                raise Fails("log-probabilities differ from transformers' own")


def _by_transformers(model: LanguageModel, row: list[int]) -> tuple[Tensor, Tensor]:
    """[L, D] what a row's body gives, and [L, V] its logits."""
    seen: list[Tensor] = []

    def note(_: nn.Module, __: Any, output: Any) -> None:
        seen.append(output[0])

    # some heads call the decoder within their body
    bodies = [
        model.body,
        *(part for name, part in model.body.named_children() if name == "decoder"),
    ]
    hooks = [body.register_forward_hook(note) for body in bodies]
    model.activate()
    try:
        with model.autocast():
            ids = torch.tensor([row], device=model.device)
            logits: Tensor = model.model(input_ids=ids, use_cache=False).logits[0]
            return seen[-1][0], logits.float()
    finally:
        for hook in hooks:
            hook.remove()


@contextmanager
def _or_refused(model: LanguageModel) -> Iterator[None]:
    try:
        with attempted():
            yield
    except Fails as reason:
        raise UserError(
            f"{name_of(model)}: {kind_of(model)} cannot be trained here: {reason}; docs/models.md "
            f"lists models that can"
        ) from reason
