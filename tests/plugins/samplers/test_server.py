"""sampler=server against a stand-in that samples from a real model."""

import socket

import pytest
import torch

from rlhfkit.errors import UserError
from rlhfkit.models.batch import make_batch
from rlhfkit.types import Ends
from rlhfkit_plugins.samplers import ServerConfig
from rlhfkit_plugins.samplers.server import ServerSampler
from tests.plugins.loaders.conftest import perturb, trained
from tests.plugins.samplers.stand_in import BASE, StandIn, serving

__all__ = ["trained"]

EOS = 2
ENDS = Ends((EOS,))
PROMPTS = [[5, 6, 7], [8], [5, 6, 7], [9, 10, 11, 12, 13], [5, 6, 7]]


class Setting:
    def __init__(self, run, folder):
        self.run, self.folder = run, folder
        self.policy = run.context.build("loader").language_model(run.sft, trainable=True)
        self.policy.model.eval()
        self.stand_in = StandIn(run.base)

    def sampler(self, url, **options):
        made = {"url": url, "model": BASE, "adapter_dir": str(self.folder), "response_length": 8}
        made |= {"retries": 2, "retry_delay": 0.01}
        return ServerSampler(ServerConfig(**{**made, **options}))

    def asked(self, name):
        return [body for path, body in self.stand_in.asked if path == f"/v1/{name}"]


@pytest.fixture
def setting(trained, tmp_path):
    return Setting(trained("lora"), tmp_path / "adapters")


def draw(sampler, model, seed=0):
    return sampler.sample(model, PROMPTS, ENDS, torch.Generator().manual_seed(seed))


def assert_from(model, responses, temperature):
    batch = make_batch(PROMPTS, [response.ids for response in responses])
    with torch.no_grad():
        expected, _ = model.response_logprobs(batch, temperature)
    for response, row in zip(responses, expected.tolist(), strict=True):
        assert response.logprobs == pytest.approx(row[: len(response.ids)], abs=1e-4)
        assert response.ended == (response.ids[-1] == EOS)
        assert EOS not in response.ids[:-1]


def test_completions_are_the_policys_and_follow_it(setting):
    with serving(setting.stand_in) as url:
        sampler = setting.sampler(url, temperature=0.8)
        first = draw(sampler, setting.policy)
        assert_from(setting.policy, first, 0.8)
        assert first[0] != first[2] != first[4]
        assert sorted(body["n"] for body in setting.asked("completions")) == [1, 1, 3]
        assert draw(sampler, setting.policy) == first
        assert draw(sampler, setting.policy, seed=1) != first
        assert len(setting.asked("load_lora_adapter")) == 1
        perturb(setting.policy.trainable_parameters(), 9, scale=0.2)
        assert_from(setting.policy, draw(sampler, setting.policy), 0.8)
    loaded = [body["lora_name"] for body in setting.asked("load_lora_adapter")]
    assert len(set(loaded)) == 2
    assert [body["lora_name"] for body in setting.asked("unload_lora_adapter")] == loaded[:1]
    assert [folder.name for folder in setting.folder.iterdir()] == loaded[1:]


def test_the_server_is_told_of_every_end(setting):
    """The stand-in knows tokens only, as if the text had come in the middle of what vLLM sent."""
    letters = lambda ids: "".join(chr(ord("A") + token % 4) for token in ids)  # noqa: E731
    ends = Ends((EOS, 7), ("BAD", "AB"), letters)
    with serving(setting.stand_in) as url:
        generator = torch.Generator().manual_seed(0)
        responses = setting.sampler(url).sample(setting.policy, [[8]] * 100, ends, generator)
    (body,) = setting.asked("completions")
    told = {name: body[name] for name in ("ignore_eos", "stop_token_ids", "stop")}
    assert told == {"ignore_eos": True, "stop_token_ids": [EOS, 7], "stop": ["BAD", "AB"]}
    assert body["include_stop_str_in_output"] is True
    assert any("AB" in letters(response.ids) for response in responses)
    for response in responses:
        assert "AB" not in letters(response.ids[:-1])
        assert response.ended == (ends.find(response.ids) == len(response.ids))
        assert len(response.logprobs) == len(response.ids)


def test_a_model_without_adapter_is_the_servers_base(setting, monkeypatch):
    monkeypatch.setenv("SOME_KEY", "secret")
    base = setting.run.context.build("loader").language_model(None)
    with serving(setting.stand_in) as url:
        assert_from(base, draw(setting.sampler(url, api_key_variable="SOME_KEY"), base), 1.0)
    assert setting.stand_in.key == "Bearer secret"
    assert not setting.asked("load_lora_adapter")


def test_an_adapter_that_was_merged_is_pushed_as_it_was_stored(setting):
    merged = setting.run.context.build("loader").language_model(setting.run.sft)
    assert merged.adapter is None
    with serving(setting.stand_in) as url:
        sampler = setting.sampler(url)
        assert_from(merged, draw(sampler, merged), 1.0)
        assert draw(sampler, merged) == draw(sampler, merged)
    assert len(setting.asked("load_lora_adapter")) == 1
    assert {body["model"] for body in setting.asked("completions")} != {BASE}


def one_line(error):
    assert "\n" not in str(error.value)


def test_another_model_on_the_server(setting):
    merged = setting.run.context.build("loader").language_model(setting.run.sft)
    perturb(merged.model.parameters(), 5, scale=0.5)
    with serving(setting.stand_in) as url, pytest.raises(UserError, match="another model") as error:
        draw(setting.sampler(url), merged)
    one_line(error)


def test_a_name_that_the_server_does_not_know(setting):
    base = setting.run.context.build("loader").language_model(None)
    with serving(setting.stand_in) as url, pytest.raises(UserError, match=r"404.*`huge`") as error:
        draw(setting.sampler(url, model="huge"), base)
    one_line(error)


@pytest.mark.parametrize("key", ["token_ids", "logprobs"])
def test_an_answer_without_what_is_needed(setting, key):
    setting.stand_in.left_out = (key,)
    with serving(setting.stand_in) as url, pytest.raises(UserError, match="token_ids") as error:
        draw(setting.sampler(url), setting.policy)
    one_line(error)


def test_no_server(setting):
    with socket.socket() as unused:
        unused.bind(("127.0.0.1", 0))
        url = f"http://127.0.0.1:{unused.getsockname()[1]}"
        with pytest.raises(UserError, match=r"no answer.*vllm serve") as error:
            draw(setting.sampler(url), setting.policy)
    one_line(error)


def test_a_server_that_is_ill_for_a_while(setting):
    """Asked again with the same seeds, so the completions are those of a well one."""
    with serving(setting.stand_in) as url:
        well = draw(setting.sampler(url), setting.policy)
        setting.stand_in.ill = 2
        assert draw(setting.sampler(url), setting.policy) == well
    assert setting.stand_in.ill == 0


def test_options_that_are_needed():
    with pytest.raises(UserError, match=r"sampler\.model=NAME.*sampler\.launch=true"):
        ServerConfig().check("sampler")
    with pytest.raises(UserError, match=r"sampler\.temperature=0\.001: vLLM samples at 0\.01"):
        ServerConfig(launch=True, temperature=0.001).check("sampler")
    ServerConfig(launch=True).check("sampler")
