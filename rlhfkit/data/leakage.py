"""Held-out data that is trained on: refused before anything is trained."""

from rlhfkit.context import Context
from rlhfkit.data.sources import keys_of, option_of
from rlhfkit.errors import UserError
from rlhfkit.types import Split

_TRAINING: tuple[Split, ...] = ("demonstrations", "prompts", "rankings")


def refuse_leaks(context: Context) -> None:
    """`UserError` when rows to train on share a prompt or a user with the given `eval_prompts`.

    What `eval_fraction` and the stage prepare hold out needs no check: they leave such rows out.
    """
    given = option_of(context, "eval_prompts")
    if given is None:
        return
    held_out = keys_of(context, "eval_prompts")
    for split in _TRAINING:
        shared = sorted(keys_of(context, split) & held_out)
        if shared:
            kind, value = shared[0]
            raise UserError(
                f"{given} leaks into training: {option_of(context, split)} has {len(shared)} of "
                f"its prompts and users too, as the {kind} '{value[:60]}'; take them out of one of "
                f"the two"
            )
