"""An exported reward model gives its scores under plain transformers, as PEFT, TRL and OpenRLHF
call it."""

from copy import deepcopy

import pytest
import torch
from peft import PeftModel
from torch import nn
from transformers import (
    AutoConfig,
    AutoModel,
    AutoModelForCausalLM,
    AutoModelForSequenceClassification,
    AutoTokenizer,
    CohereConfig,
)
from trl.experimental.utils import get_reward

from rlhfkit.data.ends import find_ends
from rlhfkit.data.text_format import TextFormat, load_text_format
from rlhfkit.errors import UserError
from rlhfkit.exports.classifier import prepare_tokenizer, save_classifier
from rlhfkit.models.quantised import keep_differentiable
from rlhfkit_plugins.rewards.reward_model import load_reward
from tests.byte_tokenizer import tokenizer as byte_tokenizer
from tests.commands.conftest import TEMPLATE
from tests.plugins.loaders.separate import NF4

PROMPTS = [[{"role": "user", "content": text}] for text in ("what is red", "is it best")]
COMPLETIONS = ["I like it", "green and blue and red"]
NEAR = {"rtol": 1e-4, "atol": 1e-4}


@pytest.fixture
def wanted(make_context):
    """`wanted(run)`: the scores by rlhfkit, from texts."""

    def scores(run):
        context = make_context(f"model.path={run.base}", f"model.chat_template='{TEMPLATE}'")
        text = load_text_format(context)
        return scores_of(run.roles.value, text)

    return scores


def scores_of(model, text):
    rows = [text.prompt_ids(prompt) for prompt in PROMPTS]
    ids = [text.completion_ids(completion) for completion in COMPLETIONS]
    return model.scores(model.language_model.batch(rows, ids)).detach()


def conversation(tokenizer):
    """As TRL's GRPOTrainer gives texts to a reward model."""
    pairs = zip(PROMPTS, COMPLETIONS, strict=True)
    turns = [[*prompt, {"role": "assistant", "content": text}] for prompt, text in pairs]
    texts = tokenizer.apply_chat_template(turns, tokenize=False)
    return tokenizer(
        texts, return_tensors="pt", padding=True, padding_side="right", add_special_tokens=False
    )


@torch.no_grad()
def plain_scores(model, folder):
    given = conversation(AutoTokenizer.from_pretrained(folder))
    return model(given.input_ids, attention_mask=given.attention_mask).logits[:, 0]


@pytest.mark.parametrize("loader", ["lora", "full"])
def test_a_whole_reward_model(finished, wanted, loader):
    run = finished(loader)
    expected = wanted(run)
    folder = run.export("export.stage=reward_model", "export.merged=true")
    model = AutoModelForSequenceClassification.from_pretrained(folder)
    assert (model.config.num_labels, model.config.architectures) == (
        1,
        ["LlamaForSequenceClassification"],
    )
    bias = run.roles.value.head.bias.item()
    assert abs(bias) > 0.01
    assert model.config.score_bias == pytest.approx(bias)
    torch.testing.assert_close(plain_scores(model, folder) + bias, expected, **NEAR)
    assert (expected[0] - expected[1]).abs() > 0.1


def test_as_trl_and_openrlhf_call_it(finished, wanted):
    run = finished("lora")
    expected = wanted(run)
    folder = run.export("export.stage=reward_model", "export.merged=true")
    tokenizer = AutoTokenizer.from_pretrained(folder)
    given = conversation(tokenizer)
    model = AutoModelForSequenceClassification.from_pretrained(folder, num_labels=1).eval()
    with torch.no_grad():
        _, found, _ = get_reward(model, given.input_ids, tokenizer.pad_token_id, 4)
        openrlhf = openrlhf_reward_model(folder)(given.input_ids, given.attention_mask)
    torch.testing.assert_close(found + model.config.score_bias, expected, **NEAR)
    torch.testing.assert_close(openrlhf, expected, **NEAR)  # its own config has the bias


