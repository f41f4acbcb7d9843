"""What the docs say to type is typed as it stands, in zsh too, and understood by rlhfkit."""

import json
import re
import shlex
import shutil
from pathlib import Path

import pytest
from hydra import compose, initialize_config_module
from omegaconf import OmegaConf

from rlhfkit.commands.flags import parse_flags
from rlhfkit.commands.init import tasks, write_file
from rlhfkit.commands.known_commands import COMPOSED, OTHERS
from rlhfkit.commands.run_words import expanded
from rlhfkit.commands.typed_words import as_hydra_reads
from rlhfkit.component import named
from rlhfkit.runner.preflight import check_options, find_mistakes
from rlhfkit.runner.runner import Runner
from rlhfkit.storage.run_dir import RunDir
from rlhfkit.storage.run_record import as_typed

ROOT = Path(__file__).parents[1]
PAGES = [ROOT / "README.md", *(ROOT / "docs").glob("*.md"), *ROOT.glob("examples/*/README.md")]
TYPED = [
    ROOT / "README.md",
    *(
        ROOT / "docs" / f"{name}.md"
        for name in (
            "tutorial", "daily_use", "command_line", "migrating", "memory", "rounds", "labelling",
        )
    ),
]  # fmt: skip
"""Pages of which every command is composed; the others' need data or servers of one's own."""

COMMAND = re.compile(
    r"(?:^ {4}|`)(?:\w+=\S+ )*(?:rlhfkit|accelerate launch) (?:\\\n|[^`\n])*", re.M
)
QUOTED = re.compile(r"'[^']*'|\"[^\"]*\"|#.*")
PLACEHOLDERS = {
    "RUN": "quickstart",
    "FILE": "prompts.jsonl",
    "FILE.yaml": "sft.yaml",
    "GROUP": "kl",
}
RUNS = ("quickstart", "mine", "tries", "sft", "ppo", "runs/quickstart", "runs/fixed")


def commands(page):
    return COMMAND.findall(page.read_text(encoding="utf-8"))


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.name)
def test_no_shell_takes_a_word_for_a_pattern(page):
    """zsh refuses a word with brackets, `?` or `*` that matches no file."""
    for command in commands(page):
        bare = QUOTED.sub("", command)
        words = [word for word in bare.split() if "=" in word and re.search(r"[\[\]?*{}]", word)]
        assert not words, f"quote {words} in: {command}"


def test_the_commands_are_found():
    found = [command for page in PAGES for command in commands(page)]
    assert len(found) > 30
    assert any("\\\n" in command for command in found)


@pytest.fixture
def project(tmp_path, monkeypatch, plugins, tiny_files):
    """A folder with data, a page of options for every task, and runs, as the docs speak of them."""
    monkeypatch.chdir(tmp_path)
    for split in ("demonstrations", "prompts", "rankings"):
        shutil.copy(tiny_files[split], f"{split}.jsonl")
    for task in tasks():
        write_file([task], plugins)
    shutil.copy("sft.yaml", "my.yaml")
    for name in ("quickstart", "mine", "tries", "fixed"):
        as_typed(["recipe=quickstart", f"run_name={name}"]).write(RunDir(Path("runs") / name))
    for task in ("sft", "ppo"):
        as_typed([f"model.path={tiny_files['model']}", f"run_name={task}"]).write(
            RunDir(Path("runs") / task)
        )
    return tmp_path


def words_of(command):
    """The words behind `rlhfkit`; None for a sketch with dots, or one that launches processes."""
    words = shlex.split(command.strip(" `").replace("\\\n", " "), comments=True)
    while words and words[0] != "rlhfkit":
        words.pop(0)
    words = words[: words.index(">")] if ">" in words else words
    if not words or "..." in command or any(word.isupper() and "=" in word for word in words):
        return None
    return [PLACEHOLDERS.get(word, word) for word in words[1:]]


def understand(words, plugins):
    """Raise where a command line would refuse these words, short of running anything."""
    others = {item.name: item for item in OTHERS}
    command = words[0] if words[0] in {*COMPOSED, *others, "help", "version"} else "run"
    rest = words[1:] if words[0] == command else words
    if command in COMPOSED:
        if rest in ([], ["--help"]):  # named in a sentence
            return
        options, flags = as_hydra_reads(expanded(command, rest, plugins), plugins)
        swept = [word for word in options if "--multirun" not in flags or "," not in word]
        if not any(word.startswith("run_name=") for word in swept):
            swept.append("run_name=typed")  # the recipe's name is known to the command line alone
        with initialize_config_module("rlhfkit_conf", version_base="1.3"):
            check_options(OmegaConf.to_object(compose("config", swept)))
    elif command == "init" and rest:
        assert rest[0] in tasks() or rest[0] == "TASK"
    elif command in others and others[command].options:
        parse_flags(command, rest, named(others[command].options))
    else:
        assert not [word for word in rest if word.startswith("-") and word != "--help"]


@pytest.mark.parametrize("page", TYPED, ids=lambda page: page.name)
def test_rlhfkit_understands_every_command(page, plugins, project, monkeypatch):
    understood = 0
    for command in commands(page):
        words = words_of(command)
        if words:
            monkeypatch.chdir(project)
            try:
                understand(words, plugins)
            except Exception as error:
                raise AssertionError(f"{page.name}: {command.strip()}: {error}") from error
            understood += 1
    assert understood > 3


def test_the_tutorial_passes_its_own_check(plugins, tmp_path, monkeypatch, tiny_files):
    """Its program makes the data, its page of options reads them, and no mistake is found."""
    monkeypatch.chdir(tmp_path)
    text = (ROOT / "docs" / "tutorial.md").read_text(encoding="utf-8")
    program, page_end = (
        re.search(rf"```{kind}\n(.*?)```", text, re.S)[1] for kind in ("python", "yaml")
    )
    exec(program, {})
    assert len(Path("demonstrations.jsonl").read_text().splitlines()) == 20
    assert (
        json.loads(Path("rankings.jsonl").read_text().splitlines()[0])["chosen"] == "It is Paris."
    )
    write_file(["ppo"], plugins)
    page = Path("ppo.yaml").read_text(encoding="utf-8")
    Path("ppo.yaml").write_text(page[: page.index("optimizer:")] + page_end, encoding="utf-8")
    typed = ["ppo.yaml", f"model.path={tiny_files['model']}"]
    options, _ = as_hydra_reads(expanded("run", typed, plugins), plugins)
    with initialize_config_module("rlhfkit_conf", version_base="1.3"):
        runner = Runner(compose("config", options), plugins)
    planned, mistakes = runner.planned()
    assert find_mistakes(planned, mistakes) == []
