"""What `rlhfkit --help` prints. Hydra's own help copies every config several times, which takes it
more than a second; this one only lists names."""

from collections.abc import Mapping
from importlib.resources import files

from rlhfkit.console import console
from rlhfkit.plugin_manager import Plugins

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
  rlhfkit recipe=NAME reward=[reward_model,length] reward.length.weight=0.5
  rlhfkit recipe=NAME seed=1,2,3 --multirun
  rlhfkit recipe=NAME kl=none run_name=other reuse=runs/NAME   take over the stages that are equal
  rlhfkit export recipe=NAME export.stage=rl export.merged=true export.to=DIR
  rlhfkit recipe=NAME force_from=STAGE   make a stage and all after it again
  accelerate launch --config_file conf/accelerate/ddp_2gpu.yaml -m rlhfkit recipe=NAME
  rlhfkit --config-dir DIR recipe=MINE   recipes of your own: DIR/recipe/MINE.yaml
  rlhfkit --shell-completion install=bash
  rlhfkit --hydra-help                   flags of Hydra, which composes the options
"""


_OF_THE_LAUNCHER = "accelerate"
"""Files of `accelerate launch --config_file`, no config group."""


def show_help(plugins: Plugins, commands: Mapping[str, str]) -> None:
    """Print usage, and every config group with its options. commands: a line for each."""
    groups = {name: set(found) for name, found in plugins.components.items()}
    for package in ("rlhfkit_conf", "rlhfkit_recipes", *plugins.config_packages()):
        for folder in files(package).iterdir():
            if folder.is_dir() and folder.name != _OF_THE_LAUNCHER:
                options = [file.name for file in folder.iterdir() if file.name.endswith(".yaml")]
                if options:
                    names = {name.removesuffix(".yaml") for name in options}
                    groups.setdefault(folder.name, set()).update(names)
    lines = [f"  {name}: {', '.join(sorted(groups[name]))}" for name in sorted(groups)]
    words = [f"  {name:<10}{line}" for name, line in commands.items()]
    text = TEXT.format(commands="\n".join(words), groups="\n".join(lines))
    console.print(text, markup=False, soft_wrap=True, end="")
