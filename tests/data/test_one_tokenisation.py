"""Every stage reads the same tokens of prompts and completions, whatever the tokenizer adds."""

import json
from dataclasses import dataclass

import pytest
import torch

from rlhfkit.data.text_format import load_text_format
from rlhfkit.runner.runner import Runner
from rlhfkit.stages import reward_model, sft
from rlhfkit.testing import tiny
from rlhfkit.types import Messages, Ranking
from rlhfkit_plugins.optimizers import dpo, trl_online
from tests import byte_tokenizer
from tests.byte_tokenizer import ids

TEMPLATES = {
    "plain": None,
    "chat": "{% for m in messages %}<{{ m.role }}>{{ m.content }}<eot>{% endfor %}"
    "{% if add_generation_prompt %}<assistant>{% endif %}",
    "chat with BOS": "{{ bos_token }}{% for m in messages %}<{{ m.role }}>{{ m.content }}<eos>"
    "{% endfor %}{% if add_generation_prompt %}<assistant>{% endif %}",
}


@dataclass(frozen=True)
class Case:
    """A tokenizer, and how a prompt and a completion that ended begin and end with it."""

    template: str
    bos: bool
    eos: bool

    @property
    def prompt(self) -> list[int]:
        texts = {
            "plain": "<bos>" * self.bos + "What is red?",
            "chat": "<user>What is red?<eot><assistant>",
            "chat with BOS": "<bos><user>What is red?<eos><assistant>",
        }
        return ids(texts[self.template])

    def completion(self, text: str) -> list[int]:
        return ids(" " * (self.template == "plain") + text)

    @property
    def end(self) -> list[int]:
        return ids("<eot>" if self.template == "chat" else "<eos>")


CASES = [Case(template, bos, eos) for template in TEMPLATES for bos in (0, 1) for eos in (0, 1)]
PROMPT: Messages = [{"role": "user", "content": "What is red?"}]
FILES = {
    "demonstrations": [{"prompt": PROMPT, "completion": "A colour."}],
    "prompts": [{"prompt": PROMPT}],
    "rankings": [
        {
            "prompt": PROMPT,
            "completions": ["A colour.", "A cut he", "red<eos>\n"],
            "ranks": [1, 2, 3],
            "finished": [True, False, True],
        }
    ],
}


def expected(case: Case) -> list[list[int]]:
    """The completions of the ranking: ended, cut, with an end of its own."""
    return [
        case.completion("A colour.") + case.end,
        case.completion("A cut he"),
        case.completion("red") + case.end,
    ]


@pytest.fixture
def overrides(tmp_path):
    """`overrides(case)`: the settings of a run with this tokenizer and these files."""

    def make(case: Case) -> list[str]:
        tiny.LlamaForCausalLM(
            tiny.config(vocab_size=byte_tokenizer.SIZE, max_position_embeddings=512)
        ).save_pretrained(tmp_path / "base")
        template = TEMPLATES[case.template]
        byte_tokenizer.write(tmp_path / "base", template=template, bos=case.bos, eos=case.eos)
        for split, rows in FILES.items():
            lines = "".join(json.dumps(row) + "\n" for row in rows)
            (tmp_path / f"{split}.jsonl").write_text(lines)
        files = [f"data.files.{split}={tmp_path / split}.jsonl" for split in FILES]
        chat = f"model.chat={template is not None}"
        return ["data=[files]", f"model.path={tmp_path / 'base'}", chat, *files]

    return make


@pytest.mark.parametrize("case", CASES, ids=str)
def test_the_first_rows_of_every_stage(case, overrides, make_context):
    context = make_context(*overrides(case), "reward=[length]", stage="sft")
    text = load_text_format(context)
    assert text.prompt_ids(PROMPT) == case.prompt, "sample, rl and evaluate"

    (row,), _ = sft._split(context, context.config.stage.sft, text)
    assert row.tokens["input_ids"] == case.prompt + expected(case)[0]
    assert row.tokens["completion_mask"] == [0] * len(case.prompt) + [1] * len(expected(case)[0])

    ranking = Ranking(**FILES["rankings"][0])
    element = reward_model._elements(context, text, [ranking])[0]
    assert (element["prompt"], element["completions"]) == (case.prompt, expected(case))

    first = dpo._ordered(case.prompt, text, ranking)[0]
    found = [first[name] for name in ("prompt_ids", "chosen_ids", "rejected_ids")]
    assert found == [case.prompt, *expected(case)[:2]]

    rewards = trl_online.Rewards(context, text, [PROMPT])
    assert rewards.dataset()[0] == {"prompt": case.prompt, "place": 0}


WORST = Case("plain", bos=True, eos=True)
RUN = [
    "stages=[label,rl]", "labeler=imported", "reward=[length]", "loader=full",
    "sampler.response_length=4", "stage.rl.batch_size=4", "stage.rl.total_episodes=4",
    "stage.rl.micro_batch_size=4", "run_name=one",
]  # fmt: skip


@pytest.fixture
def run(overrides, make_raw, plugins):
    return lambda case, *more: Runner(make_raw(*overrides(case), *RUN, *more), plugins).run()


@pytest.mark.parametrize("case", [WORST, Case("chat with BOS", bos=True, eos=True)], ids=str)
def test_what_dpo_computes_with(case, run, monkeypatch):
    seen = []
    loss = dpo._Trainer.compute_loss

    def spy(trainer, model, inputs, *rest, **options):
        seen.append(inputs["input_ids"].clone())
        return loss(trainer, model, inputs, *rest, **options)

    monkeypatch.setattr(dpo._Trainer, "compute_loss", spy)
    run(case, "optimizer=dpo", "optimizer.per_device_train_batch_size=3")
    rows = {tuple(row[row != 1].tolist()) for row in seen[0]}
    assert rows == {tuple(case.prompt + completion) for completion in expected(case)}


@pytest.mark.parametrize("optimizer", ["trl_grpo", "trl_rloo"])
@pytest.mark.parametrize("case", [WORST, Case("chat", bos=True, eos=True)], ids=str)
def test_what_trl_samples_from_and_where_it_ends(case, run, monkeypatch, optimizer):
    seen, drawn = [], []
    generate = tiny.LlamaForCausalLM.generate

    def spy(model, input_ids, generation_config, **options):
        seen.append((input_ids, generation_config.eos_token_id))
        return generate(model, input_ids, generation_config=generation_config, **options)

    def scores(rewards, completion_ids, **_):
        drawn.extend(completion_ids)
        rewards.metrics["objective/scores"] = 0.0
        return [0.0] * len(completion_ids)

    monkeypatch.setattr(tiny.LlamaForCausalLM, "generate", spy)
    monkeypatch.setattr(trl_online.Rewards, "scores", scores)
    letters = "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ"
    options = [f"model.stop=[{','.join(letters)}]", "sampler.response_length=32"]
    run(case, f"optimizer={optimizer}", "optimizer.num_generations=4", *options)
    (input_ids, ends), *_ = seen
    assert torch.equal(input_ids, torch.tensor([case.prompt] * 4))
    assert ends == [*dict.fromkeys([*case.end, 2])]
    stops = {*ids(letters), *ends}
    assert [any(token in stops for token in row[:-1]) for row in drawn] == [False] * 4
    assert any(row[-1] in ids(letters) for row in drawn)
