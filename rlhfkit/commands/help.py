"""What `rlhfkit --help` prints. Hydra's own help copies every config several times, which takes it
more than a second; this one only lists names."""

from collections.abc import Iterable, Mapping
from importlib.resources import files
from pathlib import Path
from shlex import join
from textwrap import fill

from rlhfkit.commands.flags import flag, show_flags
from rlhfkit.commands.known_commands import COMPOSED, lines_of
from rlhfkit.commands.options import known_options, show_options
from rlhfkit.commands.run_words import FLAGGED
from rlhfkit.component import GROUPS, Command, named
from rlhfkit.config.docs import options_of
from rlhfkit.console import console
from rlhfkit.errors import UserError, nearest
from rlhfkit.plugin_manager import Plugins
from rlhfkit.storage.find_run import is_run

TEXT = """\
rlhfkit: the InstructGPT loop as one resumable command, every part a plugin.

Usage: rlhfkit [COMMAND] [key=value ...]

Commands (rlhfkit help COMMAND tells more)
{commands}

Start with
  rlhfkit recipe=quickstart

Config groups (choose with group=option)
{groups}

Useful
  rlhfkit check recipe=NAME             every mistake in options, data, models
  rlhfkit plan recipe=NAME gpu=12GB     does it fit, and what would
  rlhfkit recipe=NAME --cfg job         print every option with its value
  rlhfkit recipe=NAME stage.sft.learning_rate=2e-4 kl=fixed kl.kl_coef=0.05
  rlhfkit recipe=NAME reward=reward_model,length reward.length.weight=0.5
  rlhfkit recipe=NAME seed=1,2,3 --multirun
  rlhfkit recipe=NAME kl=none run_name=other reuse=runs/NAME
                                        take over the stages that are equal
  rlhfkit resume RUN                    go on; RUN: a directory, or its name
  rlhfkit resume RUN force_from=STAGE   make a stage and all after it again
  rlhfkit chat RUN                      base, SFT and RL side by side; --browser
  rlhfkit export RUN --merged           as a whole model; also --gguf q8_0
  rlhfkit new plugin NAME               a plugin of your own, with its tests
  rlhfkit run my.yaml                   a file in the form that --cfg job prints
  accelerate launch --multi_gpu --num_processes 2 -m rlhfkit recipe=NAME
  rlhfkit --config-dir DIR recipe=MINE  yours, in DIR/recipe/MINE.yaml
  eval "$(rlhfkit completion bash)"     completes words; or zsh, fish
  rlhfkit --hydra-help                  flags of Hydra, which reads the options
"""


_OF_THE_LAUNCHER = "accelerate"
"""Files of `accelerate launch --config_file`, no config group."""


_WIDTH = 80

_OF_A_RUN = """\
Options of the run stand behind it as key=value; rlhfkit options lists them.
Flags of Hydra, such as --cfg job and --config-dir DIR: rlhfkit --hydra-help."""


def choices(plugins: Plugins) -> dict[str, set[str]]:
    """The options of every config group: components, and the presets of installed packages."""
    groups = {name: set(found) for name, found in plugins.components.items()}
    for package in ("rlhfkit_conf", "rlhfkit_recipes", *plugins.config_packages()):
        for folder in files(package).iterdir():
            if folder.is_dir() and folder.name != _OF_THE_LAUNCHER:
                options = [file.name for file in folder.iterdir() if file.name.endswith(".yaml")]
                if options:
                    names = {name.removesuffix(".yaml") for name in options}
                    groups.setdefault(folder.name, set()).update(names)
    return groups


def meant(word: str, recipes: Iterable[str]) -> str | None:
    """A phrase that says which option a bare word may be the value of."""
    if word in recipes:
        return f"did you mean recipe={word}?"
    place = Path(word)
    if is_run(place):
        return f"did you mean rlhfkit resume {join([word])}?"
    if place.suffix in (".yaml", ".yml") and place.is_file():
        return f"did you mean rlhfkit run {join([word])}?"
    return None


def show_help(about: list[str], plugins: Plugins, others: Mapping[str, Command]) -> None:
    """Print usage, and every config group with its options; of one command, group or section where
    one is named. others: the commands with words of their own."""
    subject = about[0] if about else "run"
    lines = lines_of(others)
    if subject in ("run", "--help", "-h") or subject.startswith("recipe="):
        return _show_all(plugins, lines)
    if subject not in lines:
        return _show_section(subject, lines, plugins)
    console.print(f"rlhfkit {subject}: {lines[subject]}", markup=False, soft_wrap=True)
    if subject in COMPOSED:
        _show_composed(subject, plugins)
    elif subject in others and (options := others[subject].options) is not None:
        show_flags(named(options))
    return None


def _show_section(subject: str, commands: Iterable[str], plugins: Plugins) -> None:
    known = {*known_options(plugins), *(group.name for group in GROUPS)}
    if subject not in known:
        near = nearest(subject, known | set(commands))
        raise UserError(f"help {subject}: no such command, group or section; {near}")
    show_options([subject], plugins)


def _show_composed(command: str, plugins: Plugins) -> None:
    """What may stand behind a command that has the options of a run."""
    if command in FLAGGED:
        show_options([command], plugins)
        flags = ", ".join(flag(option.name) for option in options_of(FLAGGED[command]))
        console.print(f"Each is a flag, too: {flags}.", markup=False)
    console.print(_OF_A_RUN, markup=False)


def _show_all(plugins: Plugins, commands: Mapping[str, str]) -> None:
    groups = choices(plugins)
    lines = [_row(f"  {name}: ", groups[name], "    ") for name in sorted(groups)]
    said = {name: line.partition(": rlhfkit")[0] for name, line in commands.items()}
    words = [_row(f"  {name:<12}", [line], " " * 14) for name, line in said.items()]
    text = TEXT.format(commands="\n".join(words), groups="\n".join(lines))
    console.print(text, markup=False, soft_wrap=True, end="")


def _row(start: str, items: Iterable[str], indent: str) -> str:
    """Items in their order by name, in as many lines as they need."""
    text = start + ", ".join(sorted(items))
    return fill(text, _WIDTH, subsequent_indent=indent, break_on_hyphens=False)
