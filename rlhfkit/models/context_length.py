"""How long a text may get: what the configuration says, and whether the model fails beyond it."""

from dataclasses import dataclass

import torch
from torch import nn

from rlhfkit.context import Context
from rlhfkit.models.from_config import causal_lm_from_config
from rlhfkit.models.loading import load_config
from rlhfkit.models.trust import trusts

_SPARE = 8
"""Most rows that a table has beside the positions: OPT's has 2."""


@dataclass(frozen=True)
class ContextLength:
    """The longest text that the run's model was made for."""

    tokens: int

    fails_beyond: bool
    """Whether the model looks positions up in a table, as GPT-2 and OPT do; others compute them and
    only get worse."""


def exceeded_context(context: Context, length: int) -> ContextLength | None:
    """The context that a text of so many tokens is too long for; None where it fits."""
    config = load_config(context)
    limit = getattr(config.get_text_config(), "max_position_embeddings", None)
    if not isinstance(limit, int) or length <= limit:
        return None
    trusted = trusts(context, context.config.model.path)
    model = causal_lm_from_config(config, torch.float32, torch.device("meta"), None, trusted)
    tables = {
        module.num_embeddings
        for module in model.modules()
        if isinstance(module, nn.Embedding) and module is not model.get_input_embeddings()
    }
    return ContextLength(limit, any(limit <= rows <= limit + _SPARE for rows in tables))
