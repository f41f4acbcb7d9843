"""What stands beside an exported model: its card, lines that load it, and what would be sent."""

import json

import pytest
from huggingface_hub import ModelCard

from rlhfkit.errors import UserError
from rlhfkit.exports.form import Form


def test_the_card_tells_what_the_record_knows(finished):
    run = finished("lora", "labeler=simulated")
    metrics = {"rl": {"win_rate": {"value": 0.6, "low": 0.5, "high": 0.7, "count": 40}}}
    (run.root / "evaluate").mkdir()
    (run.root / "evaluate" / "metrics.json").write_text(json.dumps(metrics))
    (run.root / "label").mkdir()
    record = {"stage": "label", "settings": {"labeler.name": "simulated"}, "inputs": {}}
    (run.root / "label" / "stage.json").write_text(json.dumps(record))
    card = ModelCard.load(run.export() / "README.md")
    assert card.data.to_dict() == {
        "library_name": "peft",
        "pipeline_tag": "text-generation",
        "tags": ["rlhf", "rlhfkit", "ppo"],
    }
    assert "| win_rate | 0.6 [0.5, 0.7] |" in card.text
    assert "On 40 held-out prompts, with 95 % intervals." in card.text
    assert "labelers are simulated" in card.text.partition("## Limits")[2]
    assert str(run.root) not in card.content
    assert run.base not in card.content


def test_a_reward_models_card(finished):
    folder = finished("lora").export("export.stage=reward_model", "export.merged=true")
    card = ModelCard.load(folder / "README.md")
    assert card.data.pipeline_tag == "text-classification"
    assert "finds where it errs" in card.text


def test_a_card_keeps_what_hub_names_say(finished, monkeypatch):
    from rlhfkit.exports import card

    monkeypatch.setattr(card, "try_to_load_from_cache", lambda *_, **__: None)
    assert card._is_hub_name("me/model")
    assert not card._is_hub_name("./model/x")
    assert not card._is_hub_name("model")


@pytest.mark.parametrize(
    ("options", "call"),
    [
        ([], "AutoPeftModelForCausalLM"),
        (["export.merged=true"], "AutoModelForCausalLM"),
        (["export.stage=reward_model"], "AutoModelForSequenceClassification"),
        (["export.stage=reward_model", "export.merged=true"], "num_labels=1"),
    ],
)
def test_the_lines_that_are_printed_load_it(finished, capsys, options, call):
    run = finished("lora")
    folder = run.export(*options)
    said = capsys.readouterr().out
    lines = said[said.index("from ") :]
    assert call in lines
    assert f'"{folder}"' in lines
    exec(lines.replace("max_new_tokens=200", "max_new_tokens=3"), {})


def test_lines_for_a_model_without_chat_template():
    assert 'tokenizer("Name a fruit.", return_tensors="pt")' in Form(
        False, False, chat=False
    ).snippet("x")
    assert "eos_token" in Form(True, False, chat=False).snippet("x")


def test_a_dry_run_lists_what_would_go(finished, capsys):
    run = finished("lora")
    run.export("export.push=me/mine", "export.dry_run=true")
    said = capsys.readouterr().out
    listed = [
        line.split()[-1]
        for line in said.partition("would go to me/mine, private:")[2].splitlines()[1:]
    ]
    assert {"README.md", "adapter_model.safetensors", "tokenizer.json"} <= set(listed)


@pytest.mark.parametrize(
    ("repository", "says"),
    [
        ("mine", "say whose, as in export.push=me/mine"),
        ("me/mi ne", "export.push=me/mi ne: Repo id must use"),
        ("me/mine", "HF_HUB_OFFLINE is set, so nothing can be sent"),
    ],
)
def test_what_cannot_be_sent_is_said_before_anything_is_written(finished, repository, says):
    run = finished("lora")
    with pytest.raises(UserError, match=says):
        run.export(f"export.push='{repository}'")
    assert not (run.root / "export").exists()


def test_sent_as_it_was_written(finished, monkeypatch, capsys):
    sent = []

    class Hub:
        def create_repo(self, name, **options):
            sent.append((name, options["private"]))
            return f"https://hub/{name}"

        def upload_folder(self, folder_path, **_):
            sent.append(sorted(file.name for file in folder_path.iterdir())[0])

    monkeypatch.setattr("rlhfkit.exports.push.HfApi", Hub)
    monkeypatch.setattr("rlhfkit.commands.export.check_push", lambda *_: None)
    run = finished("lora")
    run.export()
    run.export("export.push=me/mine")
    assert sent == [("me/mine", True), "README.md"]
    assert "sent: https://hub/me/mine" in capsys.readouterr().out


def test_a_gguf_file_of_a_word_tokenizer_is_refused(finished):
    run = finished("lora")
    with pytest.raises(UserError, match="a tokenizer of the kind WordLevel"):
        run.export("export.gguf=f16")
    assert not list((run.root / "export").iterdir())
