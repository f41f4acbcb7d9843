"""The help of a command describes every flag that the command accepts."""

import ast
import re
from pathlib import Path

import pytest

from rlhfkit import commands
from rlhfkit.commands.flags import parse_flags
from rlhfkit.commands.known_commands import ALWAYS, COMPOSED, OTHERS
from rlhfkit.commands.main import main
from rlhfkit.commands.run_words import FLAGGED
from rlhfkit.commands.typed_words import _FLAGS
from rlhfkit.component import named
from rlhfkit.config.docs import options_of
from rlhfkit.errors import UserError
from tests.commands.test_main import rlhfkit

FOLDER = Path(commands.__file__).parent
MAY_NAME = {
    "main": {"--help", "-h", "--version", "--shell-completion"},
    "typed_words": {"--multirun", "-m"},
    "hydra_app": {"--shell-completion", "--cfg"},
    "commented_config": {"--package", "-p"},
    "export_checks": {"-merged", "-gguf"},
    "completion": {"--kind", "--verbose"},
    "help": {"--help", "-h"},
}
"""What these files may name: flags before any command, Hydra's, the ends of folders' names, and
what TAB offers."""


def told(name, capsys):
    """What the help says of a command, on one line."""
    main(["help", name])
    return " ".join(capsys.readouterr().out.split())


def described(option):
    """A flag with its default, if it is shown, and the whole of its sentence."""
    flag = re.escape(f"--{option.name.replace('_', '-')}")
    sentence = re.escape(" ".join(option.doc.split()))
    return rf"(?<!\S){flag} (\S+ )?(\S+ )*?{sentence}"


@pytest.mark.parametrize("command", OTHERS, ids=lambda item: item.name)
def test_a_command_reads_the_flags_that_its_help_describes(command, monkeypatch, capsys, plugins):
    read = []

    def noted(name, words, kind):
        read.append(kind)
        return parse_flags(name, words, kind)

    module = command.run.partition(":")[0]
    assert named(command.run)  # imported, so that its name can be replaced
    monkeypatch.setattr(f"{module}.parse_flags", noted, raising=False)
    with pytest.raises(UserError):
        command.function(["--no-such-flag"], plugins)
    assert read == ([named(command.options)] if command.options else [])
    shown = told(command.name, capsys)
    assert shown.startswith(f"rlhfkit {command.name}: {command.help}")
    for kind in read:
        for option in options_of(kind):
            assert option.doc
            assert re.search(described(option), shown), option.name


def test_no_command_looks_for_flags_in_another_way():
    for file in FOLDER.glob("*.py"):
        tree = ast.parse(file.read_text(encoding="utf-8"))
        texts = {node.value for node in ast.walk(tree) if isinstance(node, ast.Constant)}
        flags = {item for item in texts if re.fullmatch(r"--?[a-z][a-z-]*", str(item))}
        assert flags <= MAY_NAME.get(file.stem, set()), file.name


@pytest.mark.parametrize("command", COMPOSED)
def test_a_command_with_a_runs_options_tells_its_flags(command, capsys):
    shown = told(command, capsys)
    assert "rlhfkit --hydra-help" in shown
    if command in FLAGGED:
        for option in options_of(FLAGGED[command]):
            assert re.search(rf" {command}\.{option.name}=.*?{re.escape(option.doc)}", shown)
            assert re.search(rf"flag, too:.* --{option.name.replace('_', '-')}[,.]", shown)


def test_hydras_help_describes_hydras_flags(tmp_path):
    shown = rlhfkit("--hydra-help", cwd=tmp_path, check=0).stdout
    for flag in _FLAGS:
        assert re.search(rf"^(\S*,)?{re.escape(flag)}(,\S*)? : \S", shown, re.M), flag


@pytest.mark.parametrize("command", ALWAYS)
def test_help_of_what_is_always_there(command, capsys):
    assert told(command, capsys) == f"rlhfkit {command}: {ALWAYS[command]}"
    said, _, usage = ALWAYS[command].partition(": ")
    assert f" {command} {said} " in told("run", capsys)
    assert usage.startswith("rlhfkit ")


def test_the_whole_help_fits_a_terminal(capsys):
    main(["help"])
    assert max(map(len, capsys.readouterr().out.splitlines())) <= 80


def test_the_version_can_be_asked_about_in_every_way(capsys):
    shown = told("version", capsys)
    for typed in (["version", "--help"], ["version", "-h"]):
        main(typed)
        assert " ".join(capsys.readouterr().out.split()) == shown


@pytest.mark.parametrize(
    ("word", "says"),
    [
        ("exprt", "no such command, group or section; did you mean 'export'"),
        ("optimiser", "no such command, group or section; did you mean 'optimizer'"),
    ],
)
def test_a_mistyped_subject(word, says, tmp_path):
    assert f"help {word}: {says}" in rlhfkit("help", word, cwd=tmp_path, check=2).stderr
