"""What a run was told: the words of its last command and where they were typed, so that nobody has
to type them again."""

from collections.abc import Sequence
from dataclasses import asdict, dataclass
from pathlib import Path

from rlhfkit.component import GROUPS
from rlhfkit.errors import UserError
from rlhfkit.storage.run_dir import RunDir, as_written, read_json, write_json
from rlhfkit.user_code import is_word_of_code

RUN_FILE = "run.json"
_GROUPS = {group.name for group in GROUPS}


@dataclass(frozen=True)
class RunRecord:
    """What `run.json` holds."""

    words: list[str]
    """Options as they were typed, without what would throw results away."""

    folder: str
    """The directory that relative paths among them are read from."""

    @classmethod
    def read(cls, run: RunDir, command: str) -> "RunRecord":
        """The record of a run; `UserError` for one that has none."""
        path = run.root / RUN_FILE
        if not path.is_file():
            raise UserError(
                f"{command} {run.root}: no {RUN_FILE}: no `rlhfkit run` of this version has worked "
                f"there; type the run's options, as in rlhfkit {command} recipe=NAME"
            )
        with as_written(path):
            record = cls(**read_json(path))
            if not all(isinstance(word, str) for word in [*record.words, record.folder]):
                raise TypeError("its words are no texts")
            return record

    def write(self, run: RunDir) -> None:
        """Keep it in the run's directory."""
        run.root.mkdir(parents=True, exist_ok=True)
        write_json(run.root / RUN_FILE, asdict(self))


def as_typed(words: Sequence[str], point: Sequence[str] = ()) -> RunRecord:
    """The record of a command that is typed here and now. point: Hydra's overrides of one point of
    a sweep, whose values take the place of the lists of values."""
    code = {_key(word) for word in words if names_code(word)}
    values = {_key(word): word for word in point if _key(word) not in code}
    typed = {_key(word) for word in words}
    kept = [
        values.get(_key(word), word)
        for word in words
        if word not in ("--multirun", "-m") and not word.startswith("force_from=")
    ]
    of_recipe = [word for key, word in values.items() if key not in typed]
    return RunRecord([*kept, *of_recipe, *(["hydra.mode=RUN"] if point else [])], str(Path.cwd()))


def _key(word: str) -> str:
    return word.partition("=")[0]


def names_code(word: str) -> bool:
    """Whether a choice is a function of the user's own, which Hydra knows by another name."""
    key, _, value = word.partition("=")
    items = (item.strip("[]'\" ") for item in value.split(","))
    return key.lstrip("+/") in _GROUPS and any(is_word_of_code(item) for item in items)
