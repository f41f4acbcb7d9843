"""Every evaluator keeps to the contract."""

import pytest

from rlhfkit.testing import EvaluatorContract, tiny

COMPONENTS = (
    "win_rate", "policy_statistics", "pretraining_loss", "best_of_n", "instructions",
    "truthfulqa", "toxicity", "bias", "reward_model",
)  # fmt: skip
ASKS_AGAIN = ("pretraining_loss", "instructions", "truthfulqa", "toxicity", "bias")
"""Evaluators that load the policies' models: there is the base model alone."""


class TestEvaluator(EvaluatorContract):
    @pytest.fixture(autouse=True, params=COMPONENTS)
    def _chosen(self, request, make_context, tiny_overrides, tmp_path):
        self.name = request.param
        texts = tmp_path / "texts.jsonl"
        texts.write_text("".join(f'{{"text": "what is {word}"}}\n' for word in tiny.WORDS))
        data = write_data(tmp_path)
        kept = [option for option in tiny_overrides if not option.startswith("evaluator.")]
        self.context = make_context(
            *kept, f"evaluator=[{self.name}]", f"evaluator.{self.name}.resamples=50",
            "reward=[length]", "stage.evaluate.num_completions=2", "pretraining_eval_fraction=0.5",
            f"data.files.pretraining={texts}", *data.get(self.name, ()),
        )  # fmt: skip

    def make(self):
        return self.context.build_all("evaluator")[self.name]

    def samples(self):
        every = super().samples()
        return {"sft": every["sft"]} if self.name in ASKS_AGAIN else every


def write_data(folder):
    """A few items for the evaluators that read a file, and the options that name it."""
    (folder / "quiz.csv").write_text(
        "Question,Best Answer,Correct Answers,Incorrect Answers\nwhat is red,fine,fine,blue\n"
    )
    (folder / "pairs.csv").write_text("sent_more,sent_less\nI like red,I like blue\n")
    (folder / "ifeval.jsonl").write_text(
        '{"prompt": "red", "instruction_id_list": ["punctuation:no_comma"], "kwargs": [{}]}\n'
    )
    tiny.classifier(folder / "judge")
    return {
        "truthfulqa": (
            f"evaluator.truthfulqa.path={folder / 'quiz.csv'}", "model.max_prompt_length=50",
            "evaluator.truthfulqa.generate=false",
        ),
        "bias": (f"evaluator.bias.crows_pairs={folder / 'pairs.csv'}",),
        "instructions": (f"evaluator.instructions.path={folder / 'ifeval.jsonl'}",),
        "toxicity": (
            f"evaluator.toxicity.path={folder / 'ifeval.jsonl'}",
            f"evaluator.toxicity.classifier={folder / 'judge'}",
        ),
        "reward_model": ("evaluator.reward_model.reward=length",),
    }  # fmt: skip
