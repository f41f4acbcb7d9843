"""Every first word of the command line, with its line of the help."""

from collections.abc import Mapping

from rlhfkit.component import Command
from rlhfkit.errors import UserError
from rlhfkit.plugin_manager import Plugins

COMPOSED = {
    "run": "run the stages of a recipe or of a file that are not finished: rlhfkit recipe=NAME",
    "resume": "go on with a run, nothing typed again: rlhfkit resume RUN [key=value ...]",
    "check": "every check before a run, in seconds: rlhfkit check recipe=NAME",
    "plan": "memory and time of every phase, by config.json alone: rlhfkit plan recipe=NAME",
    "stages": "what a run holds and what would run next: rlhfkit stages RUN",
    "chat": "talk to base, SFT and RL side by side, and vote: rlhfkit chat RUN [--browser]",
    "generate": "answers to a file of prompts, resumable: rlhfkit generate RUN --prompts FILE",
    "score": "the reward model's numbers for a file of answers: rlhfkit score RUN --file FILE",
    "export": "write a finished model for others, as adapter, whole or GGUF: rlhfkit export RUN",
}
"""Commands whose words are the options of a run, with a line each for the help."""

OTHERS = (
    Command(
        "init",
        "a page of options for sft, reward_model, dpo, grpo or ppo: rlhfkit init TASK [FILE.yaml]",
        "rlhfkit.commands.init:write_file",
    ),
    Command(
        "new",
        "a plugin of one's own, to begin with: rlhfkit new plugin NAME [--kind reward,kl]",
        "rlhfkit.commands.new:make_new",
        options="rlhfkit.commands.new:NewOptions",
    ),
    Command(
        "list",
        "the runs of a directory and how far they are: rlhfkit list, or rlhfkit list DIR",
        "rlhfkit.commands.listing:show_runs",
    ),
    Command(
        "rm",
        "remove runs, after asking: rlhfkit rm RUN... [--yes]",
        "rlhfkit.commands.remove:remove_runs",
        options="rlhfkit.commands.remove:RemoveOptions",
    ),
    Command(
        "options",
        "what can be set and what it means: rlhfkit options kl, or stage.sft",
        "rlhfkit.commands.options:show_options",
    ),
    Command(
        "plugins",
        "what is installed, by plugin and component: rlhfkit plugins [NAME] [--verbose]",
        "rlhfkit.commands.plugins:show_plugins",
        options="rlhfkit.commands.plugins:PluginsOptions",
    ),
    Command(
        "compare",
        "table and plot of evaluated runs: rlhfkit compare RUN... or a directory that holds them",
        "rlhfkit.commands.compare:compare_runs",
    ),
    Command(
        "report",
        "a page about runs, for a browser: rlhfkit report RUN...",
        "rlhfkit.commands.report:show_report",
    ),
    Command(
        "label",
        "people rank a run's answers in the browser: rlhfkit label RUN",
        "rlhfkit.commands.label:label_run",
        options="rlhfkit.labelling.options:LabelOptions",
    ),
    Command(
        "watch",
        "a run from another terminal: curves, answers, findings, time left: rlhfkit watch RUN",
        "rlhfkit.commands.watch:watch_run",
        options="rlhfkit.commands.watch:WatchOptions",
    ),
    Command(
        "completion",
        "completion of commands, runs and options by the shell: rlhfkit completion bash|zsh|fish",
        "rlhfkit.commands.completion:show_script",
    ),
    Command(
        "doctor",
        "what is wrong with a run, and the option to change: rlhfkit doctor RUN; status 1 if it is",
        "rlhfkit.commands.doctor:examine_run",
        options="rlhfkit.commands.doctor:DoctorOptions",
    ),
)
"""Commands with words of their own, as plugins add them."""

ALWAYS = {
    "help": "what can be typed: rlhfkit help, or rlhfkit help export, or rlhfkit help kl",
    "version": "rlhfkit's version and what it stands on: rlhfkit version, or rlhfkit --version",
}
"""Commands that are there whatever is installed."""


def others_of(plugins: Plugins) -> dict[str, Command]:
    """The commands with words of their own; a plugin's must not hide one of these."""
    own = {item.name: item for item in OTHERS}
    for name in plugins.commands:
        if name in own or name in COMPOSED or name in ALWAYS:
            raise UserError(f"rlhfkit {name}: a plugin claims a command of rlhfkit's own")
    return own | plugins.commands


def lines_of(others: Mapping[str, Command]) -> dict[str, str]:
    """What the help says of every command in a line."""
    return COMPOSED | {name: item.help for name, item in others.items()} | ALWAYS
