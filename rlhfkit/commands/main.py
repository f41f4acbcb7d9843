"""The `rlhfkit` command: a Hydra application, and commands of their own words. No torch here."""

import os
import signal
import sys
import traceback
from typing import TYPE_CHECKING

from rlhfkit.commands.error_lines import one_line
from rlhfkit.component import Command, named
from rlhfkit.console import quiet_libraries, replace_unprintable
from rlhfkit.distributed.processes import first_to_fail, world_size
from rlhfkit.errors import GateFailed, Stopped, UserError, nearest

if TYPE_CHECKING:
    from rlhfkit.plugin_manager import Plugins

COMPOSED = {
    "run": "run the stages of a recipe or of a file, skipping what is finished (the default)",
    "resume": "go on with a run, nothing typed again: rlhfkit resume RUN [key=value ...]",
    "check": "every check before a run, in seconds: options, data, models, what stages need",
    "plan": "memory and time of every phase, from the model's configuration alone",
    "stages": "what a run holds and what would run next: rlhfkit stages RUN",
    "chat": "talk to base, SFT and RL side by side, and vote: rlhfkit chat RUN [--browser]",
    "generate": "answers to a file of prompts, resumable: rlhfkit generate RUN --prompts FILE",
    "score": "the reward model's numbers for a file of answers: rlhfkit score RUN --file FILE",
    "export": "write a finished model for others, as rlhfkit export RUN: adapter, whole, GGUF, hub",
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
    ),
    Command(
        "options",
        "what can be set and what it means: rlhfkit options kl, or stage.sft",
        "rlhfkit.commands.options:show_options",
    ),
    Command(
        "plugins",
        "what is installed: distributions, hooks and components; with options: --verbose",
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
    ),
    Command(
        "completion",
        "completion of commands, runs and options for a shell: rlhfkit completion bash|zsh|fish",
        "rlhfkit.commands.completion:show_script",
    ),
    Command(
        "doctor",
        "what is wrong with a run, and the option to change: rlhfkit doctor RUN; status 1 if it is",
        "rlhfkit.commands.doctor:examine_run",
    ),
)
"""Commands with words of their own, as plugins add them."""

_HELP = ("--help", "-h")


def main(arguments: list[str] | None = None) -> None:
    """Entry point; exit status 2 is a mistake of the user's, 3 a gate that failed, 1 an error of
    ours, 130 Ctrl-C."""
    arguments = sys.argv[1:] if arguments is None else arguments
    os.environ["HYDRA_FULL_ERROR"] = "1"  # Hydra raises, and one place words the errors
    quiet_libraries()
    replace_unprintable()
    _let_memory_grow()
    try:
        _dispatch(arguments)
    except KeyboardInterrupt as interrupt:
        said = "stopped, and what was done is saved" if str(interrupt) else "interrupted"
        status = 128 + getattr(interrupt, "number", signal.SIGINT)
        _leave_it_to_another(status)
        _stop(f"{said}; resume with: {_command_line(arguments)}", status)
    except Exception as error:
        _report(error, arguments)


def _let_memory_grow() -> None:
    """Before torch is imported: the KV cache grows with every token, and in segments of fixed size
    each new length would leave a gap on the card that nothing else fits into."""
    names = {f"PYTORCH_{kind}ALLOC_CONF" for kind in ("", "CUDA_", "HIP_")}
    if not names & set(os.environ) and sys.platform == "linux":  # PyTorch has them there alone
        os.environ["PYTORCH_ALLOC_CONF"] = "expandable_segments:True"


def _dispatch(arguments: list[str]) -> None:
    if not arguments:
        raise UserError("say what to run, as in `rlhfkit recipe=quickstart`, or see rlhfkit --help")
    if arguments[0] == "version" or "--version" in arguments:
        from rlhfkit.commands.listing import show_versions

        show_versions()
        return
    from rlhfkit.plugin_manager import load_plugins

    plugins = load_plugins()
    others = _others(plugins)
    if arguments[0] == "help" or set(_HELP) & set(arguments):
        from rlhfkit.commands.help import show_help

        about = arguments[1:2] if arguments[0] == "help" else arguments[:1]
        show_help(about, plugins, COMPOSED | {name: item.help for name, item in others.items()})
        flags = others[about[0]].options if about and about[0] in others else None
        if flags is not None:
            from rlhfkit.commands.flags import show_flags

            show_flags(named(flags))
        return
    command, rest = _split_command(arguments, [*COMPOSED, *others], plugins)
    if command not in ("run", "resume") and world_size() > 1:
        raise UserError(f"rlhfkit {command}: one process does it, without accelerate launch")
    if command in others:
        others[command].function(rest, plugins)
        return
    from rlhfkit.commands.completion import complete
    from rlhfkit.commands.hydra_app import run_application
    from rlhfkit.commands.run_words import expanded

    if "--shell-completion" in arguments and complete([*COMPOSED, *others], list(COMPOSED)):
        return
    run_application(command, expanded(command, rest, plugins), plugins)


def _others(plugins: "Plugins") -> dict[str, Command]:
    """The commands with words of their own; a plugin's must not hide one of these."""
    own = {item.name: item for item in OTHERS}
    for name in plugins.commands:
        if name in own or name in COMPOSED:
            raise UserError(f"rlhfkit {name}: a plugin claims a command of rlhfkit's own")
    return own | plugins.commands


def _split_command(
    arguments: list[str], known: list[str], plugins: "Plugins"
) -> tuple[str, list[str]]:
    """The verb and Hydra's own arguments; a bare first word is always meant as a verb."""
    first = arguments[0]
    if first.startswith(("-", "+", "~")) or "=" in first:
        return "run", arguments
    if first not in known:
        from rlhfkit.commands.help import choices, meant

        recipes = choices(plugins)["recipe"]
        likely = [*known, *(f"recipe={name}" for name in recipes)]
        near = meant(first, recipes) or nearest(first, likely)
        raise UserError(f"no command '{first}'; {near}")
    return first, arguments[1:]


def _report(error: Exception, arguments: list[str]) -> None:
    from rlhfkit.runner.runner import StageFailed

    message = one_line(error)
    _leave_it_to_another(1 if message is None else 2)
    if message is not None:
        resumable = isinstance(error, StageFailed | Stopped)
        resume = f"; resume with: {_command_line(arguments)}" if resumable else ""
        lines = "\n".join(f"rlhfkit: {line}" for line in message.splitlines())
        _stop(f"{lines}{resume}", 3 if isinstance(error, GateFailed) else 2)
    traceback.print_exception(error.__cause__ if isinstance(error, StageFailed) else error)
    if isinstance(error, StageFailed):
        _stop(f"stage {error.stage} failed; resume with: {_command_line(arguments)}", 1)
    sys.exit(1)


def _leave_it_to_another(status: int) -> None:
    """Several processes say once what has ended them all."""
    if not first_to_fail():
        sys.exit(status)


def _command_line(arguments: list[str]) -> str:
    """The command that goes on from here: as typed, without what would throw results away."""
    from shlex import join

    return join(["rlhfkit", *(word for word in arguments if not word.startswith("force_from="))])


def _stop(message: str, status: int) -> None:
    print(message, file=sys.stderr)
    sys.exit(status)