def openrlhf_reward_model(folder):
    """What OpenRLHF makes of a folder: a head without bias, named `score`, read at the last token
    of the mask, and normalised by the configuration's mean and std."""
    config = AutoConfig.from_pretrained(folder)
    body = AutoModel._model_mapping[type(config)]

    class RewardModel(body.__base__):
        def __init__(self, config):
            super().__init__(config)
            setattr(self, self.base_model_prefix, body(config))
            self.score = nn.Linear(config.hidden_size, 1, bias=False)
            self.post_init()

        def forward(self, input_ids, attention_mask):
            inner = getattr(self, self.base_model_prefix)
            values = self.score(inner(input_ids, attention_mask).last_hidden_state).squeeze(-1)
            last = attention_mask.sum(1, keepdim=True) - 1
            return (values.gather(1, last).squeeze(1) - self.config.mean) / self.config.std

    return RewardModel.from_pretrained(folder).eval()


@pytest.mark.parametrize("loader", ["lora", "qlora"])
def test_an_adapter_brings_its_head(finished, wanted, loader):
    run = finished(loader)
    expected = wanted(run)
    folder = run.export("export.stage=reward_model")
    if loader == "lora":
        model = AutoModelForSequenceClassification.from_pretrained(folder, num_labels=1)
    else:
        four_bits = deepcopy(NF4)
        four_bits.llm_int8_skip_modules = ["score"]
        options = {"quantization_config": four_bits, "device_map": {"": "cpu"}, "num_labels": 1}
        base = AutoModelForSequenceClassification.from_pretrained(run.base, **options)
        keep_differentiable(base)  # the kernel of some CPUs that leaves it off is less exact
        model = PeftModel.from_pretrained(base, folder)
    model.config.pad_token_id = AutoTokenizer.from_pretrained(folder).pad_token_id
    found = plain_scores(model, folder)
    torch.testing.assert_close(found + run.roles.value.head.bias.detach(), expected, **NEAR)


@pytest.mark.parametrize("merged", [False, True])
def test_rlhfkit_reads_its_own_export(finished, make_context, merged):
    run = finished("lora")
    folder = run.export("export.stage=reward_model", f"export.merged={merged}")
    context = make_context(f"model.path={run.base}", "loader=lora")
    expected = scores_of(run.roles.value, load_text_format(context, str(folder)))
    found = load_reward(context, str(folder), 2)(PROMPTS, COMPLETIONS)
    torch.testing.assert_close(torch.tensor(found), expected, **NEAR)


CHATML = (
    "{% for m in messages %}<|{{ m.role }}|>{{ m.content }}<eot>\n{% endfor %}"
    "{% if add_generation_prompt %}<|assistant|>{% endif %}"
)


def chatml(pad="<eot>", template=CHATML):
    """As SmolLM2's and Qwen's: padded with the turn end, which a line break follows."""
    made = byte_tokenizer(template=template)
    made.pad_token = pad
    return TextFormat(made, True, find_ends(made, True))


def test_the_pad_token_ends_no_text_and_nothing_follows_the_last_answer():
    text = chatml()
    asked, answered = PROMPTS[0], [*PROMPTS[0], {"role": "assistant", "content": "Red"}]
    before = text.tokenizer.apply_chat_template(asked, tokenize=False, add_generation_prompt=True)
    assert prepare_tokenizer(text) == []
    assert text.tokenizer.pad_token == "<unk>"
    whole = text.tokenizer.apply_chat_template(answered, tokenize=False)
    assert whole == "<|user|>what is red<eot>\n<|assistant|>Red<eot>"
    assert before == text.tokenizer.apply_chat_template(
        asked, tokenize=False, add_generation_prompt=True
    )


def test_a_template_that_ends_no_answer_is_told():
    text = chatml(pad="<pad>", template=CHATML.replace("<eot>\n", "\n"))
    assert prepare_tokenizer(text) == [
        "the chat template does not end answers with <eos>: append it yourself"
    ]
    assert text.tokenizer.pad_token == "<pad>"


def test_an_architecture_without_such_a_classifier(tmp_path):
    torch.manual_seed(0)
    config = CohereConfig(vocab_size=64, hidden_size=16, intermediate_size=16, num_hidden_layers=1,
                          num_attention_heads=2)  # fmt: skip
    base = AutoModelForCausalLM.from_config(config)
    with pytest.raises(UserError, match=r"no sequence classifier of cohere .*merged=false"):
        save_classifier(base, nn.Linear(16, 1), chatml("<pad>").tokenizer, tmp_path / "model")
