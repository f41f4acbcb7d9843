"""Log-probabilities of tokens and entropies of their distributions, in float32 or wider.

`token_logprobs` and `entropy` take logits. `chunked_token_logprobs` takes hidden states and the
language-model head instead, and never holds the logits of more than one chunk of tokens: with a
vocabulary of 150,000 the logits of a batch outweigh a small model. `chunked_head_logprobs` does so
for a head that is any function.
"""

from collections.abc import Callable
from functools import partial
from typing import Any, NamedTuple

import torch
from torch import Tensor
from torch.utils.checkpoint import checkpoint

from rlhfkit.rl.onednn import linear
from rlhfkit.rl.shapes import ANY_FLOAT, INDEX, require_axes, require_dtype, require_positive


class TokenLogprobs(NamedTuple):
    """What `chunked_token_logprobs` gives for N tokens, float32 or wider."""

    logprobs_N: Tensor
    """Log-probability of each token."""
    entropy_N: Tensor
    """Entropy, in nats, of the distribution each token comes from; without gradients unless asked
    for."""


def token_logprobs(logits_BTV: Tensor, ids_BT: Tensor, temperature: float = 1.0) -> Tensor:
    """Give the log-probability of each token under a policy sampled at a temperature.

        logprob_t = log softmax(logits_t / temperature)[id_t]

    log pi(y|x) of InstructGPT, Ouyang et al. 2022 (arXiv 2203.02155), sec. 3.5 eq. 2, by token.

    Args:
        logits_BTV: any floating dtype; position t predicts token t.
        ids_BT: the tokens, int64.
        temperature: that of the sampler.
    Returns:
        logprobs_BT, float32, or float64 for float64 logits.
    Raises:
        ValueError: shapes disagree, a wrong dtype, or temperature not above 0.
    """
    require_axes(logits_BTV=logits_BTV, ids_BT=ids_BT)
    require_dtype(ANY_FLOAT, logits_BTV=logits_BTV)
    require_dtype(INDEX, ids_BT=ids_BT)
    require_positive(temperature=temperature)
    return _pick(_log_softmax(logits_BTV, temperature), ids_BT)


def entropy(logits_BTV: Tensor) -> Tensor:
    """Give the entropy of each token's distribution, in nats.

        H_t = - sum_v p_v log p_v,   p = softmax(logits_t)

    The metric `policy/entropy_avg` and the bonus S of PPO, Schulman et al. 2017
    (arXiv 1707.06347), sec. 5 eq. 9.

    Args:
        logits_BTV: any floating dtype; a logit of -inf counts 0.
    Returns:
        entropy_BT, float32, or float64 for float64 logits.
    Raises:
        ValueError: wrong shape or dtype.
    """
    require_axes(logits_BTV=logits_BTV)
    require_dtype(ANY_FLOAT, logits_BTV=logits_BTV)
    return _entropy(_log_softmax(logits_BTV, temperature=1.0))


def chunked_token_logprobs(
    hidden_ND: Tensor,
    weight_VD: Tensor,
    bias_V: Tensor | None,
    ids_N: Tensor,
    temperature: float,
    chunk_size: int,
    logit_softcap: float | None = None,
    entropy_gradient: bool = False,
) -> TokenLogprobs:
    """Apply the language-model head chunk by chunk; give log-probabilities and entropies.

        logits = hidden weight^T + bias;   logits <- softcap tanh(logits / softcap)
        logprob_n = log softmax(logits_n / temperature)[id_n]

    Equal to `token_logprobs`, gradients included, and to `entropy` of the full logits. Where the
    head is trained, each chunk is checkpointed (Chen et al. 2016, arXiv 1604.06174): its logits
    are computed again in the backward pass. A frozen head, as with adapters, takes no second
    pass: the gradient of each log-probability by its state is kept instead of the state. The
    softcap is that of Gemma 2 (arXiv 2408.00118), sec. 2.

    Args:
        hidden_ND: last hidden states, any floating dtype; row n predicts token n.
        weight_VD: weight of the head, applied in its own dtype or autocast's; the rest is float32
            or wider, on CUDA from the sums of the product on.
        bias_V: bias of the head, or None.
        ids_N: the tokens, int64.
        temperature: that of the sampler; it divides the logits and so shapes the entropy too.
        chunk_size: tokens per chunk.
        logit_softcap: bound on the size of a logit, or None.
        entropy_gradient: True where a loss has the entropy: chunks are then computed again in the
            backward pass, also those of a frozen head.
    Returns:
        TokenLogprobs(logprobs_N, entropy_N).
    Raises:
        ValueError: shapes disagree, a wrong dtype, or a number not above 0.
    """
    biases = {} if bias_V is None else {"bias_V": bias_V}
    require_axes(hidden_ND=hidden_ND, weight_VD=weight_VD, ids_N=ids_N, **biases)
    require_dtype(ANY_FLOAT, hidden_ND=hidden_ND, weight_VD=weight_VD, **biases)
    require_dtype(INDEX, ids_N=ids_N)
    require_positive(temperature=temperature, chunk_size=chunk_size)

    trained = weight_VD.requires_grad or (bias_V is not None and bias_V.requires_grad)
    weight_VD = weight_VD.to(_product_dtype(weight_VD))  # once for all chunks
    if torch.is_grad_enabled() and hidden_ND.requires_grad and not (trained or entropy_gradient):
        return TokenLogprobs(
            *_FrozenHead.apply(  # type: ignore[no-untyped-call]
                hidden_ND, weight_VD, bias_V, ids_N, temperature, chunk_size, logit_softcap
            )
        )

    def logits(hidden_CD: Tensor) -> Tensor:
        return _softcap(head_logits(hidden_CD, weight_VD, bias_V), logit_softcap)

    return _in_chunks(logits, hidden_ND, ids_N, temperature, chunk_size, entropy_gradient)


