"""Models that are not on this machine: one line at once, and plans that need no hub."""

import time

import pytest
import torch
from huggingface_hub import errors
from omegaconf import OmegaConf
from transformers import AutoConfig, AutoModelForCausalLM

from rlhfkit.context import DryRun
from rlhfkit.errors import UserError
from rlhfkit.models import hub
from rlhfkit.models.loading import load_config, load_tokenizer

PARAMETERS = {
    "HuggingFaceTB/SmolLM2-135M-Instruct": 134_515_008,
    "Qwen/Qwen2.5-1.5B-Instruct": 1_543_714_304,
    "Qwen/Qwen2.5-7B-Instruct": 7_615_616_512,
    "Qwen/Qwen2.5-14B-Instruct": 14_770_033_664,
}
"""As the models' pages on the hub have them."""


@pytest.mark.parametrize("name", PARAMETERS)
def test_a_shipped_configuration_has_as_many_parameters_as_the_published_model(name):
    with torch.device("meta"):
        config = AutoConfig.from_pretrained(hub.shipped_config(name))
        model = AutoModelForCausalLM.from_config(config)
    assert sum(parameter.numel() for parameter in model.parameters()) == PARAMETERS[name]


def test_every_preset_model_has_one():
    paths = {OmegaConf.create(preset.read_text()).path for preset in hub._presets()}
    assert paths == set(PARAMETERS)
    assert hub.shipped_config("gpt2") is None


def test_a_plan_needs_no_hub(make_context):
    context = make_context("recipe=consumer_24gb", stage="plan")
    object.__setattr__(context, "dry_run", DryRun("cuda"))
    assert load_config(context).num_hidden_layers == 48


@pytest.mark.parametrize(
    ("path", "says"),
    [
        ("./nomodel", "model './nomodel': no such folder"),
        ("~/nomodel", "nomodel': no such folder"),
        ("models/of/mine", "model 'models/of/mine': no such folder"),
        ("no/such", "model 'no/such' is not on this machine, and "),
        ("no/such", "; a folder is given by model.path=DIR"),
    ],
)
def test_what_is_not_here_is_told_at_once(make_context, path, says):
    started = time.monotonic()
    with pytest.raises(UserError) as error:
        load_tokenizer(make_context(f"model.path='{path}'"))
    assert says in str(error.value)
    assert time.monotonic() - started < 5


def test_the_hub_is_asked_once_where_it_does_not_answer(monkeypatch):
    asked = []

    class Session:
        def head(self, url, timeout):
            asked.append((url, timeout))
            raise TimeoutError

    monkeypatch.setattr(hub.constants, "HF_HUB_OFFLINE", False)
    monkeypatch.setattr(hub, "get_session", Session)
    hub.is_reachable.cache_clear()
    try:
        said = hub.explained("a/b", OSError("not found"), "model.path")
        assert said == (
            "is not on this machine, and huggingface.co does not answer; a folder is given by "
            "model.path=DIR"
        )
        assert not hub.is_reachable()
    finally:
        hub.is_reachable.cache_clear()
    assert asked == [("https://huggingface.co", 5.0)]


def of_the_hub(kind):
    error = OSError("transformers' words")
    error.__cause__ = kind.__new__(kind)
    return error


@pytest.mark.parametrize(
    ("kind", "says"),
    [
        (errors.GatedRepoError, "is gated: accept its terms at https://huggingface.co/a/b, then"),
        (errors.RepositoryNotFoundError, "no such model on the hub; a private one needs HF_TOKEN"),
        (errors.RevisionNotFoundError, "has no such revision on the hub"),
    ],
)
def test_what_the_hub_refuses(kind, says):
    assert hub.explained("a/b", of_the_hub(kind), "model.path").startswith(says)
