"""What `rlhfkit --help` prints. Hydra's own help copies every config several times, which takes it
more than a second; this one only lists names."""

from collections.abc import Iterable, Mapping
from importlib.resources import files
from pathlib import Path
from shlex import join

from rlhfkit.commands.options import show_options
from rlhfkit.console import console
from rlhfkit.plugin_manager import Plugins
from rlhfkit.storage.find_run import is_run

TEXT = """\
rlhfkit: the InstructGPT loop as one resumable command, every part a plugin.

Usage: rlhfkit [COMMAND] [key=value ...]

Commands
{commands}

Start with
  rlhfkit recipe=quickstart

Config groups (choose with group=option)
{groups}

Useful
  rlhfkit check recipe=NAME           every mistake in options, data and models, in seconds
  rlhfkit plan recipe=NAME gpu=12GB   does it fit, and what would
  rlhfkit recipe=NAME --cfg job       print every option with its value
  rlhfkit recipe=NAME stage.sft.learning_rate=2e-4 kl=fixed kl.kl_coef=0.05
  rlhfkit recipe=NAME reward=reward_model,length reward.length.weight=0.5
  rlhfkit recipe=NAME seed=1,2,3 --multirun
  rlhfkit recipe=NAME kl=none run_name=other reuse=runs/NAME   take over the stages that are equal
  rlhfkit resume RUN                  go on with a run; RUN is its directory, or its name in runs/
  rlhfkit resume RUN force_from=STAGE   make a stage and all after it again
  rlhfkit chat RUN                    talk to base, SFT and RL side by side; --browser on a page
  rlhfkit export RUN --merged         as a whole model; also --stage reward_model, --gguf q8_0
  rlhfkit new plugin NAME             a plugin of your own, with its tests
  rlhfkit run my.yaml                 a file of your own, in the form that --cfg job prints
  accelerate launch --config_file conf/accelerate/ddp_2gpu.yaml -m rlhfkit recipe=NAME
  rlhfkit --config-dir DIR recipe=MINE   recipes of your own: DIR/recipe/MINE.yaml
  eval "$(rlhfkit completion bash)"   completes commands, runs, options and values; or zsh, fish
  rlhfkit --hydra-help                   flags of Hydra, which composes the options
"""


_OF_THE_LAUNCHER = "accelerate"
"""Files of `accelerate launch --config_file`, no config group."""


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


def show_help(about: list[str], plugins: Plugins, commands: Mapping[str, str]) -> None:
    """Print usage, and every config group with its options; of one command, group or section where
    one is named. commands: a line for each."""
    subject = about[0] if about else "run"
    if subject in ("run", "--help", "-h") or subject.startswith("recipe="):
        return _show_all(plugins, commands)
    if subject in commands:
        console.print(f"rlhfkit {subject}: {commands[subject]}", markup=False, soft_wrap=True)
    if subject in ("export", "chat", "generate", "score") or subject not in commands:
        show_options([subject], plugins)
    return None


def _show_all(plugins: Plugins, commands: Mapping[str, str]) -> None:
    groups = choices(plugins)
    lines = [f"  {name}: {', '.join(sorted(groups[name]))}" for name in sorted(groups)]
    words = [f"  {name:<12}{line}" for name, line in commands.items()]
    text = TEXT.format(commands="\n".join(words), groups="\n".join(lines))
    console.print(text, markup=False, soft_wrap=True, end="")
