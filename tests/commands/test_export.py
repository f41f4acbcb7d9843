"""An exported model gives the policy's numbers with peft and transformers alone."""

import re
import subprocess
import sys
from pathlib import Path

import pytest
import torch
from peft import PeftModel
from transformers import AutoModelForCausalLM, AutoTokenizer, GenerationConfig

from rlhfkit.commands.error_lines import one_line
from rlhfkit.commands.export import export
from rlhfkit.errors import UserError
from rlhfkit.models.batch import make_batch
from rlhfkit.runner.runner import Runner
from tests.commands.conftest import TEMPLATE
from tests.plugins.loaders import separate

RLHFKIT = Path(sys.executable).with_name("rlhfkit")
PROMPT, RESPONSE = [5, 6, 7], [10, 11, 2]
NAMES = {1: "_", 2: "E", 3: "U"}  # <pad>, <eos> and <user> of tiny.SPECIAL
BATCH = make_batch([PROMPT], [RESPONSE])
EXACT = {"rtol": 1e-5, "atol": 1e-5}
ROUNDED = {"rtol": 1e-4, "atol": 1e-4}  # the adapter is added to the weights


@torch.no_grad()
def plain_logprobs(model):
    logits = model(input_ids=torch.tensor([PROMPT + RESPONSE])).logits[0]
    logprobs = torch.log_softmax(logits.float(), -1)[len(PROMPT) - 1 : -1]
    return logprobs.gather(1, torch.tensor(RESPONSE)[:, None])[:, 0]


def policy_logprobs(run):
    return run.roles.policy.response_logprobs(BATCH)[0][0].detach()


@pytest.mark.parametrize("loader", ["lora", "qlora"])
def test_an_adapter_is_the_policy(finished, loader):
    run = finished(loader)
    folder = run.export()
    assert folder == run.root / "export" / "rl"
    base = separate.base_model(run.base, loader)
    without = plain_logprobs(base)
    found = plain_logprobs(PeftModel.from_pretrained(base, folder))
    torch.testing.assert_close(found, policy_logprobs(run), **EXACT)
    assert (found - without).abs().max() > 0.01
    assert AutoTokenizer.from_pretrained(folder).chat_template == TEMPLATE


def test_a_merged_model_is_the_policy(finished, capsys):
    run = finished("lora")
    folder = run.export("export.merged=true")
    assert folder == run.root / "export" / "rl-merged"
    assert not (folder / "adapter_config.json").exists()
    model = AutoModelForCausalLM.from_pretrained(folder)
    torch.testing.assert_close(plain_logprobs(model), policy_logprobs(run), **ROUNDED)
    assert AutoTokenizer.from_pretrained(folder).chat_template == TEMPLATE
    assert "4-bit" not in capsys.readouterr().out


def test_a_merged_model_of_a_4_bit_run_is_unquantised_and_says_so(finished, capsys):
    run = finished("qlora")
    folder = run.export("export.merged=true", "model.dtype=bfloat16")
    said = capsys.readouterr().out
    assert "trained on the 4-bit base; the merged model's outputs differ" in said
    model = AutoModelForCausalLM.from_pretrained(folder)
    assert {parameter.dtype for parameter in model.parameters()} == {torch.bfloat16}
    plain = separate.adapted(run.base, run.root / "rl" / "model", "lora")
    torch.testing.assert_close(plain_logprobs(model), plain_logprobs(plain), rtol=0.05, atol=0.05)


@pytest.mark.parametrize(
    ("loader", "merged"), [("lora", True), ("qlora", True), ("full", False), ("full", True)]
)
def test_an_exported_model_stops_under_plain_generate(finished, loader, merged):
    """At the turn end of the chat template, which the base's own settings do not know."""
    run = finished(loader, f"model.chat_template='{TEMPLATE.replace('<eos>', '<user>')}'")
    model = AutoModelForCausalLM.from_pretrained(run.export(f"export.merged={merged}"))
    torch.manual_seed(1)
    found = model.generate(torch.tensor([PROMPT] * 300), do_sample=True, max_new_tokens=12)
    rows = ["".join(NAMES.get(token, ".") for token in row) for row in found[:, 3:].tolist()]
    ended = [row for row in rows if "U" in row]
    assert len(ended) > 20
    assert all(re.fullmatch("[._]*[EU]_*", row) for row in ended)


