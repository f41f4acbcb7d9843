"""`rlhfkit completion bash|zsh|fish`: what the TAB key offers: commands, runs, options and values.

The scripts ask `rlhfkit --shell-completion query=bash`, which Hydra answers for options; commands
and runs are answered here.
"""

import os
from collections.abc import Sequence

from rlhfkit.component import GROUPS
from rlhfkit.errors import UserError, nearest
from rlhfkit.plugin_manager import Plugins
from rlhfkit.storage.find_run import find_runs_folder, is_run

_BASH = """\
_rlhfkit() {
    local found
    found=$(COMP_LINE="$COMP_LINE" COMP_POINT="$COMP_POINT" \
rlhfkit --shell-completion query=bash 2>/dev/null)
    COMPREPLY=($(compgen -W "$found" -- "${COMP_WORDS[COMP_CWORD]}"))
}
COMP_WORDBREAKS=${COMP_WORDBREAKS//=}
complete -o nospace -o default -F _rlhfkit rlhfkit
"""
_ZSH = """\
_rlhfkit() {
    local line="${(j: :)words[1,CURRENT]}" found
    found=$(COMP_LINE="$line" COMP_POINT="${#line}" \
rlhfkit --shell-completion query=bash 2>/dev/null)
    if [[ -n "$found" ]]; then compadd -S '' -- ${=found}; else _files; fi
}
(( $+functions[compdef] )) || { autoload -Uz compinit && compinit }
compdef _rlhfkit rlhfkit
"""
_FISH = """\
function _rlhfkit
    set -lx COMP_LINE (commandline -cp)
    set -lx COMP_POINT (string length -- "$COMP_LINE")
    rlhfkit --shell-completion query=bash 2>/dev/null | string split -n ' '
end
complete -c rlhfkit -a '(_rlhfkit)'
"""
SCRIPTS = {"bash": _BASH, "zsh": _ZSH, "fish": _FISH}
_HOW = {
    "bash": 'eval "$(rlhfkit completion bash)"    # in ~/.bashrc',
    "zsh": 'eval "$(rlhfkit completion zsh)"     # in ~/.zshrc',
    "fish": "rlhfkit completion fish | source    # in ~/.config/fish/config.fish",
}


def show_script(arguments: list[str], plugins: Plugins) -> None:
    """Print the script for a shell, for the shell to read."""
    if len(arguments) != 1 or arguments[0] not in SCRIPTS:
        hint = nearest(arguments[0], SCRIPTS) if arguments else "say bash, zsh or fish"
        lines = "; ".join(" ".join(line.split()) for line in _HOW.values())
        raise UserError(f"completion {' '.join(arguments)}: {hint}; {lines}")
    print(f"# {_HOW[arguments[0]]}\n{SCRIPTS[arguments[0]]}", end="")


def complete(known: Sequence[str], composed: Sequence[str]) -> bool:
    """Offer commands, or runs behind one; else give Hydra, which completes options, the shell's
    line as it expects it: without the command. True where nothing is left to offer."""
    program, _, rest = os.environ.get("COMP_LINE", "").partition(" ")
    verb, blank, options = rest.partition(" ")
    if program and not blank:
        return _offer(known, verb) and bool(verb)
    if verb in known and "=" not in (word := options.rpartition(" ")[2]):
        _offer(_words(verb, options, known), word)
    if verb in composed:
        os.environ["COMP_LINE"] = f"{program} {options}"
        os.environ["COMP_POINT"] = str(int(os.environ["COMP_POINT"]) - len(f"{verb} "))
    return verb in known and verb not in composed


def _offer(words: Sequence[str], start: str) -> bool:
    """Print those that begin so; whether there are any."""
    found = [word for word in words if word.startswith(start)]
    if found:
        print(" ".join(found))
    return bool(found)


def _words(verb: str, options: str, known: Sequence[str]) -> Sequence[str]:
    """What may stand behind a command: of most a run."""
    before = options.rpartition(" ")[0].split()
    own = {
        "new": [*(group.name for group in GROUPS), "all"]
        if before[-1:] == ["--kind"]
        else ["plugin", "--kind"],
        "plugins": ["--verbose"],
        "help": [*known, *(group.name for group in GROUPS)],
        "version": [],
        "completion": [*SCRIPTS],
    }
    return own[verb] if verb in own else _runs()


def _runs() -> list[str]:
    folder = find_runs_folder()
    places = sorted(folder.iterdir()) if folder else []
    shown = folder if folder and not folder.is_absolute() else None
    return [str(shown / place.name) if shown else place.name for place in places if is_run(place)]