def chunked_head_logprobs(
    head: Callable[[Tensor], Tensor],
    hidden_ND: Tensor,
    ids_N: Tensor,
    temperature: float,
    chunk_size: int,
    entropy_gradient: bool = False,
) -> TokenLogprobs:
    """Give what `chunked_token_logprobs` gives, for a head that is more than one linear layer.

        logprob_n = log softmax(head(hidden_n) / temperature)[id_n]

    With gradients each chunk is computed again in the backward pass, also that of a frozen head.

    Args:
        head: logits [C, V] of hidden states [C, D], each row's of its own state alone.
        hidden_ND, ids_N, temperature, chunk_size, entropy_gradient: see `chunked_token_logprobs`.
    Returns:
        TokenLogprobs(logprobs_N, entropy_N).
    Raises:
        ValueError: shapes disagree, a wrong dtype, or a number not above 0.
    """
    require_axes(hidden_ND=hidden_ND, ids_N=ids_N)
    require_dtype(ANY_FLOAT, hidden_ND=hidden_ND)
    require_dtype(INDEX, ids_N=ids_N)
    require_positive(temperature=temperature, chunk_size=chunk_size)

    def logits(hidden_CD: Tensor) -> Tensor:
        return head(hidden_CD).clone()  # the head's backward pass may need its own as it was

    return _in_chunks(logits, hidden_ND, ids_N, temperature, chunk_size, entropy_gradient)


def _in_chunks(
    logits: Callable[[Tensor], Tensor],
    hidden_ND: Tensor,
    ids_N: Tensor,
    temperature: float,
    chunk_size: int,
    entropy_gradient: bool,
) -> TokenLogprobs:
    """logits: of some states, to be overwritten."""

    def chunk(hidden_CD: Tensor, ids_C: Tensor) -> tuple[Tensor, Tensor]:
        # nested, so that no name keeps the logits
        logprobs_CV = _log_softmax_(logits(hidden_CD), temperature)
        # kept for a loss that does not use it, it would outlive its chunk
        with torch.set_grad_enabled(entropy_gradient and torch.is_grad_enabled()):
            entropy_C = _entropy(logprobs_CV)
        return _pick(logprobs_CV, ids_C), entropy_C

    pairs = zip(torch.split(hidden_ND, chunk_size), torch.split(ids_N, chunk_size), strict=True)
    recomputed = partial(checkpoint, chunk, use_reentrant=False)
    run = recomputed if torch.is_grad_enabled() else chunk
    chunks = [run(*pair) for pair in pairs]
    return TokenLogprobs(*map(torch.cat, zip(*chunks, strict=True)))


def head_logits(hidden_ND: Tensor, weight_VD: Tensor, bias_V: Tensor | None) -> Tensor:
    """Give the logits of hidden states, float32 or wider.

        logits = hidden weight^T + bias

    A product in half precision sums in float32 and rounds the sums; on CUDA they are kept as they
    are. With logits of standard deviation 3, rounding to bfloat16 moves a log-probability by 0.012
    nats on average, and so every ratio and KL.

    Args:
        hidden_ND: any floating dtype.
        weight_VD: weight of the head; under autocast both are multiplied in its dtype.
        bias_V: bias of the head, or None.
    Returns:
        logits_NV.
    """
    dtype = _product_dtype(weight_VD)
    if not (hidden_ND.is_cuda and dtype in (torch.bfloat16, torch.float16)):
        return _widened(linear(hidden_ND, weight_VD, bias_V))
    logits_NV: Tensor = _WideProduct.apply(  # type: ignore[no-untyped-call]
        hidden_ND.to(dtype), weight_VD.to(dtype)
    )
    return logits_NV if bias_V is None else logits_NV + bias_V


