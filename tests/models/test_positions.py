"""Models that have a last position, and what is longer than that."""

import pytest

from rlhfkit.errors import UserError
from rlhfkit.models.language_model import LanguageModel
from rlhfkit.models.sampling import sampler_for
from tests.models import tiny_architectures


@pytest.mark.parametrize(
    ("name", "limit"),
    [("gpt2", 512), ("opt", 512), ("gptj", 512), ("llama", None), ("bloom", None), ("mpt", 2048)],
)
def test_the_limit_is_that_of_the_table(name, limit):
    assert LanguageModel(tiny_architectures.model(name)).positions == limit


def test_answers_that_would_not_fit_are_refused_before_they_are_drawn(make_context):
    model = LanguageModel(tiny_architectures.model("gpt2"))
    with pytest.raises(UserError, match=r"513 tokens.* 512 positions.*max_prompt_length=502"):
        sampler_for(context_of(make_context, 503), model)
    sampler_for(context_of(make_context, 502), model)


def context_of(make_context, prompt):
    return make_context(
        "model.path=x", f"model.max_prompt_length={prompt}", "sampler.response_length=10"
    )


def test_a_sequence_that_is_too_long_is_one_line():
    model = LanguageModel(tiny_architectures.model("gpt2"))
    with pytest.raises(UserError, match=r"a sequence has 513 tokens, but .* has 512 positions"):
        model.states(model.batch([[5] * 500], [[6] * 13]))
