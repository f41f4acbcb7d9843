"""How much each token weighs in a policy loss over responses of different lengths."""

from typing import Literal

from torch import Tensor

from rlhfkit.rl.shapes import BOOL, require_axes, require_dtype, require_positive

LossType = Literal["grpo", "dapo", "dr_grpo"]


def token_weights(
    mask_BT: Tensor, loss_type: LossType, responses: int, tokens: int, length: int
) -> Tensor:
    """Give the weights w with loss = sum_t w_t loss_t, named as TRL's loss_type.

        grpo     w = 1 / (responses |o|)      mean over each response, then over responses
        dapo     w = 1 / tokens               mean over all tokens
        dr_grpo  w = 1 / (responses length)   a constant, so that no length is favoured

    DeepSeekMath, Shao et al. 2024 (arXiv 2402.03300), sec. 4.1 eq. 3; DAPO, Yu et al. 2025
    (arXiv 2503.14476), sec. 3.3 eq. 12; Dr. GRPO, Liu et al. 2025 (arXiv 2503.20783), sec. 3.

    Args:
        mask_BT: the tokens of the responses, bool; |o| of them in a row.
        loss_type: "grpo", "dapo" or "dr_grpo".
        responses: in the whole mini-batch, of which these rows may be a part.
        tokens: unmasked, in the whole mini-batch.
        length: the longest that a response may be.
    Returns:
        weights_BT, float32, 0 at masked tokens.
    Raises:
        ValueError: a wrong dtype, a count not above 0, or another loss type.
    """
    require_axes(mask_BT=mask_BT)
    require_dtype(BOOL, mask_BT=mask_BT)
    require_positive(responses=responses, tokens=tokens, length=length)
    ones_BT = mask_BT.float()
    match loss_type:
        case "grpo":
            lengths_B1 = mask_BT.sum(1, keepdim=True).clamp(min=1)
            return ones_BT / (responses * lengths_B1)
        case "dapo":
            return ones_BT / tokens
        case "dr_grpo":
            return ones_BT / (responses * length)
        case _:
            raise ValueError(f"loss_type: expected grpo, dapo or dr_grpo, got {loss_type!r}")
