"""What may happen to the newest checkpoint of a stage that was killed."""

import os
import random
import shutil
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path

from tests.fuzz.broken_files import MUTATIONS

FILES = ("common.safetensors", "state.safetensors", "model/adapter.bin", "digests.json")


@dataclass(frozen=True)
class Damage:
    """What happens to the checkpoint's directory."""

    id: str
    do: Callable[[Path], object]


def _in_place_of(name: str, make: Callable[[Path], object]) -> Callable[[Path], object]:
    def do(path: Path) -> None:
        (path / name).unlink()
        make(path / name)

    return do


def _write(name: str, text: str) -> Callable[[Path], object]:
    return lambda path: (path / name).write_text(text)


def _a_file(path: Path) -> None:
    shutil.rmtree(path)
    path.write_text("")


def mutants() -> Iterator[Damage]:
    """Every mutation of every file; the id is the seed."""
    for name in FILES:
        for mutate in MUTATIONS:
            case = f"{mutate.__name__} of {name}"

            def do(path: Path, name: str = name, mutate: Callable = mutate, seed: str = case):
                content = (path / name).read_bytes()
                draw = random.Random(seed)
                while (changed := mutate(content, draw)) == content:
                    pass
                (path / name).write_bytes(changed)

            yield Damage(case, do)


CASES = [
    *mutants(),
    *(
        Damage(f"{name} is {what}", _in_place_of(name, make))
        for name in FILES
        for what, make in {
            "gone": lambda path: None,
            "empty": lambda path: path.write_bytes(b""),
            "a folder": Path.mkdir,
            "a pipe": os.mkfifo,
            "a link to nothing": lambda path: path.symlink_to("none"),
        }.items()
    ),
    *(
        Damage(f"the digests are {text[:12]}", _write("digests.json", text))
        for text in ("{", "{}", "[]", "null", "7", '"text"', "[" * 100_000, '{"a": "b"}')
    ),
    Damage("another file is there", _write("more.bin", "more")),
    Damage("a file is in another place", lambda p: (p / FILES[2]).rename(p / "adapter.bin")),
    Damage("it is empty", lambda path: [shutil.rmtree(path), path.mkdir()]),
    Damage("it is a file", _a_file),
]