class _WideProduct(torch.autograd.Function):
    """hidden weight^T of half precision with a float32 result, which PyTorch does not differentiate
    by itself."""

    @staticmethod
    def forward(ctx: Any, hidden_ND: Tensor, weight_VD: Tensor) -> Tensor:
        ctx.save_for_backward(hidden_ND, weight_VD)
        return torch.mm(hidden_ND, weight_VD.t(), out_dtype=torch.float32)

    @staticmethod
    def backward(ctx: Any, *grads: Tensor) -> Any:
        hidden_ND, weight_VD = ctx.saved_tensors
        grad_NV = grads[0].to(weight_VD.dtype)
        by_hidden, by_weight = ctx.needs_input_grad
        return (
            grad_NV @ weight_VD if by_hidden else None,
            grad_NV.t() @ hidden_ND if by_weight else None,
        )


def _product_dtype(weight: Tensor) -> torch.dtype:
    """What a linear layer of this weight computes in."""
    kind = weight.device.type
    return torch.get_autocast_dtype(kind) if torch.is_autocast_enabled(kind) else weight.dtype


class _FrozenHead(torch.autograd.Function):
    """The head where only the states have gradients.

    d logprob_n / d hidden_n = sum_v (1[v = id_n] - p_v) c_v weight_v / temperature,
    c_v = 1 - tanh(logit_v / softcap)^2, or 1 without softcap
    """

    @staticmethod
    def forward(
        ctx: Any,
        hidden_ND: Tensor,
        weight_VD: Tensor,
        bias_V: Tensor | None,
        ids_N: Tensor,
        temperature: float,
        chunk_size: int,
        logit_softcap: float | None,
    ) -> tuple[Tensor, Tensor]:
        def chunk(hidden_CD: Tensor, ids_C: Tensor) -> tuple[Tensor, Tensor, Tensor]:
            logits_CV = head_logits(hidden_CD, weight_VD, bias_V)
            slope_CV = _softcap_slope(logits_CV, logit_softcap)
            logprobs_CV = _log_softmax_(_softcap(logits_CV, logit_softcap), temperature)
            logprobs_C, entropy_C = _pick(logprobs_CV, ids_C), _entropy(logprobs_CV)
            by_logit_CV = logprobs_CV.exp_().neg_()
            by_logit_CV[torch.arange(len(ids_C), device=ids_C.device), ids_C] += 1
            by_logit_CV.mul_(slope_CV / temperature)
            by_state_CD = linear(by_logit_CV.to(weight_VD.dtype), weight_VD.t())
            return logprobs_C, entropy_C, by_state_CD

        pairs = zip(torch.split(hidden_ND, chunk_size), torch.split(ids_N, chunk_size), strict=True)
        chunks = [chunk(*pair) for pair in pairs]
        logprobs_N, entropy_N, by_state_ND = map(torch.cat, zip(*chunks, strict=True))
        ctx.save_for_backward(by_state_ND)
        ctx.mark_non_differentiable(entropy_N)
        return logprobs_N, entropy_N

    @staticmethod
    def backward(ctx: Any, *grads: Tensor) -> Any:
        (by_state_ND,) = ctx.saved_tensors
        return grads[0][:, None] * by_state_ND, None, None, None, None, None, None


def _softcap_slope(logits: Tensor, softcap: float | None) -> Tensor | float:
    if softcap is None:
        return 1.0
    return 1 - torch.tanh(logits / softcap).square()


def _softcap(logits: Tensor, softcap: float | None) -> Tensor:
    if softcap is None:
        return logits
    require_positive(logit_softcap=softcap)
    return softcap * torch.tanh(logits / softcap)


def _log_softmax(logits: Tensor, temperature: float) -> Tensor:
    wide = _widened(logits)
    return torch.log_softmax(wide if temperature == 1 else wide / temperature, dim=-1)


def _log_softmax_(logits: Tensor, temperature: float) -> Tensor:
    """The same, of logits that nobody else needs and that may be overwritten."""
    return torch.log_softmax(_widened(logits).div_(temperature), dim=-1)


def _widened(logits: Tensor) -> Tensor:
    return logits.to(torch.promote_types(logits.dtype, torch.float32))


def _pick(logprobs: Tensor, ids: Tensor) -> Tensor:
    return logprobs.gather(-1, ids.unsqueeze(-1)).squeeze(-1)


def _entropy(logprobs: Tensor) -> Tensor:
    lowest = torch.finfo(logprobs.dtype).min  # 0 * -inf would be NaN
    return -(logprobs.exp() * logprobs.clamp(min=lowest)).sum(dim=-1)
