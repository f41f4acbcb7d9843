"""Every evaluator keeps to the contract."""

import pytest

from rlhfkit.testing import EvaluatorContract, tiny

COMPONENTS = ("win_rate", "policy_statistics", "pretraining_loss", "best_of_n")


class TestEvaluator(EvaluatorContract):
    @pytest.fixture(autouse=True, params=COMPONENTS)
    def _chosen(self, request, make_context, tiny_overrides, tmp_path):
        self.name = request.param
        texts = tmp_path / "texts.jsonl"
        texts.write_text("".join(f'{{"text": "what is {word}"}}\n' for word in tiny.WORDS))
        kept = [option for option in tiny_overrides if not option.startswith("evaluator.")]
        self.context = make_context(
            *kept, f"evaluator=[{self.name}]", f"evaluator.{self.name}.resamples=50",
            "reward=[length]", "stage.evaluate.num_completions=2", "pretraining_eval_fraction=0.5",
            f"data.files.pretraining={texts}",
        )  # fmt: skip

    def make(self):
        return self.context.build_all("evaluator")[self.name]

    def samples(self):
        every = super().samples()
        return {"sft": every["sft"]} if self.name == "pretraining_loss" else every
