"""--cfg job says of every option what it means, and is still the same YAML."""

import yaml
from omegaconf import OmegaConf

from rlhfkit.commands.commented_config import commented


def printed(raw, plugins, capsys, *arguments):
    with commented(["recipe=quickstart", *arguments], plugins):
        print(OmegaConf.to_yaml(raw))
    return capsys.readouterr().out


def test_every_option_has_its_sentence_and_the_yaml_is_the_same(make_raw, plugins, capsys):
    raw = make_raw("kl=adaptive", "reward=[length]", "model.chat_template='# {{ x }}: y'")
    plain = printed(raw, plugins, capsys, "--info", "config")
    assert "#" not in plain.replace("'# {{ x }}: y'", "")
    with_comments = printed(raw, plugins, capsys, "--cfg", "job")
    assert yaml.safe_load(with_comments) == yaml.safe_load(plain)
    lines = with_comments.splitlines()
    for option, above in {
        "seed: 0": "# Seed of everything that is drawn at random.",
        "  chat: true": "  # Use the tokenizer's chat template; false for base models and "
        "completion-style prompts.",
        "    num_completions: 4": "    # Completions of each prompt, K: between 2 "
        "and 16 (4 to 9 in the paper).",
    }.items():
        assert lines[lines.index(option) - 1] == above
    assert sum(line.lstrip().startswith("# ") for line in lines) > 100


def test_other_uses_of_hydra_are_left_alone(make_raw, plugins, capsys):
    raw = make_raw()
    for words in (("-c", "hydra"), ("--cfg=all",), ("-c", "job", "-p", "model")):
        assert printed(raw, plugins, capsys, *words) == f"{OmegaConf.to_yaml(raw)}\n"
