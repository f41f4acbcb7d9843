"""The run's sampler, made ready for a model before anything depends on its answers."""

from rlhfkit.context import Context
from rlhfkit.errors import UserError
from rlhfkit.models.language_model import LanguageModel
from rlhfkit.models.probing import name_of
from rlhfkit.protocols import Sampler

STAGES = ("sample", "rl", "evaluate")
"""The stages that sample, besides those that choose an epoch by its answers."""


def sampler_for(context: Context, model: LanguageModel) -> Sampler:
    """The run's sampler, or the one that it leaves the model to after looking at it.

    Raises `UserError` where the model cannot be sampled from, or its longest answers would have
    more tokens than it has positions. A plan has no numbers to look at.
    """
    sampler = context.build("sampler")
    if context.dry_run:
        return sampler
    prompt = context.config.model.max_prompt_length
    response = getattr(context.config.sampler, "response_length", 0)
    limit = model.positions
    if limit is not None and prompt + response > limit:
        advice = f"; try model.max_prompt_length={limit - response}" if response < limit else ""
        raise UserError(
            f"model.max_prompt_length={prompt} and sampler.response_length={response} make "
            f"{prompt + response} tokens, but {name_of(model)} has {limit} positions{advice}"
        )
    return fitted(sampler, model)


def fitted(sampler: Sampler, model: LanguageModel) -> Sampler:
    """What samples from this model: the sampler, or the one that it leaves the model to."""
    found: Sampler = sampler.for_model(model) if hasattr(sampler, "for_model") else sampler
    return found


def release(sampler: Sampler) -> None:
    """Free what a sampler keeps from call to call, before a stage does other things for long. One
    that keeps something has `release`."""
    if hasattr(sampler, "release"):
        sampler.release()


def check_sampling(context: Context, model: LanguageModel) -> None:
    """Before training: that the stages to come will be able to sample from this model."""
    if any(stage in STAGES for stage in context.config.stages):
        sampler_for(context, model)