def test_an_adapter_whose_base_does_not_stop_says_so(finished, capsys):
    run = finished("lora", f"model.chat_template='{TEMPLATE.replace('<eos>', '<user>')}'")
    folder = run.export()
    said = " ".join(capsys.readouterr().out.split())
    assert (
        "`generate` does not stop at <user>: with the adapter give it eos_token_id=[3, 2]" in said
    )
    assert GenerationConfig.from_pretrained(folder).eos_token_id == [3, 2]
    assert not (run.export("export.stage=reward_model") / "generation_config.json").exists()


@pytest.mark.parametrize("merged", [False, True])
def test_full_models(finished, merged):
    run = finished("full")
    folder = run.export(f"export.merged={merged}")
    found = plain_logprobs(AutoModelForCausalLM.from_pretrained(folder))
    torch.testing.assert_close(found, policy_logprobs(run), **EXACT)
    assert AutoTokenizer.from_pretrained(folder).chat_template == TEMPLATE


def test_another_place(finished, tmp_path):
    run = finished("lora")
    (tmp_path / "there").mkdir()
    folder = run.export(f"export.to={tmp_path / 'there'}")
    assert folder == tmp_path / "there"
    assert (folder / "adapter_model.safetensors").exists()
    assert not (run.root / "export").exists()


@pytest.mark.parametrize(
    ("options", "says"),
    [
        (["export.stage=sft"], r"no finished model in .*run/sft; choices: reward_model, rl"),
        (["export.stage=report"], r"no finished model in .*run/report; choices: reward_model, rl"),
        (["export.stage=rll"], r"no stage 'rll'; did you mean 'rl'"),
        (["export.to={used}"], r"export.to=.*used: is there already"),
        (["export.to={used}/file"], r"export.to=.*file: is there already"),
        (["export.to={used}/file/x"], r"export.to=.*x: cannot be written"),
    ],
)
def test_mistakes(finished, tmp_path, options, says):
    used = tmp_path / "used"
    used.mkdir()
    (used / "file").write_text("mine")
    run = finished("lora")
    with pytest.raises(UserError, match=says) as error:
        run.export(*(option.format(used=used) for option in options))
    assert "\n" not in str(error.value)
    assert (used / "file").read_text() == "mine"


def test_no_disk_space_leaves_nothing_behind(finished, monkeypatch):
    def full(*_args, **_kwargs):
        raise RuntimeError("I/O error: No space left on device (os error 28)")

    run = finished("lora")
    monkeypatch.setattr("transformers.PreTrainedModel.save_pretrained", full)
    with pytest.raises(RuntimeError) as error:
        run.export("export.merged=true")
    assert one_line(error.value).startswith("no disk space left (while writing a model)")
    assert list((run.root / "export").iterdir()) == []


def test_nothing_to_export(make_raw, plugins):
    runner = Runner(make_raw(), plugins)
    with pytest.raises(UserError, match=r"=rl: no finished model in .*run/rl; choices: none"):
        export(runner.config, plugins)


def test_the_command(finished, tmp_path):
    run = finished("lora")
    done = subprocess.run(
        [str(RLHFKIT), "export", "run_name=test", f"run_dir={run.root}", "export.merged=true"],
        cwd=tmp_path, capture_output=True, text=True, timeout=120,
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    assert done.stdout.startswith(f"rl: written to {run.root}/export/rl-merged, a model\n\nfrom ")
    assert (run.root / "export" / "rl-merged" / "model.safetensors").exists()
    assert not (run.root / "invocations").exists()
