"""How long a sequence a model can read at all: those with a table of positions (GPT-2, OPT, GPT-J)
fail beyond its end, those that compute them (Llama's RoPE, BLOOM's ALiBi) do not."""

from typing import Any

from torch import Tensor, nn

_SPARE = 8
"""Most rows that a table has beside the positions: OPT's has 2."""


def position_limit(base: Any, body: nn.Module) -> int | None:
    """The size of a model's table of positions; None without one."""
    config = base.config.get_text_config()
    if config.model_type == "mpt":  # makes its table anew in every pass
        return int(config.max_seq_len)
    names = ("max_position_embeddings", "max_target_positions")
    positions = next((getattr(config, name) for name in names if hasattr(config, name)), None)
    if not isinstance(positions, int):
        return None
    words = base.get_input_embeddings()
    tables: list[Tensor] = [buffer for buffer in body.buffers() if buffer.dim() == 2]
    for module in body.modules():
        if isinstance(module, nn.Embedding) and module is not words:
            tables.append(module.weight)
    lengths = {len(table) for table in tables}
    return positions if any(positions <= n <= positions + _SPARE for n in lengths) else None
