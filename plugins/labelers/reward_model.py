"""labeler=reward_model: a reward model ranks in place of people (Gao et al. 2022)."""

from collections.abc import Sequence

from rlhfkit.context import Context
from rlhfkit.online.scoring import finite_numbers
from rlhfkit.types import Judgement, Messages
from rlhfkit_plugins.labelers import RewardModelLabelerConfig
from rlhfkit_plugins.labelers.ranking import ranks_of
from rlhfkit_plugins.rewards.reward_model import load_reward


class RewardModelLabeler:
    """Ranks by score; what the policy is trained on should be another model."""

    def __init__(self, config: RewardModelLabelerConfig, context: Context) -> None:
        self._name = f"reward-model:{config.path}"
        self._tie_margin = config.tie_margin
        trust = config.trust_remote_code
        self._reward = load_reward(context, config.path, config.batch_size, trust)

    def rank(
        self, prompts: Sequence[Messages], completions: Sequence[Sequence[str]]
    ) -> list[list[Judgement]]:
        """One judgement per prompt. Completions are scored as finished ones."""
        # each text once, so that equal completions get equal scores whatever batch they are in
        distinct = [list(dict.fromkeys(texts)) for texts in completions]
        asked = [prompt for prompt, texts in zip(prompts, distinct, strict=True) for _ in texts]
        scores = iter(self.score(asked, [text for texts in distinct for text in texts]))
        found = [{text: next(scores) for text in texts} for texts in distinct]
        return [
            [self._judgement([score[text] for text in texts])]
            for score, texts in zip(found, completions, strict=True)
        ]

    def score(self, prompts: Sequence[Messages], completions: Sequence[str]) -> list[float]:
        """The reward model's score of each completion, as finished ones."""
        scores = self._reward(list(prompts), list(completions))
        return finite_numbers(self._name, scores, len(completions))

    def _judgement(self, scores: list[float]) -> Judgement:
        return Judgement(ranks_of(scores, self._tie_margin), self._name)
