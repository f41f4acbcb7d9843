"""The `rlhfkit` command: a Hydra application, and commands of their own words. No torch here."""

import os
import signal
import sys
import traceback
from typing import TYPE_CHECKING

from rlhfkit.commands.error_lines import one_line
from rlhfkit.commands.known_commands import ALWAYS, COMPOSED, others_of
from rlhfkit.console import quiet_libraries, replace_unprintable
from rlhfkit.distributed.processes import first_to_fail, world_size
from rlhfkit.errors import GateFailed, Stopped, UserError, nearest

if TYPE_CHECKING:
    from rlhfkit.plugin_manager import Plugins

_HELP = ("--help", "-h")


def main(arguments: list[str] | None = None) -> None:
    """Entry point; exit status 2 is a mistake of the user's, 3 a gate that failed, 1 an error of
    ours, 130 Ctrl-C, 141 a closed pipe."""
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
    except BrokenPipeError:  # whoever read the output has seen enough, as `| head` has
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        sys.exit(141)
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
    wants_help = arguments[0] == "help" or set(_HELP) & set(arguments)
    if not wants_help and (arguments[0] == "version" or "--version" in arguments):
        from rlhfkit.commands.listing import show_versions

        show_versions()
        return
    from rlhfkit.plugin_manager import load_plugins

    plugins = load_plugins()
    others = others_of(plugins)
    known = [*COMPOSED, *others, *ALWAYS]
    if wants_help:
        from rlhfkit.commands.help import show_help

        about = arguments[1:2] if arguments[0] == "help" else arguments[:1]
        show_help(about, plugins, others)
        return
    command, rest = _split_command(arguments, known, plugins)
    if command not in ("run", "resume") and world_size() > 1:
        raise UserError(f"rlhfkit {command}: one process does it, without accelerate launch")
    if command in others:
        others[command].function(rest, plugins)
        return
    from rlhfkit.commands.completion import complete
    from rlhfkit.commands.hydra_app import run_application
    from rlhfkit.commands.run_words import expanded

    if "--shell-completion" in arguments and complete(known, list(COMPOSED)):
        return
    run_application(command, expanded(command, rest, plugins), plugins)


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
