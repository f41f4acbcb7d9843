"""Answers of models that somebody else serves, kept in the run: what was paid for once is not asked
again, however a stage ended.

They lie in a folder beside the stages', a file of JSON lines for each process. A line is written as
its answer comes; half a line, which a kill leaves behind, is one answer lost.
"""

import json
import threading
from collections.abc import Iterator
from dataclasses import asdict, dataclass
from pathlib import Path

from rlhfkit.errors import Stopped

ANSWERS = "judge_answers"
"""The folder's name in the run's directory."""


@dataclass(frozen=True)
class Answer:
    """What a model said, with the tokens it was paid for."""

    text: str
    prompt_tokens: int = 0
    completion_tokens: int = 0


class AnswerCache:
    """Answers by key; may be used by several threads."""

    def __init__(self, folder: Path, process: int) -> None:
        """process: this one's rank, by which its file is named."""
        self._file = folder / f"answers-{process}.jsonl"
        self._known = dict(read_answers(folder))
        self._lock = threading.Lock()

    def __contains__(self, key: str) -> bool:
        return key in self._known

    def __getitem__(self, key: str) -> Answer:
        return self._known[key]

    def add(self, key: str, answer: Answer) -> None:
        """Raises `Stopped` where the disk takes no more."""
        line = json.dumps({"key": key, **asdict(answer)}, ensure_ascii=False)
        try:
            with self._lock:
                self._file.parent.mkdir(parents=True, exist_ok=True)
                with self._file.open("a", encoding="utf-8") as file:
                    file.write(f"\n{line}")  # half a line before it does no harm
                self._known[key] = answer
        except OSError as error:
            raise Stopped(f"{self._file}: cannot be written ({error.strerror})") from error


def read_answers(folder: Path) -> Iterator[tuple[str, Answer]]:
    """All answers of a run by key; lines that hold none are passed over."""
    for path in sorted(folder.glob("answers-*.jsonl")):
        with path.open(encoding="utf-8", errors="replace") as file:
            for line in file:
                try:
                    row = json.loads(line)
                    yield row.pop("key"), Answer(**row)
                except (ValueError, TypeError, AttributeError, KeyError):
                    continue
