"""Pages of the site that are made when it is built: options, components, hooks, commands and
recipes are told from the code, and the pages of the repository's root are copied."""

import inspect
import re
from collections.abc import Iterator
from importlib.resources import files
from pathlib import Path

from rlhfkit import hookspecs
from rlhfkit.commands.flags import flag
from rlhfkit.commands.known_commands import OTHERS, lines_of
from rlhfkit.commands.options import given_elsewhere, known_options
from rlhfkit.commands.run_words import FLAGGED
from rlhfkit.component import GROUPS, named
from rlhfkit.config.docs import options_of
from rlhfkit.plugin_manager import Plugins, load_plugins

ROOT = Path(__file__).parents[1]
COPIES = {
    "README.md": "home.md",
    "CHANGELOG.md": "changelog.md",
    "CONTRIBUTING.md": "contributing.md",
    "CONVENTIONS.md": "conventions.md",
}
"""Pages of the root by the names that they have among the generated ones."""

_GROUPS = {group.name for group in GROUPS}


def write_pages(folder: Path) -> None:
    """Write every generated page into a folder of docs/."""
    plugins = load_plugins()
    folder.mkdir(exist_ok=True)
    pages = {
        "options.md": options_page(plugins),
        "components.md": components_page(plugins),
        "hooks.md": hooks_page(),
        "commands.md": commands_page(),
        "recipes.md": recipes_page(),
        "home.md": copied("README.md", docs="", generated="generated/"),
    }
    for name in ("CHANGELOG.md", "CONTRIBUTING.md", "CONVENTIONS.md"):
        pages[COPIES[name]] = copied(name, docs="../", generated="")
    for name, lines in pages.items():
        (folder / name).write_text("\n".join(lines) + "\n", encoding="utf-8")


def copied(name: str, docs: str, generated: str) -> Iterator[str]:
    """A page of the root. docs, generated: what leads to these folders from where it is shown."""

    def moved(link: re.Match[str]) -> str:
        target = link[1]
        if target in COPIES:
            return f"]({generated}{COPIES[target]})"
        return f"]({docs}{target.removeprefix('docs/')})"

    text = (ROOT / name).read_text(encoding="utf-8")
    yield re.sub(r"\]\((?!https?:)([^)]+)\)", moved, text)


def options_page(plugins: Plugins) -> Iterator[str]:
    """The options of a run and its sections."""
    yield from ("# Options of a run", "", "`rlhfkit options SECTION` prints the same.", "")
    for name, config in known_options(plugins).items():
        if name == "run":
            yield from _section("## run: the run as a whole", config, "")
        elif "=" not in name:
            yield from _section(f"## {name}", config, f"{name}.")


def components_page(plugins: Plugins) -> Iterator[str]:
    """Every built-in component with its options, by group."""
    yield from ("# Options of components", "", "`rlhfkit options GROUP` prints the same.", "")
    for group in GROUPS:
        yield from (f"## {group.name}", "")
        for name, provided in plugins.components[group.name].items():
            if provided.provider.distribution == "rlhfkit":
                place = f"{group.name}.{name}." if group.many else f"{group.name}."
                config = provided.component.config
                yield from _section(f"### {group.name}={name}", config, place, group.extra)


def _section(title: str, config: type, prefix: str, *more: type) -> Iterator[str]:
    """A dataclass of options. prefix: what stands before their names; more: options beside them."""
    yield from (title, "", _cell((inspect.getdoc(config) or "").split("\n\n")[0]), "")
    options = [option for kind in (config, *more) for option in options_of(kind)]
    rows = [option for option in options if prefix or option.name not in _GROUPS]
    if rows:
        yield from ("| option | default | meaning |", "|---|---|---|")
        for option in rows:
            name = prefix + option.name
            default = given_elsewhere().get(name) or _code(option.default)
            yield f"| {_code(name)} | {default} | {_cell(option.doc)} |"
        yield ""


def hooks_page() -> Iterator[str]:
    """Every hook with its signature and docstring, in the order of the file."""
    yield from ("# Every hook", "", "[Hooks](../hooks.md) tells how to write one.", "")
    for name, hook in vars(hookspecs).items():
        if hasattr(hook, "rlhfkit_spec"):
            signature = f"{name}{inspect.signature(hook)}".replace("collections.abc.", "")
            yield from (f"## {name}", "", f"    {signature}", "", inspect.getdoc(hook) or "", "")


def commands_page() -> Iterator[str]:
    """Every command with its line of the help; then the flags of those that have some."""
    yield from ("# Every command", "", "| command | what it does |", "|---|---|")
    for name, doc in lines_of({item.name: item for item in OTHERS}).items():
        yield f"| `rlhfkit {name}` | {_cell(doc)} |"
    for name, config in FLAGGED.items():
        yield from _flags(name, config)
    for item in OTHERS:
        if item.options is not None:
            yield from _flags(item.name, named(item.options))


def _flags(command: str, config: type) -> Iterator[str]:
    yield from ("", f"## rlhfkit {command}", "", "| flag | default | meaning |", "|---|---|---|")
    for option in options_of(config):
        default = "" if option.default in ("", "null") else option.default
        yield f"| {_code(flag(option.name))} | {_code(default)} | {_cell(option.doc)} |"


def recipes_page() -> Iterator[str]:
    """Every recipe with the first sentence of its file."""
    yield from ("# Every recipe", "", "[Recipes and their results](../recipes.md) has more.", "")
    yield from ("| recipe | what it is |", "|---|---|")
    for file in sorted((files("rlhfkit_recipes") / "recipe").iterdir(), key=lambda file: file.name):
        name = file.name.removesuffix(".yaml")
        yield f"| `recipe={name}` | {_cell(_first_sentence(file.read_text(encoding='utf-8')))} |"


def _first_sentence(text: str) -> str:
    """What the comment at the head of a file of YAML says first."""
    lines = [line.lstrip("#").strip() for line in text.splitlines() if line.startswith("#")]
    lines = [line for line in lines if not line.startswith("@package")]
    paragraph = " ".join(lines).strip()
    return re.split(r"(?<!\bal)\. |; (?=`)|: recipe=", paragraph)[0].rstrip(".") + "."


def _cell(text: str) -> str:
    return " ".join(text.split()).replace("|", "\\|").replace("<", "&lt;")


def _code(text: str) -> str:
    return f"`` {text} ``".replace("|", "\\|") if text else ""
