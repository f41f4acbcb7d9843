"""What the core relies on in a sampler."""

from abc import ABC, abstractmethod
from collections.abc import Sequence

import pytest
import torch
from scipy import stats
from transformers import GenerationConfig, LlamaForCausalLM

from rlhfkit.models.batch import make_batch
from rlhfkit.models.language_model import LanguageModel
from rlhfkit.protocols import Sampler
from rlhfkit.testing import tiny
from rlhfkit.types import Ends, Response

ENDS = Ends((2, 7))
LIMIT = 12
PROMPTS = [[5, 6, 7], [8], [9, 10, 11, 12, 13], [5, 6], [5, 6, 7]]


class SamplerContract(ABC):
    """What the core relies on in a `Sampler`."""

    @abstractmethod
    def make(self, temperature: float, response_length: int) -> Sampler:
        """A sampler of at most so many tokens a response, its end included."""

    @pytest.fixture
    def model(self) -> LanguageModel:
        """What is sampled from: random weights, 64 tokens."""
        return LanguageModel(LlamaForCausalLM(tiny.config()).eval().requires_grad_(False))

    def sample(
        self,
        model: LanguageModel,
        prompts: Sequence[Sequence[int]] = PROMPTS,
        seed: int = 0,
        temperature: float = 1.0,
        limit: int = LIMIT,
    ) -> list[Response]:
        """Responses of a new sampler, with a new generator."""
        generator = torch.Generator(model.device).manual_seed(seed)
        return self.make(temperature, limit).sample(model, prompts, ENDS, generator)

    def test_a_response_ends_at_its_first_end_or_at_the_limit(self, model: LanguageModel) -> None:
        prompts = [list(prompt) for prompt in PROMPTS * 20]
        responses = self.sample(model, prompts)
        assert prompts == PROMPTS * 20, "the prompts must stay as they are"
        assert len(responses) == len(prompts)
        for response in responses:
            assert 1 <= len(response.ids) == len(response.logprobs) <= LIMIT
            assert not {*ENDS.ids} & {*response.ids[:-1]}
            assert response.ended == (response.ids[-1] in ENDS.ids)
            assert response.ended or len(response.ids) == LIMIT
        assert {response.ended for response in responses} == {True, False}

    @pytest.mark.parametrize("temperature", [1.0, 0.7])
    def test_logprobs_are_those_of_a_teacher_forced_pass(
        self, model: LanguageModel, temperature: float
    ) -> None:
        """Each under its own prompt, so the order is the prompts' too."""
        assert self.make(temperature, LIMIT).temperature == temperature
        responses = self.sample(model, temperature=temperature)
        batch = make_batch(PROMPTS, [response.ids for response in responses], model.device)
        with torch.no_grad():
            expected, _ = model.response_logprobs(batch, temperature)
        for response, row in zip(responses, expected.tolist(), strict=True):
            assert response.logprobs == pytest.approx(row[: len(response.ids)], abs=1e-4)

    def test_draws_depend_on_the_generator_alone(self, model: LanguageModel) -> None:
        generator = torch.Generator(model.device).manual_seed(3)
        sampler = self.make(1.0, LIMIT)
        torch.manual_seed(0)
        drawn = [sampler.sample(model, PROMPTS, ENDS, generator) for _ in range(2)]
        assert drawn[1] != drawn[0], "the generator must move on"
        torch.manual_seed(1)
        assert self.sample(model, seed=3) == drawn[0]

    def test_tokens_follow_the_models_distribution(self, model: LanguageModel) -> None:
        """At temperature 1 nothing is cut off: no top-k, no top-p, no penalty of the model's."""
        count, prompt = 2000, PROMPTS[0]
        model.base.generation_config = GenerationConfig(
            repetition_penalty=3.0, top_k=1, min_p=0.5, no_repeat_ngram_size=2
        )
        drawn = self.sample(model, [prompt] * count, limit=1)
        batch = make_batch([prompt], [[0]], model.device)
        with torch.no_grad():
            logits = model.logits(batch.before_tokens(model.states(batch))[0])[0]
        probabilities = torch.softmax(logits.double(), -1).cpu()
        counts = torch.tensor([response.ids[0] for response in drawn]).bincount(
            minlength=len(probabilities)
        )
        usual = probabilities * count >= 5  # the others count together
        observed = [*counts[usual].tolist(), int(counts[~usual].sum())]
        expected = [*(count * probabilities[usual]).tolist()]
        expected.append(count - sum(expected))
        assert stats.chisquare(observed, expected).pvalue > 1e-4

    def test_the_model_stays_as_it_is(self, model: LanguageModel) -> None:
        before = {name: value.clone() for name, value in model.model.state_dict().items()}
        settings = model.base.generation_config
        self.sample(model)
        after = model.model.state_dict()
        assert all(torch.equal(after[name], value) for name, value in before.items())
        assert model.base.generation_config is settings

    def test_no_prompts_no_responses(self, model: LanguageModel) -> None:
        assert self.sample(model, []) == []
