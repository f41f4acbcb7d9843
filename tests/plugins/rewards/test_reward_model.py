"""reward=reward_model: every place a model may come from, against one row at a time by hand."""

from dataclasses import replace
from functools import partial
from types import SimpleNamespace

import pytest
import torch
from transformers import AutoModelForSequenceClassification, AutoTokenizer, LlamaForCausalLM

from rlhfkit.data.text_format import load_text_format
from rlhfkit.errors import UserError
from rlhfkit.models.language_model import LanguageModel
from rlhfkit.models.lower_layers import LowerRows
from rlhfkit.models.scalar_model import ScalarModel, fresh_head
from rlhfkit.testing import tiny
from rlhfkit_plugins.rewards.classifier import load_classifier

TEXTS = ["red", "the best colour is blue", "I like you and it goes on", "fine <eos>", "red and red"]
PROMPTS = [
    [{"role": "user", "content": "what is the best colour"}],
    [{"role": "user", "content": "what colour"}],
    [
        {"role": "user", "content": "I like red"},
        {"role": "assistant", "content": "fine"},
        {"role": "user", "content": "and you"},
    ],
    [{"role": "user", "content": "is it"}],
    [{"role": "user", "content": "red " * 60}],
]
COLUMNS = {
    "prompt_ids": [[3, 5, 6, 4], [3, 7, 4], [3, 8, 9, 10, 11, 4], [5], [3, 4]],
    "completion_ids": [[10, 2], [7, 8, 9, 6, 12, 2], [13], [5, 6, 2], [1, 2, 1]],
    "finished": [True, True, False, True, False],
}


@pytest.fixture
def base(tmp_path):
    """A language model with its tokenizer."""
    tiny.language_model(tmp_path / "base")
    return tmp_path / "base"


@pytest.fixture
def make(make_context, base):
    """A context on the tiny model, with the reward model as only reward."""

    def made(*overrides):
        fixed = [f"model.path={base}", "loader=full", "reward=[reward_model]"]
        return make_context(*fixed, *overrides)

    return made


@pytest.fixture
def scalar(base):
    return scalar_model(base)


def scalar_model(base, seed=0):
    torch.manual_seed(seed)
    model = LlamaForCausalLM.from_pretrained(base)
    return ScalarModel(LanguageModel(model), fresh_head(16))


def by_hand(scalar, prompt_ids, completion_ids):
    """One row at a time, without padding."""
    scores = []
    for prompt, completion in zip(prompt_ids, completion_ids, strict=True):
        body = scalar.language_model.base.model
        with torch.no_grad():
            hidden = body(torch.tensor([[*prompt, *completion]])).last_hidden_state[0, -1]
            scores.append(scalar.head(hidden).item())
    return pytest.approx(scores, abs=1e-4)


def reward_of(context):
    return context.build_all("reward")["reward_model"]


READ = [[10, 2], [7, 8, 9, 6, 12, 2], [13, 14, 15, 16, 17, 18, 19], [20, 2], [10, 16, 10]]
"""TEXTS as tokens of the tiny tokenizer, with the ends that they have."""


@pytest.mark.parametrize("batch_size", [1, 2, 16])
def test_the_model_in_memory_reads_the_texts_as_it_was_trained(make, scalar, batch_size):
    context = make(f"reward.reward_model.batch_size={batch_size}")
    assert [
        load_text_format(context).completion_ids(*pair)
        for pair in zip(TEXTS, COLUMNS["finished"], strict=True)
    ] == READ
    reward = reward_of(replace(context, roles=SimpleNamespace(reward=scalar)))
    scores = reward(PROMPTS, TEXTS, **COLUMNS)
    assert scores == by_hand(scalar, COLUMNS["prompt_ids"], READ)
    assert len(set(scores)) == 5


def test_only_the_tokens_of_the_text_share_lower_layers(make, scalar):
    """Those that were sampled with a blank at the end, or in other pieces, do not."""
    asked = []

    def score(reward, prompts, completions, lower=None):
        asked.append((completions, lower and [*lower.rows]))
        return [float(len(row)) for row in completions]

    context = make()
    reward = reward_of(replace(context, roles=SimpleNamespace(reward=scalar)))
    reward._reward = SimpleNamespace(score=partial(score, None))
    ids = [READ[0], [*READ[1][:-1], 5, 2], READ[2], READ[3], [10, 16, 11]]
    columns = COLUMNS | {"completion_ids": ids, "lower": LowerRows([*range(5)], 1)}
    assert reward(PROMPTS, TEXTS, **columns) == [2.0, 6.0, 7.0, 2.0, 3.0]
    assert asked == [
        ([READ[0], READ[2], READ[3]], [0, 2, 3]),
        ([READ[1], READ[4]], None),
    ]


def test_the_runs_own_model_is_found(make, scalar):
    context = make()
    with pytest.raises(UserError, match="let the stage 'reward_model' run first"):
        reward_of(context)
    scalar.save(context.run_dir.stage_dir("reward_model") / "model")
    for with_or_without in (context, replace(context, roles=SimpleNamespace(reward=None))):
        scores = reward_of(with_or_without)(PROMPTS, TEXTS, **COLUMNS)
        assert scores == by_hand(scalar, COLUMNS["prompt_ids"], READ)


