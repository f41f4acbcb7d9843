"""`rlhfkit init TASK [FILE]`: a file of options to start from, one page, beside one's data."""

from importlib.resources import files
from pathlib import Path

from rlhfkit.console import console
from rlhfkit.errors import UserError, nearest
from rlhfkit.plugin_manager import Plugins


def write_file(arguments: list[str], plugins: Plugins) -> None:
    """Write the page of a task, and say what to do with it."""
    known = tasks()
    if not 1 <= len(arguments) <= 2:
        raise UserError(f"init: say for what, as in rlhfkit init sft; {nearest('', known)}")
    task = arguments[0]
    if task not in known:
        raise UserError(f"init {task}: no such task; {nearest(task, known)}")
    target = Path(arguments[1] if len(arguments) == 2 else f"{task}.yaml").expanduser()
    if target.suffix not in (".yaml", ".yml"):
        raise UserError(f"init {task} {target}: must end in .yaml, as in {target.stem}.yaml")
    try:
        with target.open("x", encoding="utf-8") as file:
            file.write(known[task].replace("FILE", str(target)))
    except FileExistsError as error:
        raise UserError(f"{target}: is there already; choose another name") from error
    except OSError as error:
        raise UserError(f"{target}: cannot be written ({error.strerror or error})") from error
    say = f"{target}: name your model and data in it, then rlhfkit check {target}"
    console.print(say, markup=False, soft_wrap=True)


def tasks() -> dict[str, str]:
    """The pages by name."""
    folder = files("rlhfkit.commands") / "tasks"
    pages = sorted((page for page in folder.iterdir()), key=lambda page: page.name)
    return {
        page.name.removesuffix(".yaml"): page.read_text(encoding="utf-8")
        for page in pages
        if page.name.endswith(".yaml")
    }