def test_another_runs_model_reads_texts(make, scalar, tmp_path):
    scalar.save(tmp_path / "other")
    reward = reward_of(make(f"reward.reward_model.path={tmp_path / 'other'}"))
    prompt_ids, completion_ids = [[3, 5, 2, 4], [3, 6, 9, 2, 4]], [[10, 2], [6]]
    prompts = [[{"role": "user", "content": content}] for content in ("what", "is colour")]
    scores = reward(prompts, ["red", "is"], finished=[True, False], prompt_ids=[[0], [0]])
    assert scores == by_hand(scalar, prompt_ids, completion_ids)
    assert reward(prompts, ["red", ""]) == by_hand(scalar, prompt_ids, [[10, 2], [2]])
    assert reward(prompts, ["red", ""], finished=[True, False]) == reward(prompts, ["red", ""])


def test_another_runs_model_keeps_its_tokenizer(make, scalar, tmp_path):
    scalar.save(tmp_path / "other")
    tiny.tokenizer(tmp_path / "other", chat=False, words=tiny.WORDS[::-1])
    reward = reward_of(make(f"reward.reward_model.path={tmp_path / 'other'}"))
    prompts = [[{"role": "user", "content": "fine on"}]]
    assert reward(prompts, ["goes"]) == by_hand(scalar, [[5, 6]], [[7, 2]])


def test_a_lost_head_is_noticed(make, scalar, tmp_path):
    """Without its head a model of another run is a plain language model, and no reward model."""
    scalar.save(tmp_path / "other")
    (tmp_path / "other" / "head.safetensors").unlink()
    tiny.tokenizer(tmp_path / "other", chat=True)
    with pytest.raises(UserError, match="2 labels, but a reward model has one"):
        reward_of(make(f"reward.reward_model.path={tmp_path / 'other'}"))


def hf_by_hand(path, texts, special=True):
    """transformers' own pipeline, one row at a time: at batch size 1 without a pad token the
    logit of the very last token is read."""
    tokenizer = AutoTokenizer.from_pretrained(path)
    model = AutoModelForSequenceClassification.from_pretrained(path)
    model.config.pad_token_id = None
    rows = [tokenizer(text, add_special_tokens=special).input_ids[-32:] for text in texts]
    with torch.no_grad():
        scores = [model(torch.tensor([row])).logits.item() for row in rows]
    return pytest.approx(scores, abs=1e-4)


@pytest.mark.parametrize("pad", ["<pad>", "<eos>", "<unk>"])
@pytest.mark.parametrize("batch_size", [1, 2, 16])
def test_a_classifier_reads_its_own_template(make, tmp_path, pad, batch_size):
    tiny.classifier(tmp_path / "gold", pad=pad)
    reward = load_classifier(make(), str(tmp_path / "gold"), batch_size)
    scores = reward(PROMPTS, TEXTS, **COLUMNS)
    rendered = [
        "".join(f"<{turn['role']}> {turn['content']} <eos> " for turn in prompt)
        + f"<assistant> {text} <eos> "
        for prompt, text in zip(PROMPTS, TEXTS, strict=True)
    ]
    assert scores == hf_by_hand(tmp_path / "gold", rendered)
    assert len(set(scores)) == 5


def test_a_classifier_without_template_reads_plain_text(make, tmp_path):
    tiny.classifier(tmp_path / "gold", chat=False, pad="<eos>")
    reward = reward_of(make(f"reward.reward_model.path={tmp_path / 'gold'}"))
    plain = [
        "what is the best colour red indeed",
        "Human: I like red\n\nAssistant: fine\n\nHuman: and you\n\nAssistant: it goes <eos>",
        "red " * 60 + "blue",
    ]
    prompts = [PROMPTS[0], PROMPTS[2], PROMPTS[4]]
    scores = reward(prompts, ["red indeed", "it goes <eos>", "blue"])
    assert scores == hf_by_hand(tmp_path / "gold", plain)


def test_a_classifier_of_two_labels_is_refused(make, tmp_path):
    tiny.classifier(tmp_path / "gold", num_labels=2)
    with pytest.raises(UserError, match="2 labels, but a reward model has one"):
        reward_of(make(f"reward.reward_model.path={tmp_path / 'gold'}"))


def test_a_classifier_without_its_head_is_refused(make, tmp_path):
    """transformers would start a fresh one with a warning."""
    model = LlamaForCausalLM(tiny.config(num_labels=1))
    model.save_pretrained(tmp_path / "gold")
    tiny.tokenizer(tmp_path / "gold", chat=True)
    with pytest.raises(UserError, match=r"no whole model, its weights lack score\.weight"):
        reward_of(make(f"reward.reward_model.path={tmp_path / 'gold'}"))


def test_a_path_without_a_model(make):
    with pytest.raises(UserError, match="reward model '/nowhere/at_all': no such folder") as caught:
        reward_of(make("reward.reward_model.path=/nowhere/at_all"))
    assert "\n" not in str(caught.value)
